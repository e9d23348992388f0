/* SPDX-License-Identifier: GPL-2.0-only */
/* rcu.h: expedited and polled grace periods, kfree_rcu(), offline threads, stalls,
 * debug checks, floods, forks inside callbacks, signal handlers. */
#define TDPMMU_RCU_DEBUG
#include "rcu_helpers.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static atomic_int inside, may_leave, leaving, tid;

static void *reader_until_told(void *unused)
{
    prctl(PR_SET_NAME, "slow-reader");
    atomic_store(&tid, (int)syscall(SYS_gettid));
    rcu_read_lock();
    rcu_read_lock();
    atomic_store(&inside, 1);
    wait_until(&may_leave);
    rcu_read_unlock();
    atomic_store(&leaving, 1);
    rcu_read_unlock();
    return unused;
}

static pthread_t start_reader(void)
{
    pthread_t reader;

    atomic_store(&inside, 0);
    atomic_store(&may_leave, 0);
    atomic_store(&leaving, 0);
    assert_int_equal(pthread_create(&reader, NULL, reader_until_told, NULL), 0);
    wait_until(&inside);
    return reader;
}

static void *expedited_synchronizer(void *unused)
{
    synchronize_rcu_expedited();
    EXPECT(atomic_load(&leaving));
    return unused;
}

static void *synchronizer(void *unused)
{
    synchronize_rcu();
    EXPECT(atomic_load(&leaving));
    return unused;
}

