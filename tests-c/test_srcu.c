/* SPDX-License-Identifier: GPL-2.0-only */
/* srcu.h: domains, readers that sleep, grace periods, callbacks, misuse, fork. */
#include "rcu_helpers.h"

#include <signal.h>
#include <sys/mman.h>

DEFINE_SRCU(global_domain);
DEFINE_STATIC_SRCU(static_domain);
static struct srcu_struct a, b;

static int make_domains(void **state)
{
    assert_int_equal(init_srcu_struct(&a), 0);
    assert_int_equal(init_srcu_struct(&b), 0);
    return setup(state);
}

static int end_domains(void **state)
{
    if (warnings() || atomic_exchange(&failures, 0))
        return -1;
    srcu_barrier(&a);
    srcu_barrier(&b);
    cleanup_srcu_struct(&a);
    cleanup_srcu_struct(&b);
    return no_warning_left(state);
}

static void indexes_nest(void **state)
{
    int first, second, other, third;

    (void)state;
    assert_false(srcu_read_lock_held(&a));
    first = srcu_read_lock(&a);
    second = srcu_read_lock(&a);
    other = srcu_read_lock(&b);
    assert_true(first >= 0 && second >= 0 && other >= 0);
    assert_true(srcu_read_lock_held(&a) && srcu_read_lock_held(&b));
    assert_false(rcu_read_lock_held());
    srcu_read_unlock(&a, first);
    assert_true(srcu_read_lock_held(&a));
    third = srcu_read_lock(&a);
    srcu_read_unlock(&a, second);
    srcu_read_unlock(&b, other);
    srcu_read_unlock(&a, third);
    assert_false(srcu_read_lock_held(&a) || srcu_read_lock_held(&b));
    synchronize_srcu(&a);
    synchronize_srcu_expedited(&b);
}

static void static_domains(void **state)
{
    (void)state;
    srcu_read_unlock(&global_domain, srcu_read_lock(&global_domain));
    synchronize_srcu(&static_domain);
    srcu_read_unlock(&static_domain, srcu_read_lock(&static_domain));
    srcu_barrier(&global_domain);
    cleanup_srcu_struct(&global_domain);
    cleanup_srcu_struct(&static_domain);
}

#define MANY 40

static void many_domains_at_once(void **state)
{
    static struct srcu_struct domains[MANY];
    int indexes[MANY];

    (void)state;
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(init_srcu_struct(&domains[i]), 0);
        indexes[i] = srcu_read_lock(&domains[i]);
        assert_true(indexes[i] >= 0);
    }
    for (int i = 0; i < MANY; i += 2)
        srcu_read_unlock(&domains[i], indexes[i]);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(srcu_read_lock_held(&domains[i]), i % 2);
    for (int i = 1; i < MANY; i += 2)
        srcu_read_unlock(&domains[i], indexes[i]);
    for (int i = 0; i < MANY; i++)
        cleanup_srcu_struct(&domains[i]);
}

/* Grace periods ------------------------------------------------------------ */

static atomic_int inside, may_leave, leaving, done;

static void *sleeping_reader(void *domain)
{
    int index = srcu_read_lock(domain);

    atomic_store(&inside, 1);
    wait_until(&may_leave);
    atomic_store(&leaving, 1);
    srcu_read_unlock(domain, index);
    return NULL;
}

static void *synchronizer(void *domain)
{
    synchronize_srcu(domain);
    EXPECT(atomic_load(&leaving) == 1);
    atomic_fetch_add(&done, 1);
    return NULL;
}

static pthread_t start_reader(struct srcu_struct *domain)
{
    pthread_t reader;

    atomic_store(&inside, 0);
    atomic_store(&may_leave, 0);
    atomic_store(&leaving, 0);
    atomic_store(&done, 0);
    assert_int_equal(pthread_create(&reader, NULL, sleeping_reader, domain), 0);
    wait_until(&inside);
    return reader;
}

static void count(struct rcu_head *head);

