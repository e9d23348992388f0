/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * RCU and SRCU stopped at each of their instructions in turn, while another thread does in the
 * gap what hurts most.  What a lucky preemption would find, without luck; what only a store
 * buffer would, is for the models and the litmus.
 */
/* modes: plain (single steps of the library that ships) */
#include "rcu_helpers.h"

#include "moments.h"
#include "steps.h"

#if !defined(__x86_64__)
#error "steps.h is for x86-64"
#endif

static pthread_t main_thread;
static bool in_main(void) { return pthread_equal(pthread_self(), main_thread); }

static int begin(void **state)
{
    main_thread = pthread_self();
    forget_moments();
    sleeps_are_short = true;
    atomic_store(&lost_wakeups, 0);
    allow_steps();
    return setup(state);
}

static int end(void **state)
{
    forget_moments();
    return no_warning_left(state) || atomic_load(&lost_wakeups) ? -1 : 0;
}

/* The other thread: does one thing whenever it is told to ---------------------- */

static void (*_Atomic errand)(void);
static atomic_int errand_done, other_stops;

static void *other_main(void *unused)
{
    sleeps_are_short = true;
    while (!atomic_load(&other_stops)) {
        void (*what)(void) = errand;

        if (what) {
            errand = NULL;
            what();
            atomic_store(&errand_done, 1);
        } else {
            sched_yield();
        }
    }
    return unused;
}

static pthread_t start_other(void)
{
    pthread_t thread;

    errand = NULL;
    atomic_store(&other_stops, 0);
    atomic_store(&errand_done, 0);
    assert_int_equal(pthread_create(&thread, NULL, other_main, NULL), 0);
    return thread;
}

static void end_other(pthread_t thread)
{
    atomic_store(&other_stops, 1);
    pthread_join(thread, NULL);
}

/* Also in the handler of a step. */
static void send(void (*what)(void))
{
    atomic_store(&errand_done, 0);
    errand = what;
}

