/* SPDX-License-Identifier: GPL-2.0-only */
/* rcu.h: readers, grace periods, callbacks, misuse, and a short torture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "own_process.h"
#include "test_mode.h"

#include <tdpmmu.h>

static atomic_uint warning_count;
static struct tdpmmu_warning last_warning;

static void record_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm;
    last_warning = *warning;
    atomic_fetch_add(&warning_count, 1);
}

/* Since the last call: how many warnings. */
static unsigned warnings(void)
{
    return atomic_exchange(&warning_count, 0);
}

/* In threads other than the test's own, where cmocka's asserts cannot be used. */
static atomic_uint failures;
#define EXPECT(condition)                                                       \
    do {                                                                        \
        if (!(condition)) {                                                     \
            print_error("%s:%d: %s\n", __FILE__, __LINE__, #condition);        \
            atomic_fetch_add(&failures, 1);                                     \
        }                                                                       \
    } while (0)

static int setup(void **state)
{
    (void)state;
    tdpmmu_set_warn_handler(record_warning, NULL);
    warnings();
    return 0;
}

static int no_warning_left(void **state)
{
    unsigned left;

    (void)state;
    rcu_barrier();
    left = warnings() + atomic_exchange(&failures, 0);
    return left == 0 && !rcu_read_lock_held() ? 0 : -1;
}

static void nap_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void run_thread(void *(*body)(void *), void *argument)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, body, argument), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* Readers ------------------------------------------------------------------ */

static void nesting(void **state)
{
    (void)state;
    assert_false(rcu_read_lock_held());
    for (int i = 0; i < 1000; i++) {
        rcu_read_lock();
        assert_true(rcu_read_lock_held());
    }
    for (int i = 0; i < 1000; i++) {
        assert_true(rcu_read_lock_held());
        rcu_read_unlock();
    }
    assert_false(rcu_read_lock_held());
}

/* The inlines and the exported functions are the same thing. */
static void exported_twins(void **state)
{
    void (*volatile lock)(void) = rcu_read_lock;
    void (*volatile unlock)(void) = rcu_read_unlock;

    (void)state;
    lock();
    rcu_read_lock();
    unlock();
    assert_true(rcu_read_lock_held());
    rcu_read_unlock();
    assert_false(rcu_read_lock_held());
    rcu_read_lock();
    unlock();
    assert_false(rcu_read_lock_held());
}

static void deepest_nesting(void **state)
{
    (void)state;
    for (int i = 0; i < 32767; i++)
        rcu_read_lock();
    assert_int_equal(warnings(), 0);
    rcu_read_lock();
    assert_int_equal(warnings(), 1);
    for (int i = 0; i < 32767; i++)
        rcu_read_unlock();
    assert_int_equal(warnings(), 0);
    assert_false(rcu_read_lock_held());
}

static void *first_use(void *unused)
{
    EXPECT(!rcu_read_lock_held());
    rcu_read_lock();
    EXPECT(rcu_read_lock_held());
    rcu_read_unlock();
    return unused;
}

static void *first_use_is_synchronize(void *unused)
{
    synchronize_rcu();
    return unused;
}

static void *first_use_is_barrier(void *unused)
{
    rcu_barrier();
    return unused;
}

static void threads_without_registration(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        run_thread(first_use, NULL);
        run_thread(first_use_is_synchronize, NULL);
        run_thread(first_use_is_barrier, NULL);
    }
    synchronize_rcu();
}

/* Grace periods ------------------------------------------------------------ */

static atomic_int reader_inside, reader_leaves, synchronized;

static void *slow_reader(void *nested)
{
    rcu_read_lock();
    if (nested)
        rcu_read_lock();
    atomic_store(&reader_inside, 1);
    nap_ms(30);
    if (nested)
        rcu_read_unlock();
    nap_ms(5);
    EXPECT(atomic_load(&synchronized) == 0);
    atomic_store(&reader_leaves, 1);
    rcu_read_unlock();
    return NULL;
}