/* Only that domain's grace periods wait for a reader that sleeps. */
static void domains_do_not_wait_for_each_other(void **state)
{
    pthread_t reader = start_reader(&a), waiters[3];
    struct rcu_head heads[2] = {0};

    (void)state;
    for (int i = 0; i < 3; i++)
        pthread_create(&waiters[i], NULL, synchronizer, &a);
    call_srcu(&a, &heads[0], count);
    for (int i = 0; i < 20; i++) {
        synchronize_srcu(&b);
        synchronize_rcu();
    }
    call_srcu(&b, &heads[1], count);
    srcu_barrier(&b);
    rcu_barrier();
    assert_int_equal(atomic_load(&done), 0);
    atomic_store(&may_leave, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(waiters[i], NULL);
    pthread_join(reader, NULL);
    assert_int_equal(atomic_load(&done), 3);
    srcu_barrier(&a);
}

static atomic_int stop;

static void *overlapping_reader(void *domain)
{
    int last = srcu_read_lock(domain);

    while (!atomic_load(&stop)) {
        int next;

        nap_ms(1);
        next = srcu_read_lock(domain);
        srcu_read_unlock(domain, last);
        last = next;
    }
    srcu_read_unlock(domain, last);
    return NULL;
}

/* A domain that is never without readers still has grace periods. */
static void overlapping_readers_do_not_starve(void **state)
{
    pthread_t readers[2];

    (void)state;
    atomic_store(&stop, 0);
    for (int i = 0; i < 2; i++)
        pthread_create(&readers[i], NULL, overlapping_reader, &a);
    for (int i = 0; i < 20; i++)
        synchronize_srcu(&a);
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
}

static void polled(void **state)
{
    unsigned long idle, started;
    pthread_t reader;

    (void)state;
    idle = get_state_synchronize_srcu(&a);
    assert_false(poll_state_synchronize_srcu(&a, idle));
    synchronize_srcu(&a);
    assert_true(poll_state_synchronize_srcu(&a, idle));
    reader = start_reader(&a);
    started = start_poll_synchronize_srcu(&a);
    nap_ms(5);
    assert_false(poll_state_synchronize_srcu(&a, started));
    atomic_store(&may_leave, 1);
    while (!poll_state_synchronize_srcu(&a, started))
        nap_ms(1);
    assert_int_equal(atomic_load(&leaving), 1);
    pthread_join(reader, NULL);
}

/* Callbacks ---------------------------------------------------------------- */

struct item {
    struct rcu_head head;
    int number;
};

static atomic_int invoked, in_order;

static void count(struct rcu_head *head)
{
    (void)head;
    atomic_fetch_add(&invoked, 1);
}

static void free_item(struct rcu_head *head)
{
    struct item *item = (struct item *)head;

    if (atomic_fetch_add(&invoked, 1) == item->number)
        atomic_fetch_add(&in_order, 1);
    free(item);
}

static void callbacks_run_in_order(void **state)
{
    (void)state;
    atomic_store(&invoked, 0);
    atomic_store(&in_order, 0);
    for (int i = 0; i < 3000; i++) {
        struct item *item = malloc(sizeof(*item)); /* the head is not initialised */

        item->number = i;
        call_srcu(&a, &item->head, free_item);
        if (i % 500 == 250)
            synchronize_srcu(&a);
    }
    srcu_barrier(&a);
    assert_int_equal(atomic_load(&invoked), 3000);
    assert_int_equal(atomic_load(&in_order), 3000);
}

static void callback_waits_for_reader(void **state)
{
    struct rcu_head head = {0};
    int index = srcu_read_lock(&a);

    (void)state;
    atomic_store(&invoked, 0);
    call_srcu(&a, &head, count);
    nap_ms(10);
    assert_int_equal(atomic_load(&invoked), 0);
    srcu_read_unlock(&a, index);
    while (!atomic_load(&invoked)) /* nobody asks for it */
        nap_ms(1);
}

static struct rcu_head chain;
static atomic_int chain_left;

static void call_again(struct rcu_head *head)
{
    srcu_read_unlock(&a, srcu_read_lock(&a));
    synchronize_srcu(&b);
    if (atomic_fetch_sub(&chain_left, 1) > 1)
        call_srcu(&a, head, call_again);
}

static void callback_may_use_srcu(void **state)
{
    (void)state;
    atomic_store(&chain_left, 30);
    call_srcu(&a, &chain, call_again);
    while (atomic_load(&chain_left) > 0)
        srcu_barrier(&a);
    assert_int_equal(atomic_load(&chain_left), 0);
}

/* Misuse ------------------------------------------------------------------- */

static void never_initialised(void **state)
{
    static struct srcu_struct none;
    static struct rcu_head head;
    struct srcu_struct copy = a;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct srcu_struct *bad = i ? &copy : &none;

        assert_int_equal(srcu_read_lock(bad), -22);
        assert_one_warning("srcu_read_lock");
        srcu_read_unlock(bad, 0);
        assert_one_warning("srcu_read_unlock");
        synchronize_srcu(bad);
        assert_one_warning("synchronize_srcu");
        synchronize_srcu_expedited(bad);
        assert_one_warning("synchronize_srcu_expedited");
        call_srcu(bad, &head, count);
        assert_one_warning("call_srcu");
        srcu_barrier(bad);
        assert_one_warning("srcu_barrier");
        cleanup_srcu_struct(bad);
        assert_one_warning("cleanup_srcu_struct");
        assert_int_equal(start_poll_synchronize_srcu(bad), 0);
        assert_one_warning("start_poll_synchronize_srcu");
    }
    call_srcu(&a, &head, count); /* nothing was queued */
    srcu_barrier(&a);
}

