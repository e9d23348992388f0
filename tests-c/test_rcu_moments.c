/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * RCU at the moments of its system calls.  A membarrier is when another CPU's stores come out
 * of its buffer, so a test lets them appear just there; a futex wait or a yield is when the
 * library waits.  Nothing here depends on time: what is to happen happens in its moment.
 */
/* modes: plain (the moments are system calls of the library that ships) */
#include "rcu_helpers.h"

#include "moments.h"

#if !defined(__x86_64__)
#error "moments.h is for x86-64"
#endif

static pid_t thread_number(void)
{
    return (pid_t)raw_syscall(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

static uint64_t gp_word(void)
{
    return __atomic_load_n(&tdpmmu_rcu_gp, __ATOMIC_ACQUIRE);
}

static uint64_t gp_number(void)
{
    return gp_word() / TDPMMU_RCU_GP_ONE;
}

/* The test's thread, unless it says otherwise. */
static pid_t main_thread;
static bool in_main(void)
{
    return thread_number() == main_thread;
}

static int begin(void **state)
{
    main_thread = thread_number();
    forget_moments();
    sleeps_are_short = true;
    atomic_store(&lost_wakeups, 0);
    return setup(state);
}

static int end(void **state)
{
    forget_moments();
    return no_warning_left(state) || atomic_load(&lost_wakeups) ? -1 : 0;
}

/* Where readers have no fences there are no moments; the model is for those, and the litmus. */
static void need_membarrier(void)
{
    if (!tdpmmu_rcu_readers_fence_free()) {
        print_message("no membarrier here: its moments cannot be had\n");
        skip();
    }
}

/* A thread whose reader word the test writes, as if the thread did ----------- */

static uint64_t *_Atomic puppet_word;
static atomic_int puppet_leaves;

static void *puppet(void *unused)
{
    rcu_read_lock();
    rcu_read_unlock();
    puppet_word = &tdpmmu_rcu_self.word;
    wait_until(&puppet_leaves);
    return unused;
}

static pthread_t start_puppet(void)
{
    pthread_t thread;

    puppet_word = NULL;
    atomic_store(&puppet_leaves, 0);
    assert_int_equal(pthread_create(&thread, NULL, puppet, NULL), 0);
    while (!puppet_word)
        nap_ms(1);
    return thread;
}

static void end_puppet(pthread_t thread)
{
    atomic_store(&puppet_leaves, 1);
    pthread_join(thread, NULL);
}

static void puppet_shows(uint64_t word)
{
    __atomic_store_n(puppet_word, word, __ATOMIC_RELEASE);
}

/* Grace periods -------------------------------------------------------------- */

static uint64_t word_before;
static atomic_int fences_seen, waits_seen, number_was_new;

/*
 * A section that began before the grace period, whose word is seen by others only now.  It
 * has loaded what the updater unlinked.
 */
static void section_comes_out(void)
{
    if (!in_main() || atomic_fetch_add(&fences_seen, 1))
        return;
    atomic_store(&number_was_new, gp_word() != word_before);
    puppet_shows(word_before);
}

static void section_ends(void)
{
    if (!in_main() || atomic_fetch_add(&waits_seen, 1))
        return;
    puppet_shows(TDPMMU_RCU_IDLE);
}

static void section_ends_in_sleep(uint32_t *word, uint32_t expected)
{
    (void)word, (void)expected;
    section_ends();
}

static void look_at_a_grace_period(void (*grace_period)(void))
{
    pthread_t thread = start_puppet();

    atomic_store(&fences_seen, 0);
    atomic_store(&waits_seen, 0);
    atomic_store(&number_was_new, 0);
    word_before = gp_word();
    at_moment.membarrier = section_comes_out;
    at_moment.yield = section_ends;
    at_moment.wait = section_ends_in_sleep;
    grace_period();
    forget_moments();
    puppet_shows(TDPMMU_RCU_IDLE);
    end_puppet(thread);
    assert_int_equal(atomic_load(&fences_seen), 1);
    assert_true(atomic_load(&number_was_new));
    assert_true(atomic_load(&waits_seen) > 0);
}

static void cond_synchronize(void)
{
    cond_synchronize_rcu(get_state_synchronize_rcu());
}

/* The fence comes after the new number and before the look at the readers. */
static void section_comes_out_at_the_fence(void **state)
{
    (void)state;
    need_membarrier();
    look_at_a_grace_period(synchronize_rcu);
    look_at_a_grace_period(synchronize_rcu_expedited);
    look_at_a_grace_period(cond_synchronize);
}

/* Who comes while a grace period runs needs the next one ---------------------- */

static atomic_int second_number, second_waits_for_mutex, second_returned, first_returned;
static uint64_t number_of_first;

static void *second(void *unused)
{
    sleeps_are_short = true;
    atomic_store(&second_number, thread_number());
    synchronize_rcu();
    EXPECT(__atomic_load_n(puppet_word, __ATOMIC_ACQUIRE) == TDPMMU_RCU_IDLE);
    atomic_store(&second_returned, 1);
    return unused;
}

static pthread_t second_thread;

/*
 * The first grace period, in the main thread, has begun and waits for the puppet; the second
 * caller comes.  When that sleeps at the mutex, the puppet leaves and enters anew: a section
 * that the first need not wait for, and the second must.
 */
static void second_comes(void)
{
    if (in_main()) {
        if (atomic_fetch_add(&waits_seen, 1) == 0) {
            number_of_first = gp_number();
            pthread_create(&second_thread, NULL, second, NULL);
            while (!atomic_load(&second_waits_for_mutex) && !atomic_load(&second_returned))
                nap_ms(1);
            puppet_shows(gp_word());
        }
    } else if (thread_number() == atomic_load(&second_number) && gp_number() > number_of_first) {
        puppet_shows(TDPMMU_RCU_IDLE); /* the second's own grace period waits */
    }
}

static void second_sleeps(uint32_t *word, uint32_t expected)
{
    (void)word, (void)expected;
    if (thread_number() == atomic_load(&second_number) && !atomic_load(&first_returned))
        atomic_store(&second_waits_for_mutex, 1);
    else
        second_comes();
}

static void newcomer_needs_the_next(void **state)
{
    pthread_t thread = start_puppet();

    (void)state;
    atomic_store(&waits_seen, 0);
    atomic_store(&second_number, 0);
    atomic_store(&second_waits_for_mutex, 0);
    atomic_store(&second_returned, 0);
    atomic_store(&first_returned, 0);
    puppet_shows(gp_word());
    at_moment.yield = second_comes;
    at_moment.wait = second_sleeps;
    synchronize_rcu();
    atomic_store(&first_returned, 1);
    assert_true(atomic_load(&waits_seen) > 0);
    pthread_join(second_thread, NULL);
    assert_true(gp_number() > number_of_first);
    forget_moments();
    puppet_shows(TDPMMU_RCU_IDLE);
    end_puppet(thread);
}

/* The callback thread --------------------------------------------------------- */

#define WORKER_ASLEEP 1u /* its word's value, which it says when it waits */

static uint32_t *_Atomic worker_word;
static atomic_int worker_number, worker_lies;
static atomic_int ran;

static void count_run(struct rcu_head *head)
{
    (void)head;
    atomic_store(&worker_number, thread_number());
    atomic_fetch_add(&ran, 1);
}

static bool in_worker(void)
{
    return thread_number() == atomic_load(&worker_number);
}

/* It lies down on its own word, without a limit; nothing else does there. */
static void worker_waits(uint32_t *word, uint32_t expected)
{
    if (!in_worker() || expected != WORKER_ASLEEP)
        return;
    worker_word = word;
    atomic_fetch_add(&worker_lies, 1);
}

static void wait_until_worker_lies(void)
{
    while (!atomic_load(&worker_lies))
        nap_ms(1);
}

/* The worker is there, asleep, and its word is known. */
static void put_worker_to_sleep(void)
{
    static struct rcu_head head;

    memset(&head, 0, sizeof(head));
    atomic_store(&worker_number, 0);
    worker_word = NULL;
    atomic_store(&worker_lies, 0);
    at_moment.wait = worker_waits;
    while (!worker_word) { /* it may have lain down before anybody knew it */
        call_rcu(&head, count_run);
        rcu_barrier();
        for (int i = 0; i < 1000 && !worker_word; i++)
            nap_ms(1);
    }
    while (__atomic_load_n(worker_word, __ATOMIC_ACQUIRE) != WORKER_ASLEEP)
        nap_ms(1);
    atomic_store(&ran, 0);
    atomic_store(&worker_lies, 0);
}

/*
 * A thread queued a callback and looked whether the worker sleeps, when it was awake; its
 * callback is seen by others only now.  So it does not wake the worker.
 */
static struct rcu_head late_head;
static atomic_int came_out;

static void *queue_unseen(void *unused)
{
    __atomic_store_n(worker_word, 0, __ATOMIC_SEQ_CST);
    call_rcu(&late_head, count_run);
    __atomic_store_n(worker_word, WORKER_ASLEEP, __ATOMIC_SEQ_CST);
    return unused;
}

static void callback_comes_out(void)
{
    pthread_t thread;

    if (!in_worker() || __atomic_load_n(worker_word, __ATOMIC_ACQUIRE) != WORKER_ASLEEP)
        return;
    if (atomic_fetch_add(&came_out, 1))
        return;
    pthread_create(&thread, NULL, queue_unseen, NULL);
    pthread_join(thread, NULL);
}

/* Going to sleep: the word, then the fence, then the look at the queues. */
static void callback_comes_out_at_the_fence_of_sleep(void **state)
{
    static struct rcu_head head;

    (void)state;
    need_membarrier();
    put_worker_to_sleep();
    memset(&head, 0, sizeof(head));
    memset(&late_head, 0, sizeof(late_head));
    atomic_store(&came_out, 0);
    at_moment.membarrier = callback_comes_out;
    call_rcu(&head, count_run);
    wait_until_worker_lies();
    assert_true(atomic_load(&came_out) > 0);
    assert_int_equal(atomic_load(&ran), 2);
}

/* Collecting: a fence between the flip and the taking, before the grace period's. */
static atomic_int old_fences, new_fences;

static void count_fences(void)
{
    if (!in_worker() || __atomic_load_n(worker_word, __ATOMIC_ACQUIRE) == WORKER_ASLEEP)
        return;
    atomic_fetch_add(gp_word() == word_before ? &old_fences : &new_fences, 1);
}

static void collecting_has_a_fence_of_its_own(void **state)
{
    static struct rcu_head head;

    (void)state;
    need_membarrier();
    put_worker_to_sleep();
    memset(&head, 0, sizeof(head));
    atomic_store(&old_fences, 0);
    atomic_store(&new_fences, 0);
    word_before = gp_word();
    at_moment.membarrier = count_fences;
    call_rcu(&head, count_run);
    wait_until_worker_lies();
    assert_int_equal(atomic_load(&ran), 1);
    assert_int_equal(atomic_load(&old_fences), 1);
    assert_int_equal(atomic_load(&new_fences), 1);
}

/* Polls ----------------------------------------------------------------------- */

static atomic_int worker_waits_for_reader;

static void worker_yields(void)
{
    if (in_worker())
        atomic_store(&worker_waits_for_reader, 1);
}

static void worker_waits_or_lies(uint32_t *word, uint32_t expected)
{
    if (word != worker_word)
        worker_yields();
    else
        worker_waits(word, expected);
}

/* A poll that comes while the worker runs a grace period for another, and nobody asks. */
static void second_poll_is_not_forgotten(void **state)
{
    unsigned long first, second_cookie;

    (void)state;
    put_worker_to_sleep();
    atomic_store(&worker_waits_for_reader, 0);
    at_moment.yield = worker_yields;
    at_moment.wait = worker_waits_or_lies;
    rcu_read_lock();
    first = start_poll_synchronize_rcu();
    wait_until(&worker_waits_for_reader);
    second_cookie = start_poll_synchronize_rcu();
    assert_true(second_cookie > first);
    assert_int_equal(atomic_load(&worker_lies), 0);
    rcu_read_unlock();
    wait_until_worker_lies();
    assert_true(poll_state_synchronize_rcu(first));
    assert_true(poll_state_synchronize_rcu(second_cookie));
}

/* One that comes between the worker's last look and its sleep. */
static unsigned long late_cookie;

static void *poll_unseen(void *unused)
{
    __atomic_store_n(worker_word, 0, __ATOMIC_SEQ_CST);
    late_cookie = start_poll_synchronize_rcu();
    __atomic_store_n(worker_word, WORKER_ASLEEP, __ATOMIC_SEQ_CST);
    return unused;
}

static void poll_comes_out(void)
{
    pthread_t thread;

    if (!in_worker() || __atomic_load_n(worker_word, __ATOMIC_ACQUIRE) != WORKER_ASLEEP)
        return;
    if (atomic_fetch_add(&came_out, 1))
        return;
    pthread_create(&thread, NULL, poll_unseen, NULL);
    pthread_join(thread, NULL);
}

static void poll_comes_out_at_the_fence_of_sleep(void **state)
{
    static struct rcu_head head;

    (void)state;
    need_membarrier();
    put_worker_to_sleep();
    memset(&head, 0, sizeof(head));
    atomic_store(&came_out, 0);
    at_moment.membarrier = poll_comes_out;
    call_rcu(&head, count_run);
    wait_until_worker_lies();
    assert_true(atomic_load(&came_out) > 0);
    assert_true(poll_state_synchronize_rcu(late_cookie));
}

/* A thread that goes ------------------------------------------------------------ */

#define OWN 100     /* queued by the thread */
#define LATE 50     /* and by a destructor that comes after the library's */

struct numbered {
    struct rcu_head head;
    int number;
};

static struct numbered numbered[OWN + LATE];
static atomic_int next_number, out_of_order;
static atomic_int gate_is_open, worker_at_gate;
static pthread_key_t late_key;
static int rounds_left;

static void run_numbered(struct rcu_head *head)
{
    struct numbered *item = (struct numbered *)head;

    if (item->number != atomic_fetch_add(&next_number, 1))
        atomic_fetch_add(&out_of_order, 1);
}

static void stand_at_gate(struct rcu_head *head)
{
    (void)head;
    atomic_store(&worker_at_gate, 1);
    wait_until(&gate_is_open);
}

static void late_destructor(void *value)
{
    if (--rounds_left) { /* once more, after the library's own has run */
        pthread_setspecific(late_key, value);
        return;
    }
    for (int i = OWN; i < OWN + LATE; i++)
        call_rcu(&numbered[i].head, run_numbered);
}

static void *queue_and_go(void *value)
{
    rounds_left = 2;
    pthread_setspecific(late_key, value);
    for (int i = 0; i < OWN; i++)
        call_rcu(&numbered[i].head, run_numbered);
    return NULL;
}

/* The worker stands in a callback meanwhile, so that nothing is collected early. */
static void callbacks_of_a_dying_thread_keep_their_order(void **state)
{
    static struct rcu_head gate;

    (void)state;
    assert_int_equal(pthread_key_create(&late_key, late_destructor), 0);
    for (int round = 0; round < 4; round++) {
        memset(&gate, 0, sizeof(gate));
        memset(numbered, 0, sizeof(numbered));
        for (int i = 0; i < OWN + LATE; i++)
            numbered[i].number = i;
        atomic_store(&next_number, 0);
        atomic_store(&out_of_order, 0);
        atomic_store(&gate_is_open, 0);
        atomic_store(&worker_at_gate, 0);
        call_rcu(&gate, stand_at_gate);
        wait_until(&worker_at_gate);
        run_thread(queue_and_go, &numbered);
        assert_int_equal(atomic_load(&next_number), 0);
        atomic_store(&gate_is_open, 1);
        rcu_barrier();
        assert_int_equal(atomic_load(&next_number), OWN + LATE);
        assert_int_equal(atomic_load(&out_of_order), 0);
    }
    pthread_key_delete(late_key);
}

/* A forked child ----------------------------------------------------------------- */

static struct rcu_head of_main[10], of_the_dead[10], collected[10];
static pid_t parent;

static void of_the_parent(struct rcu_head *head)
{
    (void)head;
    if (getpid() != parent)
        _exit(3);
    atomic_fetch_add(&ran, 1);
}

static void of_the_child(struct rcu_head *head)
{
    (void)head;
    if (getpid() == parent)
        _exit(4);
    atomic_fetch_add(&ran, 1);
}

static void *queue_and_die(void *unused)
{
    for (int i = 0; i < 10; i++)
        call_rcu(&of_the_dead[i], of_the_parent);
    return unused;
}

/* Its own callbacks run, also such as use the heads that the parent has queued; no others. */
static void be_the_child(void)
{
    atomic_store(&ran, 0);
    atomic_store(&warning_count, 0);
    rcu_barrier();
    if (atomic_load(&ran) != 0)
        _exit(5);
    for (int i = 0; i < 10; i++) {
        call_rcu(&of_main[i], of_the_child);
        call_rcu(&of_the_dead[i], of_the_child);
        call_rcu(&collected[i], of_the_child);
    }
    rcu_barrier();
    if (atomic_load(&warning_count))
        _exit(6);
    _exit(atomic_load(&ran) == 30 ? 0 : 7);
}

static void child_runs_none_of_the_parents(void **state)
{
    int status;
    pid_t child;

    (void)state;
    put_worker_to_sleep();
    memset(of_main, 0, sizeof(of_main));
    memset(of_the_dead, 0, sizeof(of_the_dead));
    memset(collected, 0, sizeof(collected));
    parent = getpid();
    atomic_store(&worker_waits_for_reader, 0);
    at_moment.yield = worker_yields;
    at_moment.wait = worker_waits_or_lies;
    rcu_read_lock();
    for (int i = 0; i < 10; i++)
        call_rcu(&collected[i], of_the_parent);
    wait_until(&worker_waits_for_reader);
    for (int i = 0; i < 10; i++)
        call_rcu(&of_main[i], of_the_parent);
    run_thread(queue_and_die, NULL);
    child = fork();
    if (child == 0) {
        forget_moments();
        rcu_read_unlock();
        be_the_child();
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(atomic_load(&ran), 0);
    rcu_read_unlock();
    rcu_barrier();
    assert_int_equal(atomic_load(&ran), 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define MOMENTS_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        MOMENTS_TEST(section_comes_out_at_the_fence),
        MOMENTS_TEST(newcomer_needs_the_next),
        MOMENTS_TEST(callback_comes_out_at_the_fence_of_sleep),
        MOMENTS_TEST(collecting_has_a_fence_of_its_own),
        MOMENTS_TEST(second_poll_is_not_forgotten),
        MOMENTS_TEST(poll_comes_out_at_the_fence_of_sleep),
        MOMENTS_TEST(callbacks_of_a_dying_thread_keep_their_order),
        MOMENTS_TEST(child_runs_none_of_the_parents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