static void *synchronizer(void *unused)
{
    synchronize_rcu();
    EXPECT(atomic_load(&reader_leaves) == 1);
    atomic_store(&synchronized, 1);
    return unused;
}

/* One slow reader, several who wait: none returns before the reader leaves. */
static void synchronize_waits_for_reader(void **state)
{
    pthread_t reader, waiters[4];

    (void)state;
    for (uintptr_t nested = 0; nested < 2; nested++) {
        atomic_store(&reader_inside, 0);
        atomic_store(&reader_leaves, 0);
        atomic_store(&synchronized, 0);
        pthread_create(&reader, NULL, slow_reader, (void *)nested);
        while (!atomic_load(&reader_inside))
            nap_ms(1);
        for (int i = 0; i < 4; i++)
            pthread_create(&waiters[i], NULL, synchronizer, NULL);
        for (int i = 0; i < 4; i++)
            pthread_join(waiters[i], NULL);
        pthread_join(reader, NULL);
    }
}

static atomic_int stop_overlapping;

static void *overlapping_reader(void *unused)
{
    while (!atomic_load(&stop_overlapping)) {
        rcu_read_lock();
        nap_ms(1);
        rcu_read_unlock();
    }
    return unused;
}

/* Readers that always overlap do not hold up a grace period for ever. */
static void overlapping_readers_do_not_starve(void **state)
{
    pthread_t readers[3];

    (void)state;
    atomic_store(&stop_overlapping, 0);
    for (int i = 0; i < 3; i++)
        pthread_create(&readers[i], NULL, overlapping_reader, NULL);
    for (int i = 0; i < 20; i++)
        synchronize_rcu();
    atomic_store(&stop_overlapping, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
}

/*
 * Plain memory, ordered by grace periods only: a reader that sees the flag raised
 * after a grace period also sees what was written before it; and what it read is
 * not written again before it has left.
 */
static int plain;
static atomic_int raised;

static void *plain_reader(void *unused)
{
    while (!atomic_load(&stop_overlapping)) {
        int flag;

        rcu_read_lock();
        flag = atomic_load_explicit(&raised, memory_order_relaxed);
        if (flag)
            EXPECT(plain == flag);
        rcu_read_unlock();
    }
    return unused;
}

static void grace_periods_order_memory(void **state)
{
    pthread_t readers[2];

    (void)state;
    atomic_store(&stop_overlapping, 0);
    for (int i = 0; i < 2; i++)
        pthread_create(&readers[i], NULL, plain_reader, NULL);
    for (int round = 1; round < 500; round++) {
        atomic_store_explicit(&raised, 0, memory_order_relaxed);
        synchronize_rcu();
        plain = round;
        synchronize_rcu();
        atomic_store_explicit(&raised, round, memory_order_relaxed);
    }
    atomic_store(&stop_overlapping, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
}

/* Callbacks ---------------------------------------------------------------- */

struct item {
    struct rcu_head head;
    int number;
};

static atomic_int invoked, in_order;

static void free_item(struct rcu_head *head)
{
    struct item *item = (struct item *)head;

    if (atomic_fetch_add(&invoked, 1) == item->number)
        atomic_fetch_add(&in_order, 1);
    free(item);
}

static void queue_items(int count)
{
    for (int i = 0; i < count; i++) {
        struct item *item = malloc(sizeof(*item)); /* the head is not initialised */

        item->number = i;
        call_rcu(&item->head, free_item);
    }
}

static void callbacks_of_a_thread_run_in_order(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        atomic_store(&invoked, 0);
        atomic_store(&in_order, 0);
        queue_items(round * round * round);
        rcu_barrier();
        assert_int_equal(atomic_load(&invoked), round * round * round);
        assert_int_equal(atomic_load(&in_order), round * round * round);
    }
}

static void *queue_and_exit(void *count)
{
    queue_items((int)(intptr_t)count);
    return NULL;
}

static void barrier_covers_threads_that_exited(void **state)
{
    pthread_t threads[8];

    (void)state;
    for (int round = 0; round < 20; round++) {
        atomic_store(&invoked, 0);
        for (int i = 0; i < 8; i++)
            pthread_create(&threads[i], NULL, queue_and_exit, (void *)(intptr_t)100);
        for (int i = 0; i < 8; i++)
            pthread_join(threads[i], NULL);
        rcu_barrier();
        assert_int_equal(atomic_load(&invoked), 800);
    }
}

static void callback_waits_for_reader(void **state)
{
    struct item *item = malloc(sizeof(*item));

    (void)state;
    item->number = 0;
    atomic_store(&invoked, 0);
    rcu_read_lock();
    call_rcu(&item->head, free_item);
    nap_ms(20);
    assert_int_equal(atomic_load(&invoked), 0);
    rcu_read_unlock();
    rcu_barrier();
    assert_int_equal(atomic_load(&invoked), 1);
}

/* With nobody who asks for it. */
static void lone_callback_runs(void **state)
{
    (void)state;
    atomic_store(&invoked, 0);
    queue_items(1);
    while (atomic_load(&invoked) != 1)
        nap_ms(1);
}

static struct rcu_head chain_head;
static atomic_int chain_left;

static void call_again(struct rcu_head *head)
{
    rcu_read_lock();
    EXPECT(rcu_read_lock_held());
    rcu_read_unlock();
    synchronize_rcu();
    if (atomic_fetch_sub(&chain_left, 1) > 1)
        call_rcu(head, call_again); /* its own head is free again */
}

static void callback_may_use_rcu(void **state)
{
    (void)state;
    atomic_store(&chain_left, 50);
    call_rcu(&chain_head, call_again);
    while (atomic_load(&chain_left) > 0)
        rcu_barrier();
    assert_int_equal(atomic_load(&chain_left), 0);
}

/* Thread exit -------------------------------------------------------------- */

static pthread_key_t late_key;
static atomic_int late_runs;
static uintptr_t late_rounds = 4; /* PTHREAD_DESTRUCTOR_ITERATIONS of glibc */

/* Runs after the library's own destructor, whose key is older, in every round. */
static void late_destructor(void *value)
{
    uintptr_t round = (uintptr_t)value;
    struct item *item = malloc(sizeof(*item));

    rcu_read_lock();
    rcu_read_lock();
    item->number = -1;
    call_rcu(&item->head, free_item);
    rcu_read_unlock();
    EXPECT(rcu_read_lock_held());
    rcu_read_unlock();
    EXPECT(!rcu_read_lock_held());
    synchronize_rcu();
    atomic_fetch_add(&late_runs, 1);
    if (round < late_rounds)
        pthread_setspecific(late_key, (void *)(round + 1));
}

static void *use_and_exit(void *use_before)
{
    if (use_before) {
        rcu_read_lock();
        rcu_read_unlock();
        queue_items(3);
    }
    pthread_setspecific(late_key, (void *)1);
    return NULL;
}

static void late_destructors_use_rcu(void **state)
{
    (void)state;
    if (mode_is("tsan"))
        late_rounds = 3; /* in the fourth its own data of the thread is gone */
    assert_int_equal(pthread_key_create(&late_key, late_destructor), 0);
    for (uintptr_t use_before = 0; use_before < 2; use_before++) {
        atomic_store(&invoked, 0);
        atomic_store(&late_runs, 0);
        for (int i = 0; i < 20; i++)
            run_thread(use_and_exit, (void *)use_before);
        synchronize_rcu();
        rcu_barrier();
        assert_int_equal(atomic_load(&late_runs), 20 * late_rounds);
        assert_int_equal(atomic_load(&invoked), 20 * (late_rounds + (use_before ? 3 : 0)));
    }
    pthread_key_delete(late_key);
    /* Stacks are used again: nothing of the old threads may be left in the lists. */
    for (int i = 0; i < 20; i++)
        run_thread(first_use, NULL);
    synchronize_rcu();
}

static void *exit_inside(void *depth)
{
    for (uintptr_t i = 0; i < (uintptr_t)depth; i++)
        rcu_read_lock();
    return NULL;
}

static void exit_inside_reader(void **state)
{
    (void)state;
    for (uintptr_t depth = 1; depth < 3; depth++) {
        run_thread(exit_inside, (void *)depth);
        assert_int_equal(warnings(), 1);
        assert_int_equal(last_warning.kind, TDPMMU_WARN_RCU);
        assert_int_equal(last_warning.value[0], depth);
        synchronize_rcu(); /* ends */
    }
}

/* Misuse ------------------------------------------------------------------- */

static void assert_one_warning(const char *function)
{
    assert_int_equal(warnings(), 1);
    assert_string_equal(last_warning.function, function);
    assert_true(last_warning.kind == TDPMMU_WARN_RCU || last_warning.kind == TDPMMU_WARN_ARGUMENT);
    assert_true(strlen(last_warning.text) > 0);
}

static void *unlock_as_first_use(void *unused)
{
    rcu_read_unlock();
    return unused;
}

static void unlock_without_lock(void **state)
{
    (void)state;
    rcu_read_unlock();
    assert_one_warning("rcu_read_unlock");
    rcu_read_lock();
    rcu_read_unlock();
    rcu_read_unlock();
    assert_one_warning("rcu_read_unlock");
    assert_false(rcu_read_lock_held());
    run_thread(unlock_as_first_use, NULL);
    assert_one_warning("rcu_read_unlock");
}

static void waiting_inside_reader(void **state)
{
    (void)state;
    rcu_read_lock();
    synchronize_rcu();
    assert_one_warning("synchronize_rcu");
    rcu_barrier();
    assert_one_warning("rcu_barrier");
    rcu_read_unlock();
}

static atomic_int barrier_returned;

static void barrier_in_callback(struct rcu_head *head)
{
    (void)head;
    rcu_barrier();
    atomic_store(&barrier_returned, 1);
}

static void barrier_inside_callback(void **state)
{
    struct rcu_head head;

    (void)state;
    atomic_store(&barrier_returned, 0);
    call_rcu(&head, barrier_in_callback);
    rcu_barrier();
    assert_int_equal(atomic_load(&barrier_returned), 1);
    assert_one_warning("rcu_barrier");
}

static void null_arguments(void **state)
{
    struct rcu_head head;

    (void)state;
    call_rcu(NULL, free_item);
    assert_one_warning("call_rcu");
    call_rcu(&head, NULL);
    assert_one_warning("call_rcu");
    call_rcu(NULL, NULL);
    assert_one_warning("call_rcu");
    rcu_barrier();
}

static atomic_int counted, counted_otherwise;

static void count(struct rcu_head *head)
{
    (void)head;
    atomic_fetch_add(&counted, 1);
}

static void count_otherwise(struct rcu_head *head)
{
    (void)head;
    atomic_fetch_add(&counted_otherwise, 1);
}

static void double_call(void **state)
{
    struct rcu_head heads[3] = {0};

    (void)state;
    atomic_store(&counted, 0);
    call_rcu(&heads[0], count_otherwise);
    rcu_barrier();
    atomic_store(&counted_otherwise, 0);
    rcu_read_lock();
    for (int i = 0; i < 3; i++)
        call_rcu(&heads[i], count);
    assert_int_equal(warnings(), 0);
    for (int i = 0; i < 3; i++) {
        call_rcu(&heads[i], count);
        assert_one_warning("call_rcu");
        assert_int_equal(last_warning.value[0], (uintptr_t)&heads[i]);
        call_rcu(&heads[i], count_otherwise);
        assert_one_warning("call_rcu");
    }
    rcu_read_unlock();
    rcu_barrier();
    assert_int_equal(atomic_load(&counted), 3);
    assert_int_equal(atomic_load(&counted_otherwise), 0);
    /* Once it has run, the head is free, also for another function. */
    call_rcu(&heads[1], count_otherwise);
    rcu_barrier();
    assert_int_equal(atomic_load(&counted_otherwise), 1);
}

/* fork --------------------------------------------------------------------- */

/* In the child: 0 if RCU works there. */
static int use_in_child(void)
{
    rcu_read_lock();
    rcu_read_unlock();
    synchronize_rcu();
    atomic_store(&counted, 0);
    call_rcu(&(struct rcu_head){0}, count);
    rcu_barrier();
    return atomic_load(&counted) == 1 && warnings() == 0 ? 0 : 1;
}

static void child_uses_rcu(void **state)
{
    static struct rcu_head head;
    pthread_t reader;
    int status;
    pid_t child;

    (void)state;
    need_threads_in_children();
    /* A thread that the child does not have is inside a reader. */
    atomic_store(&reader_inside, 0);
    atomic_store(&synchronized, 0);
    pthread_create(&reader, NULL, slow_reader, NULL);
    while (!atomic_load(&reader_inside))
        nap_ms(1);
    atomic_store(&counted_otherwise, 0);
    rcu_read_lock();
    call_rcu(&head, count_otherwise);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        rcu_read_unlock();
        _exit(use_in_child() || atomic_load(&counted_otherwise) != 0);
    }
    rcu_read_unlock();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    pthread_join(reader, NULL);
    rcu_barrier();
    assert_int_equal(atomic_load(&counted_otherwise), 1);
}