static void foreign_indexes(void **state)
{
    int first = srcu_read_lock(&a), other = srcu_read_lock(&b);

    (void)state;
    srcu_read_unlock(&a, other);
    assert_one_warning("srcu_read_unlock");
    srcu_read_unlock(&b, first);
    assert_one_warning("srcu_read_unlock");
    srcu_read_unlock(&a, first ^ 1);
    assert_one_warning("srcu_read_unlock");
    srcu_read_unlock(&a, -1);
    assert_one_warning("srcu_read_unlock");
    assert_true(srcu_read_lock_held(&a) && srcu_read_lock_held(&b));
    srcu_read_unlock(&a, first);
    srcu_read_unlock(&b, other);
    srcu_read_unlock(&a, first);
    assert_one_warning("srcu_read_unlock");
    synchronize_srcu(&a); /* the counts are right */
    synchronize_srcu(&b);
}

static void waiting_for_oneself(void **state)
{
    int index = srcu_read_lock(&a);

    (void)state;
    synchronize_srcu(&a);
    assert_one_warning("synchronize_srcu");
    srcu_barrier(&a);
    assert_one_warning("srcu_barrier");
    synchronize_srcu(&b);
    srcu_read_unlock(&a, index);
}

static void barrier_in_callback(struct rcu_head *head)
{
    (void)head;
    srcu_barrier(&a);
}

static void barrier_inside_callback(void **state)
{
    struct rcu_head head = {0};

    (void)state;
    call_srcu(&a, &head, barrier_in_callback);
    srcu_barrier(&a);
    assert_one_warning("srcu_barrier");
}

/* Readers of no thread ------------------------------------------------------ */

static int loose;

static void *ends_loose(void *domain)
{
    atomic_store(&leaving, 1);
    srcu_up_read(domain, loose);
    return NULL;
}

/* Who has the index ends the section: the grace period waits for it, and for nothing else. */
static void index_given_to_another_thread(void **state)
{
    pthread_t waiter;

    (void)state;
    atomic_store(&leaving, 0);
    atomic_store(&done, 0);
    loose = srcu_down_read(&a);
    assert_true(loose >= 0);
    assert_false(srcu_read_lock_held(&a));
    pthread_create(&waiter, NULL, synchronizer, &a);
    nap_ms(10);
    assert_int_equal(atomic_load(&done), 0);
    cleanup_srcu_struct(&a);
    assert_one_warning("cleanup_srcu_struct");
    run_thread(ends_loose, &a);
    pthread_join(waiter, NULL);
    assert_int_equal(atomic_load(&done), 1);
}

static void loose_index_misused(void **state)
{
    int first = srcu_down_read(&a), second = srcu_down_read(&a), held = srcu_read_lock(&b);

    (void)state;
    srcu_up_read(&b, first);
    assert_one_warning("srcu_up_read");
    srcu_up_read(&b, held);
    assert_one_warning("srcu_up_read");
    srcu_read_unlock(&a, first);
    assert_one_warning("srcu_read_unlock");
    srcu_up_read(&a, -1);
    assert_one_warning("srcu_up_read");
    srcu_up_read(&a, first ^ 1);
    assert_one_warning("srcu_up_read");
    srcu_up_read(&a, first);
    srcu_up_read(&a, second);
    srcu_up_read(&a, second);
    assert_one_warning("srcu_up_read");
    srcu_read_unlock(&b, held);
    synchronize_srcu(&a); /* the counts are right */
    synchronize_srcu(&b);
}

static void up_in_handler(int number)
{
    (void)number;
    srcu_up_read(&a, loose);
}

static void index_given_to_a_handler(void **state)
{
    struct rcu_head head = {0};

    (void)state;
    atomic_store(&invoked, 0);
    signal(SIGUSR1, up_in_handler);
    for (int i = 0; i < 100; i++) {
        loose = srcu_down_read(&a);
        raise(SIGUSR1);
        synchronize_srcu(&a);
    }
    loose = srcu_down_read(&a);
    call_srcu(&a, &head, count);
    nap_ms(5);
    assert_int_equal(atomic_load(&invoked), 0);
    raise(SIGUSR1); /* and the callback thread is told */
    while (!atomic_load(&invoked))
        nap_ms(1);
    signal(SIGUSR1, SIG_DFL);
}