static void expedited(void **state)
{
    pthread_t reader = start_reader(), waiters[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        pthread_create(&waiters[i], NULL, i % 2 ? synchronizer : expedited_synchronizer, NULL);
    nap_ms(20);
    atomic_store(&may_leave, 1);
    for (int i = 0; i < 4; i++)
        pthread_join(waiters[i], NULL);
    pthread_join(reader, NULL);
    rcu_read_lock();
    synchronize_rcu_expedited();
    assert_one_warning("synchronize_rcu_expedited");
    rcu_read_unlock();
}

/* Polled ------------------------------------------------------------------- */

static void polled(void **state)
{
    unsigned long before, started;
    pthread_t reader;

    (void)state;
    before = get_state_synchronize_rcu();
    assert_false(poll_state_synchronize_rcu(before));
    synchronize_rcu();
    assert_true(poll_state_synchronize_rcu(before));
    cond_synchronize_rcu(before);
    before = get_state_synchronize_rcu();
    cond_synchronize_rcu(before);
    assert_true(poll_state_synchronize_rcu(before));

    reader = start_reader();
    started = start_poll_synchronize_rcu();
    nap_ms(10);
    assert_false(poll_state_synchronize_rcu(started));
    atomic_store(&may_leave, 1);
    while (!poll_state_synchronize_rcu(started)) /* nobody else asks for a grace period */
        nap_ms(1);
    assert_int_equal(atomic_load(&leaving), 1);
    pthread_join(reader, NULL);
    for (int i = 0; i < 100; i++) {
        started = start_poll_synchronize_rcu();
        while (!poll_state_synchronize_rcu(started))
            sched_yield();
    }
}

static void polling_inside_reader(void **state)
{
    unsigned long cookie;

    (void)state;
    rcu_read_lock();
    cookie = start_poll_synchronize_rcu();
    nap_ms(5);
    assert_false(poll_state_synchronize_rcu(cookie));
    cond_synchronize_rcu(cookie);
    assert_one_warning("cond_synchronize_rcu");
    rcu_read_unlock();
    cond_synchronize_rcu(cookie);
    rcu_read_lock();
    cond_synchronize_rcu(cookie); /* over: it need not wait */
    rcu_read_unlock();
}

/* kfree_rcu ---------------------------------------------------------------- */

struct thing {
    long before[3];
    struct rcu_head rcu;
};

static atomic_int freed;
static void *freed_last;

static void count_and_free(void *object)
{
    freed_last = object;
    atomic_fetch_add(&freed, 1);
    free(object);
}

static void frees(void **state)
{
    struct thing *thing = malloc(sizeof(*thing)), *none = NULL;

    (void)state;
    atomic_store(&freed, 0);
    kfree_rcu(none, rcu);
    rcu_read_lock();
    tdpmmu_kfree_rcu(thing, &thing->rcu, count_and_free);
    tdpmmu_kfree_rcu(thing, &thing->rcu, count_and_free);
    assert_one_warning("call_rcu");
    tdpmmu_kfree_rcu(thing, &thing->rcu, NULL);
    assert_one_warning("call_rcu");
    nap_ms(5);
    assert_int_equal(atomic_load(&freed), 0);
    rcu_read_unlock();
    rcu_barrier();
    assert_int_equal(atomic_load(&freed), 1);
    assert_ptr_equal(freed_last, thing);
    for (int i = 0; i < 1000; i++) {
        struct thing *one = malloc(sizeof(*one));

        kfree_rcu(one, rcu); /* valgrind and the address sanitizer would miss it */
    }
    rcu_barrier();
}

static void frees_at_any_distance(void **state)
{
    (void)state;
    atomic_store(&freed, 0);
    for (size_t distance = 0; distance < 4096; distance += 8) {
        char *object = malloc(4096 + sizeof(struct rcu_head));

        tdpmmu_kfree_rcu(object, (struct rcu_head *)(object + distance), count_and_free);
    }
    rcu_barrier();
    assert_int_equal(atomic_load(&freed), 512);
}

/* Offline ------------------------------------------------------------------ */

static atomic_int policy;

static void note_policy(struct rcu_head *head)
{
    (void)head;
    atomic_store(&policy, sched_getscheduler(0));
}

/* The callback thread does not take the processor from who has just called call_rcu(). */
static void callbacks_wait_their_turn(void **state)
{
    static struct rcu_head head;
    int own = sched_getscheduler(0);

    (void)state;
    call_rcu(&head, note_policy);
    rcu_barrier();
    assert_int_equal(atomic_load(&policy) & ~SCHED_RESET_ON_FORK, own == SCHED_OTHER ? SCHED_BATCH : own);
}

static void *goes_offline(void *unused)
{
    EXPECT(tdpmmu_rcu_register_thread() == 0);
    EXPECT(tdpmmu_rcu_register_thread() == 0);
    for (int i = 0; i < 100; i++) {
        rcu_read_lock();
        rcu_read_unlock();
        tdpmmu_rcu_thread_offline();
        if (i % 3 == 0)
            tdpmmu_rcu_thread_offline();
        synchronize_rcu();
        tdpmmu_rcu_unregister_thread();
        if (i % 2)
            tdpmmu_rcu_thread_online();
        kfree_rcu((struct thing *)malloc(sizeof(struct thing)), rcu);
    }
    return unused;
}

static void offline(void **state)
{
    pthread_t threads[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, goes_offline, NULL);
    for (int i = 0; i < 50; i++)
        synchronize_rcu();
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    rcu_read_lock();
    tdpmmu_rcu_thread_offline();
    assert_one_warning("tdpmmu_rcu_thread_offline");
    tdpmmu_rcu_unregister_thread();
    assert_one_warning("tdpmmu_rcu_unregister_thread");
    assert_true(rcu_read_lock_held());
    rcu_read_unlock();
}

/* Stalls ------------------------------------------------------------------- */

static void *plain_synchronizer(void *unused)
{
    synchronize_rcu();
    return unused;
}

static void stall_names_the_thread(void **state)
{
    pthread_t reader = start_reader(), waiter;
    char number[32];

    (void)state;
    tdpmmu_rcu_set_stall_timeout_ms(30);
    pthread_create(&waiter, NULL, plain_synchronizer, NULL);
    while (atomic_load(&warning_count) < 2) /* and again after as long */
        nap_ms(1);
    atomic_store(&may_leave, 1);
    pthread_join(waiter, NULL);
    pthread_join(reader, NULL);
    tdpmmu_rcu_set_stall_timeout_ms(21000);
    warnings();
    assert_int_equal(last_warning.kind, TDPMMU_WARN_RCU);
    assert_int_equal(last_warning.value[0], atomic_load(&tid));
    assert_true(last_warning.value[1] >= 60);
    snprintf(number, sizeof(number), "%d", atomic_load(&tid));
    assert_non_null(strstr(last_text, number));
    assert_non_null(strstr(last_text, "slow-reader"));
}

static atomic_int reported;

static void waits_in_handler(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm, (void)warning;
    atomic_fetch_add(&reported, 1);
    synchronize_rcu();
    rcu_barrier();
    atomic_store(&may_leave, 1);
}

/* A handler that waits for the grace period it is told about gets told off instead. */
static void handler_that_waits(void **state)
{
    pthread_t reader = start_reader();

    (void)state;
    atomic_store(&reported, 0);
    tdpmmu_set_warn_handler(waits_in_handler, NULL);
    tdpmmu_rcu_set_stall_timeout_ms(10);
    synchronize_rcu();
    tdpmmu_rcu_set_stall_timeout_ms(21000);
    pthread_join(reader, NULL);
    /* Of each stall, and of the wait; the reader may take long to leave after the first. */
    assert_true(atomic_load(&reported) >= 2 && atomic_load(&reported) % 2 == 0);
}

static void no_stall_if_told_never(void **state)
{
    pthread_t reader = start_reader(), waiter;

    (void)state;
    tdpmmu_rcu_set_stall_timeout_ms(0);
    pthread_create(&waiter, NULL, plain_synchronizer, NULL);
    nap_ms(50);
    atomic_store(&may_leave, 1);
    pthread_join(waiter, NULL);
    pthread_join(reader, NULL);
    tdpmmu_rcu_set_stall_timeout_ms(21000);
}

/* Debug -------------------------------------------------------------------- */

static void dereference_outside_reader(void **state)
{
    int value = 5, *pointer = &value;

    (void)state;
    assert_ptr_equal(rcu_dereference(pointer), &value);
    assert_one_warning("dereference_outside_reader");
    assert_int_equal(last_warning.kind, TDPMMU_WARN_LOCK);
    rcu_read_lock();
    assert_ptr_equal(rcu_dereference(pointer), &value);
    rcu_read_unlock();
    assert_ptr_equal(rcu_dereference_protected(pointer, true), &value);
}

DEFINE_STATIC_SRCU(domain);

static void dereference_outside_srcu_reader(void **state)
{
    int value = 5, *pointer = &value, index, evaluated = 0;

    (void)state;
    assert_ptr_equal(srcu_dereference(pointer, &domain), &value);
    assert_one_warning("dereference_outside_srcu_reader");
    assert_int_equal(last_warning.kind, TDPMMU_WARN_LOCK);
    rcu_read_lock(); /* is another thing */
    assert_ptr_equal(srcu_dereference(pointer, &domain), &value);
    assert_one_warning("dereference_outside_srcu_reader");
    rcu_read_unlock();
    assert_ptr_equal(srcu_dereference_check(pointer, &domain, ++evaluated == 1), &value);
    assert_int_equal(evaluated, 1);
    assert_ptr_equal(srcu_dereference_check(pointer, &domain, evaluated == 0), &value);
    assert_one_warning("dereference_outside_srcu_reader");
    index = srcu_read_lock(&domain);
    assert_ptr_equal(srcu_dereference(pointer, &domain), &value);
    assert_ptr_equal(srcu_dereference_check(pointer, &domain, false), &value);
    srcu_read_unlock(&domain, index);
    cleanup_srcu_struct(&domain);
}

static void breaking_is_for_those_who_may(void **state)
{
    (void)state;
    unsetenv("TDPMMU_ALLOW_BREAKING");
    assert_false(tdpmmu_rcu_break_for_tests(~0u));
    setenv("TDPMMU_ALLOW_BREAKING", "1", 1);
    assert_true(tdpmmu_rcu_break_for_tests(0));
    unsetenv("TDPMMU_ALLOW_BREAKING");
}

/* Floods ------------------------------------------------------------------- */

static atomic_long counted;

static void count_and_release(struct rcu_head *head)
{
    atomic_fetch_add(&counted, 1);
    free(head);
}

/* With a reader that does not leave, and a limit long passed: no end of waiting. */
static void flood_beside_a_slow_reader(void **state)
{
    const int many = 40000;
    pthread_t reader = start_reader();

    (void)state;
    atomic_store(&counted, 0);
    tdpmmu_rcu_set_flood_limit(1000);
    for (int i = 0; i < many; i++)
        call_rcu(malloc(sizeof(struct rcu_head)), count_and_release);
    assert_int_equal(atomic_load(&counted), 0);
    atomic_store(&may_leave, 1);
    pthread_join(reader, NULL);
    rcu_barrier();
    assert_int_equal(atomic_load(&counted), many);
    tdpmmu_rcu_set_flood_limit(0);
    for (int i = 0; i < many; i++)
        call_rcu(malloc(sizeof(struct rcu_head)), count_and_release);
    rcu_barrier();
    assert_int_equal(atomic_load(&counted), 2 * many);
}

/* fork inside a callback --------------------------------------------------- */

static pid_t child;
static int in_child;

static void *child_main(void *unused)
{
    atomic_store(&counted, 0);
    rcu_read_lock();
    rcu_read_unlock();
    synchronize_rcu();
    call_rcu(malloc(sizeof(struct rcu_head)), count_and_release);
    rcu_barrier();
    _exit(atomic_load(&counted) == 1 && warnings() == 0 ? 0 : 1);
    return unused;
}

static void fork_and_return(struct rcu_head *head)
{
    pthread_t thread;

    (void)head;
    child = fork();
    if (child == 0) {
        in_child = 1;
        atomic_store(&counted, 1000);
        pthread_create(&thread, NULL, child_main, NULL);
        /* Back to being the callback thread, now the child's. */
    }
}

static void not_in_the_child(struct rcu_head *head)
{
    (void)head;
    if (in_child)
        _exit(3); /* a callback of the parent's */
    atomic_fetch_add(&counted, 1);
}

static void fork_inside_callback(void **state)
{
    static struct rcu_head heads[100];
    int status;

    (void)state;
    need_threads_in_children();
    for (int i = 0; i < 5; i++) {
        memset(heads, 0, sizeof(heads));
        atomic_store(&counted, 0);
        rcu_read_lock(); /* so that all are one batch */
        call_rcu(&heads[0], fork_and_return);
        for (int j = 1; j < 100; j++)
            call_rcu(&heads[j], not_in_the_child);
        rcu_read_unlock();
        rcu_barrier();
        assert_int_equal(atomic_load(&counted), 99);
        assert_true(child > 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

/* Signals ------------------------------------------------------------------ */

static atomic_ulong signals_handled;
static int published = 1, *current = &published;

static void handler(int number)
{
    (void)number;
    rcu_read_lock();
    rcu_read_lock();
    if (*rcu_dereference(current) != 1)
        atomic_fetch_add(&failures, 1);
    rcu_read_unlock();
    rcu_read_unlock();
    atomic_fetch_add(&signals_handled, 1);
}

static atomic_int stop;

static void *reader_with_signals(void *unused)
{
    /* Its first use may be in the handler. */
    while (!atomic_load(&stop)) {
        rcu_read_lock();
        rcu_read_lock();
        EXPECT(rcu_read_lock_held());
        rcu_read_unlock();
        rcu_read_unlock();
        if (rcu_read_lock_held()) {
            EXPECT(!"inside after the last unlock");
            break;
        }
    }
    return unused;
}

static void readers_in_signal_handlers(void **state)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    unsigned long wanted = 2000;

    (void)state;
    sigaction(SIGUSR1, &action, NULL);
    atomic_store(&stop, 0);
    for (int round = 0; round < 20; round++) {
        pthread_t reader;

        atomic_store(&stop, 0);
        atomic_store(&signals_handled, 0);
        pthread_create(&reader, NULL, reader_with_signals, NULL);
        while (atomic_load(&signals_handled) < wanted / 20) {
            pthread_kill(reader, SIGUSR1);
            synchronize_rcu(); /* asks readers that are interrupted to wake it */
        }
        atomic_store(&stop, 1);
        pthread_join(reader, NULL);
    }
    signal(SIGUSR1, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(expedited),
        RCU_TEST(polled),
        RCU_TEST(polling_inside_reader),
        RCU_TEST(frees),
        RCU_TEST(frees_at_any_distance),
        RCU_TEST(callbacks_wait_their_turn),
        RCU_TEST(offline),
        RCU_TEST(stall_names_the_thread),
        RCU_TEST(handler_that_waits),
        RCU_TEST(no_stall_if_told_never),
        RCU_TEST(dereference_outside_reader),
        RCU_TEST(dereference_outside_srcu_reader),
        RCU_TEST(breaking_is_for_those_who_may),
        RCU_TEST(flood_beside_a_slow_reader),
        RCU_TEST(fork_inside_callback),
        RCU_TEST(readers_in_signal_handlers),
    };

    return cmocka_run_group_tests_name("rcu_more", tests, NULL, NULL);
}