/* Torture ------------------------------------------------------------------ */

/*
 * Elements age: the current one has age 0, an element that was replaced has
 * age 1, and each grace period makes it one older, up to PIPE, when it is used
 * again.  A reader that holds an element of age 2 or more got it before a grace
 * period began and still had it after the end: the grace period was too short.
 *
 * To see the test fail: build the library with the Swift flag
 * -DTDPMMU_BROKEN_GRACE_PERIOD, which leaves out the wait for readers; ages of 2
 * and more appear at once.
 */
#define PIPE 10
#define ELEMENTS 64

struct element {
    struct rcu_head head;
    atomic_int age;
    atomic_int busy; /* somewhere in the pipe, or current */
};

static struct element elements[ELEMENTS];
static struct element *current;
static atomic_int torture_stops;
static atomic_ulong age_histogram[PIPE + 1];
static atomic_ulong grace_periods;

static void age_again(struct rcu_head *head)
{
    struct element *e = (struct element *)head;

    atomic_fetch_add(&grace_periods, 1);
    if (atomic_fetch_add(&e->age, 1) + 1 < PIPE)
        call_rcu(&e->head, age_again);
    else
        atomic_store(&e->busy, 0);
}

static struct element *free_element(unsigned *seed)
{
    for (;;) {
        struct element *e = &elements[rand_r(seed) % ELEMENTS];
        int unused = 0;

        if (atomic_compare_exchange_strong(&e->busy, &unused, 1)) {
            atomic_store_explicit(&e->age, 0, memory_order_relaxed);
            return e;
        }
        sched_yield();
    }
}