/* Domains that are forgotten -------------------------------------------------- */

static void initialised_twice(void **state)
{
    struct rcu_head head = {0};
    int index;

    (void)state;
    assert_int_equal(init_srcu_struct(&b), 0); /* nobody uses it */
    assert_one_warning("init_srcu_struct");
    index = srcu_read_lock(&a);
    call_srcu(&a, &head, count);
    assert_int_equal(init_srcu_struct(&a), -16);
    assert_one_warning("init_srcu_struct");
    srcu_read_unlock(&a, index); /* the domain is what it was */
    srcu_barrier(&a);
    loose = srcu_down_read(&a);
    assert_int_equal(init_srcu_struct(&a), -16);
    assert_one_warning("init_srcu_struct");
    srcu_up_read(&a, loose);
}

static void fork_and_use(void)
{
    int status;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        synchronize_srcu(&a);
        srcu_read_unlock(&a, srcu_read_lock(&a));
        _exit(warnings() ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* So many that each list the library may have of domains gets one. */
static void use_a_crowd(void)
{
    static struct srcu_struct crowd[512];
    static struct rcu_head heads[512];

    memset(heads, 0, sizeof(heads));
    for (int i = 0; i < 512; i++) {
        init_srcu_struct(&crowd[i]);
        call_srcu(&crowd[i], &heads[i], count);
    }
    for (int i = 0; i < 512; i++) {
        srcu_barrier(&crowd[i]);
        cleanup_srcu_struct(&crowd[i]);
    }
}

/* As with a plugin that is unloaded: the library does not look there again. */
static void memory_of_a_domain_goes(void **state)
{
    struct rcu_head head = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct srcu_struct *gone = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        unsigned long cookie;

        assert_ptr_not_equal(gone, MAP_FAILED);
        *gone = (struct srcu_struct){ gone, { 0 } }; /* DEFINE_SRCU() */
        srcu_read_unlock(gone, srcu_read_lock(gone));
        synchronize_srcu(gone);
        if (i) {
            memset(&head, 0, sizeof(head));
            call_srcu(gone, &head, count);
            srcu_barrier(gone);
        }
        if (i == 2) {
            cookie = start_poll_synchronize_srcu(gone);
            while (!poll_state_synchronize_srcu(gone, cookie))
                sched_yield();
        }
        munmap(gone, 4096);
        fork_and_use();
        use_a_crowd();
    }
}

/* A reader of no thread comes along to a child; others' readers do not. */
static void child_has_loose_readers(void **state)
{
    int status;
    pid_t child;

    (void)state;
    need_threads_in_children();
    loose = srcu_down_read(&a);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        unsigned long cookie = start_poll_synchronize_srcu(&a);
        bool early = poll_state_synchronize_srcu(&a, cookie);

        srcu_up_read(&a, loose);
        synchronize_srcu(&a);
        _exit(warnings() || early ? 1 : 0);
    }
    srcu_up_read(&a, loose);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* Callbacks in all of very many, readers that hold some up, and their end in any order. */
static void very_many_domains(void **state)
{
    const int number = mode_is("valgrind") ? 500 : 20000;
    struct srcu_struct *domains = calloc((size_t)number, sizeof(*domains));
    struct rcu_head *heads = calloc((size_t)number, sizeof(*heads));
    int *indexes = calloc((size_t)number, sizeof(*indexes));

    (void)state;
    atomic_store(&invoked, 0);
    for (int i = 0; i < number; i++) {
        assert_int_equal(init_srcu_struct(&domains[i]), 0);
        indexes[i] = srcu_down_read(&domains[i]);
        call_srcu(&domains[i], &heads[i], count);
    }
    for (int i = 0; i < number; i += 2)
        srcu_up_read(&domains[i], indexes[i]);
    for (int i = 0; i < number; i += 2)
        srcu_barrier(&domains[i]);
    assert_int_equal(atomic_load(&invoked), number / 2);
    for (int i = number - 1; i > 0; i -= 2)
        srcu_up_read(&domains[i], indexes[i]);
    for (int i = 0; i < number; i++) {
        srcu_barrier(&domains[i]);
        cleanup_srcu_struct(&domains[i]);
    }
    assert_int_equal(atomic_load(&invoked), number);
    free(indexes);
    free(heads);
    free(domains);
}

static void cleanup_in_use(void **state)
{
    struct rcu_head head = {0};
    int index = srcu_read_lock(&a);

    (void)state;
    cleanup_srcu_struct(&a);
    assert_one_warning("cleanup_srcu_struct");
    call_srcu(&a, &head, count);
    srcu_read_unlock(&a, index);
    srcu_barrier(&a);
    index = srcu_read_lock(&a); /* still usable */
    assert_true(index >= 0);
    call_srcu(&a, &head, count);
    cleanup_srcu_struct(&a);
    assert_one_warning("cleanup_srcu_struct");
    srcu_read_unlock(&a, index);
    srcu_barrier(&a);
}

static void double_call(void **state)
{
    struct rcu_head head = {0};
    int index = srcu_read_lock(&a);

    (void)state;
    atomic_store(&invoked, 0);
    call_srcu(&a, &head, count);
    call_srcu(&a, &head, count);
    assert_one_warning("call_srcu");
    call_srcu(&b, &head, count);
    assert_one_warning("call_srcu");
    call_rcu(&head, count);
    assert_one_warning("call_rcu");
    srcu_read_unlock(&a, index);
    srcu_barrier(&a);
    assert_int_equal(atomic_load(&invoked), 1);
}

static void *exit_inside(void *unused)
{
    (void)srcu_read_lock(&a);
    (void)srcu_read_lock(&a);
    (void)srcu_read_lock(&b);
    return unused;
}

static void thread_exits_inside(void **state)
{
    (void)state;
    run_thread(exit_inside, NULL);
    assert_int_equal(warnings(), 2);
    synchronize_srcu(&a); /* end */
    synchronize_srcu(&b);
}

static void *stalled_synchronizer(void *domain)
{
    synchronize_srcu(domain);
    return NULL;
}

static void stall(void **state)
{
    pthread_t reader = start_reader(&a), waiter;

    (void)state;
    tdpmmu_rcu_set_stall_timeout_ms(20);
    pthread_create(&waiter, NULL, stalled_synchronizer, &a);
    while (!atomic_load(&warning_count))
        nap_ms(1);
    atomic_store(&may_leave, 1);
    pthread_join(waiter, NULL);
    pthread_join(reader, NULL);
    tdpmmu_rcu_set_stall_timeout_ms(21000);
    assert_true(warnings() >= 1);
    assert_string_equal(last_warning.function, "synchronize_srcu");
    assert_true(last_warning.value[1] >= 20);
}

/* fork --------------------------------------------------------------------- */

/* Another thread's reader and a callback of the parent: neither is the child's. */
static void child_uses_srcu(void **state)
{
    struct rcu_head head = {0};
    pthread_t reader;
    int status, index;
    pid_t child;

    (void)state;
    need_threads_in_children();
    reader = start_reader(&a);
    atomic_store(&invoked, 0);
    call_srcu(&a, &head, count);
    index = srcu_read_lock(&b);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rcu_head own = {0};

        synchronize_srcu(&a);
        synchronize_srcu(&b); /* its own reader came along: refused */
        if (warnings() != 1)
            _exit(1);
        srcu_read_unlock(&b, index);
        synchronize_srcu(&b);
        call_srcu(&a, &own, count);
        srcu_barrier(&a);
        _exit(warnings() || atomic_load(&invoked) != 1 ? 2 : 0);
    }
    srcu_read_unlock(&b, index);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    atomic_store(&may_leave, 1);
    pthread_join(reader, NULL);
    srcu_barrier(&a);
    assert_int_equal(atomic_load(&invoked), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_domains, end_domains)
        TEST(indexes_nest),
        TEST(static_domains),
        TEST(many_domains_at_once),
        TEST(domains_do_not_wait_for_each_other),
        TEST(overlapping_readers_do_not_starve),
        TEST(polled),
        TEST(callbacks_run_in_order),
        TEST(callback_waits_for_reader),
        TEST(callback_may_use_srcu),
        TEST(never_initialised),
        TEST(foreign_indexes),
        TEST(waiting_for_oneself),
        TEST(barrier_inside_callback),
        TEST(index_given_to_another_thread),
        TEST(loose_index_misused),
        TEST(index_given_to_a_handler),
        TEST(initialised_twice),
        TEST(memory_of_a_domain_goes),
        TEST(child_has_loose_readers),
        TEST(very_many_domains),
        TEST(cleanup_in_use),
        TEST(double_call),
        TEST(thread_exits_inside),
        TEST(stall),
        TEST(child_uses_srcu),
    };

    return cmocka_run_group_tests_name("srcu", tests, NULL, NULL);
}