static void wait_for_errand(void)
{
    while (!atomic_load(&errand_done))
        raw_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

static void send_and_wait(void (*what)(void))
{
    send(what);
    wait_for_errand();
}

/*
 * Others wait for the main thread: one has yielded a few times, or the other thread and the
 * callback thread both lie asleep.
 */
static atomic_int others_yield;

static void count_yields(void)
{
    if (!in_main() && !errand)
        atomic_fetch_add(&others_yield, 1);
}

/* The words that others lie on; whoever is woken is off at once, before it runs. */
#define BEDS 8
static uint32_t *_Atomic beds[BEDS];
static __thread int own_bed = -1;
static __thread uint32_t *own_word;

static void other_lies(uint32_t *word, uint32_t expected)
{
    (void)expected;
    for (int bed = 0; !in_main() && bed < BEDS; bed++) {
        uint32_t *nobody = NULL;

        if (atomic_compare_exchange_strong(&beds[bed], &nobody, word)) {
            own_bed = bed;
            own_word = word;
            return;
        }
    }
}

static void other_is_woken(void)
{
    uint32_t *there = own_word;

    if (own_bed >= 0)
        atomic_compare_exchange_strong(&beds[own_bed], &there, NULL);
    own_bed = -1;
}

/*
 * The main thread is not stopped between this and the system call: whoever has no bed any more
 * and still sleeps would be waited for without end.
 */
static void others_are_woken(uint32_t *word)
{
    stepping.held = in_main();
    for (int bed = 0; bed < BEDS; bed++) {
        uint32_t *there = word;

        atomic_compare_exchange_strong(&beds[bed], &there, NULL);
    }
}

static void others_were_woken(void)
{
    stepping.held = false;
}

static int others_lie(void)
{
    int count = 0;

    for (int bed = 0; bed < BEDS; bed++)
        count += beds[bed] != NULL;
    return count;
}

static bool others_wait(void)
{
    return atomic_load(&others_yield) >= 3 || others_lie() >= 2;
}

static void nothing(struct rcu_head *head)
{
    (void)head;
}

/* With the callback thread there and known to lie when it does. */
static void watch_others(void)
{
    static struct rcu_head head;

    for (int bed = 0; bed < BEDS; bed++)
        beds[bed] = NULL;
    at_moment.yield = count_yields;
    at_moment.wait = other_lies;
    at_moment.woken = other_is_woken;
    at_moment.wake = others_are_woken;
    at_moment.woke = others_were_woken;
    memset(&head, 0, sizeof(head));
    while (others_lie() != 1) {
        call_rcu(&head, nothing);
        rcu_barrier();
        for (int i = 0; i < 1000 && others_lie() != 1; i++)
            nap_ms(1);
    }
}

/* In the handler of a step: what for as far as it goes while the main thread stands here. */
static void send_and_see(void (*what)(void))
{
    atomic_store(&others_yield, 0);
    send(what);
    while (!atomic_load(&errand_done) && !others_wait())
        raw_syscall(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

/* Readers ----------------------------------------------------------------------- */

static int objects[2];
static int *_Atomic published;
static atomic_int uses_of_freed;
static void (*volatile exported_lock)(void) = rcu_read_lock;
static void (*volatile exported_unlock)(void) = rcu_read_unlock;

static void use(int *object)
{
    if (*(volatile int *)object != 1)
        atomic_fetch_add(&uses_of_freed, 1);
}

static void replace_and_free(void)
{
    int *old = published, *fresh = old == &objects[0] ? &objects[1] : &objects[0];

    *fresh = 1;
    published = fresh;
    synchronize_rcu();
    *(volatile int *)old = 0;
}

/* The updater comes to its end, or waits for the reader that stands here. */
static void update_meanwhile(void)
{
    send_and_see(replace_and_free);
}

static void read_by_inlines(void)
{
    int *object;

    rcu_read_lock();
    object = published;
    rcu_read_lock();
    use(object);
    rcu_read_unlock();
    use(object);
    rcu_read_unlock();
}

static void read_by_functions(void)
{
    int *object;

    exported_lock();
    object = published;
    exported_lock();
    use(object);
    exported_unlock();
    use(object);
    exported_unlock();
}

/* Two sections: a wish to be woken that was set in the first is no matter to the second. */
static void read_twice(void)
{
    exported_lock();
    use(published);
    exported_unlock();
    rcu_read_lock();
    use(published);
    rcu_read_unlock();
}

static void step_readers(void (*body)(void))
{
    long at = 1;

    objects[0] = objects[1] = 1;
    published = &objects[0];
    atomic_store(&uses_of_freed, 0);
    body();
    for (; run_in_steps(at, update_meanwhile, body); at++) {
        wait_for_errand();
        if (atomic_load(&uses_of_freed))
            fail_msg("freed in use after %ld instructions", at);
        assert_false(rcu_read_lock_held());
    }
    assert_in_range(at, 20, 100000);
}

static void readers_stopped_anywhere(void **state)
{
    pthread_t other = start_other();

    (void)state;
    watch_others();
    step_readers(read_by_inlines);
    step_readers(read_by_functions);
    step_readers(read_twice);
    forget_moments();
    end_other(other);
}

/* call_rcu() ---------------------------------------------------------------------- */

static struct rcu_head heads[3];
static atomic_int order[3], runs;

static void note_run(struct rcu_head *head)
{
    atomic_store(&order[head - heads], atomic_fetch_add(&runs, 1));
    memset(head, 0xee, sizeof(*head)); /* it may be freed */
}

static void queue_second(void)
{
    call_rcu(&heads[1], note_run);
}

/* With a callback of its own: without one, and the rest run already, nothing is collected. */
static void collect(void)
{
    static struct rcu_head own;

    memset(&own, 0, sizeof(own));
    call_rcu(&own, nothing);
    rcu_barrier();
}

/* All that is there is collected, or the collector waits for the append that stands here. */
static void collect_meanwhile(void)
{
    send_and_see(collect);
}

static void appends_stopped_anywhere(void **state)
{
    pthread_t other = start_other();
    long at = 1;
    bool acted;

    (void)state;
    memset(heads, 0, sizeof(heads));
    call_rcu(&heads[0], note_run); /* the worker starts; the function is known */
    rcu_barrier();
    watch_others();
    do {
        memset(heads, 0, sizeof(heads));
        atomic_store(&runs, 0);
        call_rcu(&heads[0], note_run);
        acted = run_in_steps(at, collect_meanwhile, queue_second);
        call_rcu(&heads[2], note_run);
        rcu_barrier();
        if (acted)
            wait_for_errand();
        if (atomic_load(&runs) != 3)
            fail_msg("%d callbacks of 3 ran after a stop at instruction %ld", atomic_load(&runs), at);
        for (int i = 0; i < 3; i++)
            assert_int_equal(atomic_load(&order[i]), i);
        at++;
    } while (acted);
    assert_in_range(at, 20, 100000);
    forget_moments();
    end_other(other);
}

/* SRCU ---------------------------------------------------------------------------- */

DEFINE_STATIC_SRCU(domain);
static struct srcu_struct passing_domain;
static int token;

static void come_and_go(void)
{
    srcu_read_unlock(&passing_domain, srcu_read_lock(&passing_domain));
}

static void another_reader_passes(void)
{
    send_and_wait(come_and_go);
}

/* Short: it is stepped, too. */
static void count_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm, (void)warning;
    atomic_fetch_add(&warning_count, 1);
}

static void clean_up(void)
{
    cleanup_srcu_struct(&passing_domain);
}

/*
 * The counts of who left and who came in are summed while a second reader comes and goes: the
 * first, who stays, must not be taken for gone.
 */
static void sums_stopped_anywhere(void **state)
{
    pthread_t other = start_other();
    long at = 1;
    bool acted;

    (void)state;
    assert_int_equal(init_srcu_struct(&passing_domain), 0);
    send_and_wait(come_and_go);
    token = srcu_read_lock(&passing_domain);
    tdpmmu_set_warn_handler(count_warning, NULL);
    do {
        acted = run_in_steps(at, another_reader_passes, clean_up);
        if (warnings() != 1)
            fail_msg("a domain with a reader is cleaned up after a stop at instruction %ld", at);
        at++;
    } while (acted);
    assert_in_range(at, 50, 100000);
    srcu_read_unlock(&passing_domain, token);
    end_other(other);
    cleanup_srcu_struct(&passing_domain);
}

static atomic_int reader_is_inside;

static void enter_domain(void)
{
    token = srcu_read_lock(&domain);
    atomic_store(&reader_is_inside, 1);
}

static void leave_domain(void)
{
    atomic_store(&reader_is_inside, 0);
    srcu_read_unlock(&domain, token);
}

static void reader_leaves(void)
{
    send_and_wait(leave_domain);
}

static long yields, steps_begin_at_yield;

static void pass_through_domain(void)
{
    srcu_read_unlock(&domain, srcu_read_lock(&domain));
}

/* Another section ends first: who leaves after it finds nobody waiting, until asked anew. */
static void begin_at_last_yield(void)
{
    if (!in_main() || ++yields != steps_begin_at_yield)
        return;
    send_and_wait(pass_through_domain);
    BEGIN_STEPS();
}

/* About to sleep: now at the latest. */
static void leave_before_sleep(uint32_t *word, uint32_t expected)
{
    (void)word, (void)expected;
    if (!in_main())
        return;
    END_STEPS();
    if (atomic_load(&reader_is_inside))
        reader_leaves();
}

/* How often synchronize_srcu() yields before it sleeps. */
static long yields_before_sleep(void)
{
    yields = 0;
    steps_begin_at_yield = -1;
    at_moment.yield = begin_at_last_yield;
    at_moment.wait = leave_before_sleep;
    send_and_wait(enter_domain);
    synchronize_srcu(&domain);
    return yields;
}

/* The last reader leaves at any place of the waiter's last look: it must not sleep on. */
static void leavers_wake_waiters_stopped_anywhere(void **state)
{
    pthread_t other = start_other();
    long at = 1, last = yields_before_sleep();
    bool acted;

    (void)state;
    assert_true(last > 0);
    do {
        send_and_wait(enter_domain);
        plan_step(at, reader_leaves);
        yields = 0;
        steps_begin_at_yield = last;
        synchronize_srcu(&domain);
        END_STEPS();
        acted = stepping.acted;
        if (atomic_load(&lost_wakeups))
            fail_msg("slept on after a stop at instruction %ld", at);
        at++;
    } while (acted);
    assert_in_range(at, 50, 100000);
    forget_moments();
    end_other(other);
}

/* And the other way round: the reader stopped anywhere, while a grace period is waited for. */
static int srcu_objects[2];
static int *_Atomic srcu_published;

static void replace_and_free_srcu(void)
{
    int *old = srcu_published, *fresh = old == &srcu_objects[0] ? &srcu_objects[1] : &srcu_objects[0];

    *fresh = 1;
    srcu_published = fresh;
    synchronize_srcu(&domain);
    *(volatile int *)old = 0;
}

static void update_srcu_meanwhile(void)
{
    send_and_see(replace_and_free_srcu);
}

/*
 * A second grace period comes if the first did not wait: for a reader that read the index before
 * the first, and came in by it afterwards.
 */
static void read_srcu(void)
{
    int index = srcu_read_lock(&domain);
    int *object = srcu_published;

    use(object);
    if (stepping.acted && atomic_load(&errand_done))
        send_and_see(replace_and_free_srcu);
    use(object);
    srcu_read_unlock(&domain, index);
}

static void srcu_readers_stopped_anywhere(void **state)
{
    pthread_t other = start_other();
    long at = 1;

    (void)state;
    srcu_objects[0] = srcu_objects[1] = 1;
    srcu_published = &srcu_objects[0];
    atomic_store(&uses_of_freed, 0);
    read_srcu();
    watch_others();
    for (; run_in_steps(at, update_srcu_meanwhile, read_srcu); at++) {
        wait_for_errand();
        if (atomic_load(&uses_of_freed))
            fail_msg("freed in use after %ld instructions", at);
        if (atomic_load(&lost_wakeups))
            fail_msg("the updater slept on after a stop at instruction %ld", at);
    }
    assert_in_range(at, 50, 100000);
    forget_moments();
    end_other(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define STEPS_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        STEPS_TEST(readers_stopped_anywhere),
        STEPS_TEST(appends_stopped_anywhere),
        STEPS_TEST(sums_stopped_anywhere),
        STEPS_TEST(leavers_wake_waiters_stopped_anywhere),
        STEPS_TEST(srcu_readers_stopped_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