static void *torture_writer(void *number)
{
    unsigned seed = (unsigned)(uintptr_t)number;

    while (!atomic_load(&torture_stops)) {
        struct element *fresh = free_element(&seed), *old;

        old = __atomic_exchange_n(&current, fresh, __ATOMIC_ACQ_REL);
        atomic_fetch_add(&old->age, 1);
        if (rand_r(&seed) % 2) {
            call_rcu(&old->head, age_again);
            continue;
        }
        while (atomic_load(&old->age) < PIPE) {
            synchronize_rcu();
            atomic_fetch_add(&grace_periods, 1);
            atomic_fetch_add(&old->age, 1);
        }
        atomic_store(&old->busy, 0);
    }
    return NULL;
}

static void read_once(unsigned *seed)
{
    bool nested = rand_r(seed) % 4 == 0;
    struct element *e;
    int age;

    rcu_read_lock();
    e = rcu_dereference(current);
    if (nested)
        rcu_read_lock();
    if (rand_r(seed) % 256 == 0)
        sched_yield();
    else if (rand_r(seed) % 8192 == 0)
        nap_ms(1);
    if (nested)
        rcu_read_unlock();
    age = atomic_load_explicit(&e->age, memory_order_relaxed);
    atomic_fetch_add_explicit(&age_histogram[age > PIPE ? PIPE : age], 1, memory_order_relaxed);
    rcu_read_unlock();
}

static void *torture_reader(void *number)
{
    unsigned seed = (unsigned)(uintptr_t)number;

    while (!atomic_load(&torture_stops))
        read_once(&seed);
    return NULL;
}

static void *short_lived_reader(void *number)
{
    unsigned seed = (unsigned)(uintptr_t)number;

    for (int i = 0; i < 100; i++)
        read_once(&seed);
    return NULL;
}

static void print_histogram(void)
{
    printf("# reads by age:");
    for (int i = 0; i <= PIPE; i++)
        printf(" %lu", atomic_load(&age_histogram[i]));
    printf("; grace periods: %lu\n", atomic_load(&grace_periods));
}

static void torture(void **state)
{
    pthread_t threads[4];
    struct timespec now, end;

    (void)state;
    atomic_store(&elements[0].busy, 1);
    current = &elements[0];
    pthread_create(&threads[0], NULL, torture_reader, (void *)1);
    pthread_create(&threads[1], NULL, torture_reader, (void *)2);
    pthread_create(&threads[2], NULL, torture_writer, (void *)3);
    pthread_create(&threads[3], NULL, torture_writer, (void *)4);
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += 2;
    do {
        run_thread(short_lived_reader, (void *)5);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec < end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
    atomic_store(&torture_stops, 1);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PIPE; i++) /* callbacks queue the next of their kind */
        rcu_barrier();
    print_histogram();
    assert_true(atomic_load(&age_histogram[0]) > 0);
    for (int age = 2; age <= PIPE; age++)
        assert_int_equal(atomic_load(&age_histogram[age]), 0);
}

/* Fences ------------------------------------------------------------------- */

#define FENCES "TDPMMU_RCU_FENCES"

static const char *program;

/* All of the above once more, in a process whose readers run fences. */
static void the_same_with_fences(void **state)
{
    (void)state;
    if (getenv(FENCES)) {
        assert_false(tdpmmu_rcu_readers_fence_free());
        return;
    }
    assert_int_equal(status_of_own_process(program, FENCES, "1", NULL, NULL), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, no_warning_left)
        TEST(nesting),
        TEST(exported_twins),
        TEST(deepest_nesting),
        TEST(threads_without_registration),
        TEST(synchronize_waits_for_reader),
        TEST(overlapping_readers_do_not_starve),
        TEST(grace_periods_order_memory),
        TEST(callbacks_of_a_thread_run_in_order),
        TEST(barrier_covers_threads_that_exited),
        TEST(callback_waits_for_reader),
        TEST(lone_callback_runs),
        TEST(callback_may_use_rcu),
        TEST(late_destructors_use_rcu),
        TEST(exit_inside_reader),
        TEST(unlock_without_lock),
        TEST(waiting_inside_reader),
        TEST(barrier_inside_callback),
        TEST(null_arguments),
        TEST(double_call),
        TEST(child_uses_rcu),
        TEST(torture),
        TEST(the_same_with_fences),
    };

    (void)argc;
    program = argv[0];
    return cmocka_run_group_tests_name("rcu", tests, NULL, NULL);
}
