/* SPDX-License-Identifier: GPL-2.0-only */
/* rcu_pointer.h, rcu_reader.h, rcu_poll.h and rcu_callback.h: what each of the kernel's and
 * liburcu's names means. */
#define TDPMMU_RCU_DEBUG
#include "rcu_helpers.h"

static int values[4] = { 10, 11, 12, 13 };

static unsigned asked;

static bool answer(bool yes)
{
    asked++;
    return yes;
}

/* Pointers ----------------------------------------------------------------- */

static void checks_of_loads(void **state)
{
    int *__rcu p = &values[1];

    (void)state;
    asked = 0;
    assert_ptr_equal(rcu_dereference_check(p, answer(true)), &values[1]);
    assert_ptr_equal(rcu_dereference_bh_check(p, answer(true)), &values[1]);
    assert_ptr_equal(rcu_dereference_sched_check(p, answer(true)), &values[1]);
    assert_ptr_equal(rcu_dereference_protected(p, answer(true)), &values[1]);
    assert_int_equal(asked, 4);
    assert_int_equal(warnings(), 0);
    assert_ptr_equal(rcu_dereference_check(p, answer(false)), &values[1]);
    assert_one_warning("checks_of_loads");
    assert_int_equal(last_warning.kind, TDPMMU_WARN_LOCK);
    assert_ptr_equal(rcu_dereference_bh_check(p, false), &values[1]);
    assert_one_warning("checks_of_loads");
    assert_ptr_equal(rcu_dereference_sched_check(p, false), &values[1]);
    assert_one_warning("checks_of_loads");
    assert_ptr_equal(rcu_dereference_bh(p), &values[1]);
    assert_one_warning("checks_of_loads");
    assert_ptr_equal(rcu_dereference_sched(p), &values[1]);
    assert_one_warning("checks_of_loads");
    rcu_read_lock();
    assert_ptr_equal(rcu_dereference_check(p, false), &values[1]);
    assert_ptr_equal(rcu_dereference_bh(p), &values[1]);
    assert_ptr_equal(rcu_dereference_sched(p), &values[1]);
    assert_int_equal(warnings(), 0);
    assert_ptr_equal(rcu_dereference_protected(p, false), &values[1]); /* a reader does not count */
    assert_one_warning("checks_of_loads");
    rcu_read_unlock();
    assert_ptr_equal(rcu_dereference_raw(p), &values[1]);
    assert_ptr_equal(rcu_dereference_raw_check(p), &values[1]);
    assert_ptr_equal(rcu_access_pointer(p), &values[1]);
    assert_ptr_equal(rcu_pointer_handoff(p), &values[1]);
    assert_ptr_equal(unrcu_pointer(p), &values[1]);
}

static void stores(void **state)
{
    struct { int *one; int *__rcu other; } both = { RCU_POINTER_INITIALIZER(other, &values[2]) };
    int *alone = RCU_INITIALIZER(&values[3]);

    (void)state;
    assert_null(both.one);
    assert_ptr_equal(both.other, &values[2]);
    assert_ptr_equal(alone, &values[3]);
    assert_ptr_equal(rcu_replace_pointer(both.other, &values[0], answer(true)), &values[2]);
    assert_ptr_equal(both.other, &values[0]);
    assert_ptr_equal(rcu_replace_pointer(both.other, NULL, true), &values[0]);
    assert_null(both.other);
    assert_int_equal(warnings(), 0);
    assert_null(rcu_replace_pointer(both.other, &values[1], answer(false)));
    assert_one_warning("stores");
    assert_ptr_equal(both.other, &values[1]);
    rcu_set_pointer(&both.one, &values[2]);
    assert_ptr_equal(both.one, &values[2]);
    assert_ptr_equal(rcu_xchg_pointer(&both.one, &values[3]), &values[2]);
    assert_ptr_equal(both.one, &values[3]);
    assert_ptr_equal(rcu_cmpxchg_pointer(&both.one, &values[0], &values[1]), &values[3]);
    assert_ptr_equal(both.one, &values[3]);
    assert_ptr_equal(rcu_cmpxchg_pointer(&both.one, &values[3], &values[1]), &values[3]);
    assert_ptr_equal(both.one, &values[1]);
}

/* Two threads take turns at one place: nothing is lost, nothing is there twice. */
struct link {
    struct link *next;
};
static struct link *stack;
enum { LINKS = 20000 };
static struct link links[2][LINKS];

static void *pusher(void *mine)
{
    struct link *own = mine;

    for (int i = 0; i < LINKS; i++) {
        struct link *seen = rcu_access_pointer(stack), *found;

        for (;; seen = found) {
            own[i].next = seen;
            found = rcu_cmpxchg_pointer(&stack, seen, &own[i]);
            if (found == seen)
                break;
        }
    }
    return NULL;
}

static void compare_and_exchange(void **state)
{
    pthread_t threads[2];
    int count = 0;

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, pusher, links[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (struct link *at = rcu_xchg_pointer(&stack, NULL); at; at = at->next)
        count++;
    assert_int_equal(count, 2 * LINKS);
    assert_null(stack);
}

static void lockdep_warnings(void **state)
{
    (void)state;
    asked = 0;
    RCU_LOCKDEP_WARN(answer(false), "never said");
    assert_int_equal(warnings(), 0);
    RCU_LOCKDEP_WARN(answer(true), "said each time");
    assert_string_equal(last_text, "said each time");
    assert_one_warning("lockdep_warnings");
    assert_int_equal(last_warning.kind, TDPMMU_WARN_LOCK);
    RCU_LOCKDEP_WARN(answer(true), "said each time");
    assert_one_warning("lockdep_warnings");
    assert_int_equal(asked, 3);
}

/* Readers ------------------------------------------------------------------ */

static void assert_inside(bool inside)
{
    assert_int_equal(rcu_read_lock_held(), inside);
    assert_int_equal(rcu_read_lock_bh_held(), inside);
    assert_int_equal(rcu_read_lock_sched_held(), inside);
    assert_int_equal(rcu_read_lock_any_held(), inside);
    assert_int_equal(rcu_read_ongoing(), inside);
}

/* A grace period does not end inside any of them. */
static void each_is_a_reader(void **state)
{
    static const struct {
        void (*lock)(void), (*unlock)(void);
    } kinds[] = {
        { rcu_read_lock, rcu_read_unlock },
        { rcu_read_lock_bh, rcu_read_unlock_bh },
        { rcu_read_lock_sched, rcu_read_unlock_sched },
        { rcu_read_lock_sched_notrace, rcu_read_unlock_sched_notrace },
    };

    (void)state;
    for (int i = 0; i < 4; i++) {
        unsigned long cookie;

        assert_inside(false);
        kinds[i].lock();
        assert_inside(true);
        kinds[(i + 1) % 4].lock();
        cookie = start_poll_synchronize_rcu();
        kinds[i].unlock();
        assert_inside(true);
        nap_ms(5);
        assert_false(poll_state_synchronize_rcu(cookie));
        kinds[(i + 1) % 4].unlock();
        assert_inside(false);
        while (!poll_state_synchronize_rcu(cookie))
            nap_ms(1);
    }
}

static void *with_liburcus_names(void *unused)
{
    rcu_register_thread();
    EXPECT(!rcu_read_ongoing());
    rcu_read_lock();
    EXPECT(rcu_read_ongoing());
    rcu_thread_offline(); /* refused */
    EXPECT(warnings() == 1);
    EXPECT(strcmp(last_warning.function, "tdpmmu_rcu_thread_offline") == 0);
    rcu_quiescent_state();
    EXPECT(rcu_read_ongoing());
    rcu_read_unlock();
    rcu_thread_offline();
    rcu_thread_online();
    rcu_read_lock();
    rcu_unregister_thread(); /* refused */
    EXPECT(warnings() == 1);
    EXPECT(strcmp(last_warning.function, "tdpmmu_rcu_unregister_thread") == 0);
    rcu_read_unlock();
    rcu_unregister_thread();
    return unused;
}

static void liburcus_threads(void **state)
{
    (void)state;
    run_thread(with_liburcus_names, NULL);
}

/* Guards ------------------------------------------------------------------- */

static bool leaves_early(bool early)
{
    guard(rcu)();
    if (early)
        return rcu_read_lock_held();
    {
        guard(rcu)();
        rcu_read_lock();
        rcu_read_unlock();
    }
    return rcu_read_lock_held();
}

static bool returns_from_scope(void)
{
    scoped_guard(rcu)
        return rcu_read_lock_held();
    return false;
}

static void guards(void **state)
{
    unsigned rounds = 0;

    (void)state;
    assert_true(leaves_early(true));
    assert_inside(false);
    assert_true(leaves_early(false));
    assert_inside(false);
    assert_true(returns_from_scope());
    assert_inside(false);
    scoped_guard(rcu) {
        assert_inside(true);
        rounds++;
        scoped_guard(rcu)
            rounds++;
        assert_inside(true);
    }
    assert_int_equal(rounds, 2);
    assert_inside(false);
    scoped_guard(rcu) {
        if (rounds == 2)
            break;
        fail();
    }
    assert_inside(false);
    for (int i = 0; i < 3; i++) {
        guard(rcu)();
        rounds++;
        if (i == 1)
            continue;
        assert_inside(true);
    }
    assert_int_equal(rounds, 5);
    assert_inside(false);
}

/* Heads -------------------------------------------------------------------- */

static atomic_int called;

static void count(struct rcu_head *head)
{
    (void)head;
    atomic_fetch_add(&called, 1);
}

static void other(struct rcu_head *head)
{
    count(head);
}

static void assert_misused(struct rcu_head *head, void (*func)(struct rcu_head *))
{
    assert_false(rcu_head_after_call_rcu(head, func));
    assert_one_warning("rcu_head_after_call_rcu");
    assert_int_equal(last_warning.kind, TDPMMU_WARN_RCU);
    assert_int_equal(last_warning.value[0], (uintptr_t)head);
}

static void states_of_a_head(void **state)
{
    static struct rcu_head head, second, copy; /* a test that fails leaves them queued */

    (void)state;
    atomic_store(&called, 0);
    assert_misused(&head, count); /* not initialised */
    rcu_head_init(&head);
    rcu_head_init(&second);
    assert_false(rcu_head_after_call_rcu(&head, count));
    assert_false(rcu_head_after_call_rcu(&head, other));
    assert_int_equal(warnings(), 0);
    rcu_read_lock();
    call_rcu(&head, count);
    call_rcu_hurry(&second, other);
    assert_true(rcu_head_after_call_rcu(&head, count));
    assert_true(rcu_head_after_call_rcu(&head, count));
    assert_true(rcu_head_after_call_rcu(&second, other));
    assert_int_equal(warnings(), 0);
    assert_misused(&head, other);
    assert_misused(&second, count);
    copy = head; /* queued is the place, not its content */
    assert_misused(&copy, count);
    call_rcu(&head, count); /* still noticed */
    assert_one_warning("call_rcu");
    rcu_head_init(&second); /* and has no effect */
    assert_one_warning("rcu_head_init");
    nap_ms(5);
    assert_int_equal(atomic_load(&called), 0);
    rcu_read_unlock();
    rcu_barrier();
    assert_int_equal(atomic_load(&called), 2);
    assert_misused(&head, count); /* over */
    rcu_head_init(&head);
    assert_false(rcu_head_after_call_rcu(&head, count));
}

static void heads_of_srcu_and_freeing(void **state)
{
    static struct srcu_struct domain;
    struct thing {
        long before;
        struct rcu_head head;
    } *thing = malloc(sizeof(*thing));
    static struct rcu_head head;
    int reader;

    (void)state;
    assert_int_equal(init_srcu_struct(&domain), 0);
    rcu_head_init(&head);
    reader = srcu_read_lock(&domain);
    call_srcu(&domain, &head, count);
    assert_true(rcu_head_after_call_rcu(&head, count));
    srcu_read_unlock(&domain, reader);
    srcu_barrier(&domain);
    assert_misused(&head, count);
    cleanup_srcu_struct(&domain);
    rcu_head_init(&thing->head);
    rcu_read_lock();
    kvfree_rcu(thing, head);
    assert_misused(&thing->head, count);
    rcu_read_unlock();
    init_rcu_head(&head);
    init_rcu_head_on_stack(&head);
    destroy_rcu_head_on_stack(&head);
    destroy_rcu_head(&head);
    assert_misused(&head, count); /* as it was */
}

/* A reader in another thread, for grace periods that this one waits for. */
static atomic_int inside, may_leave, leaving;

static void *reader_until_told(void *unused)
{
    rcu_read_lock_bh();
    atomic_store(&inside, 1);
    wait_until(&may_leave);
    atomic_store(&leaving, 1);
    rcu_read_unlock_bh();
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

static void *tell_later(void *unused)
{
    nap_ms(10);
    atomic_store(&may_leave, 1);
    return unused;
}

/* Freeing what has no head -------------------------------------------------- */

static atomic_int freed;

static void count_and_free(void *object)
{
    EXPECT(atomic_load(&leaving));
    atomic_fetch_add(&freed, 1);
    free(object);
}

static void frees_without_a_head(void **state)
{
    pthread_t reader = start_reader();
    const int *constant = malloc(sizeof(int));
    void *unknown = malloc(100), *none = NULL;

    (void)state;
    atomic_store(&freed, 0);
    for (int i = 0; i < 10; i++)
        tdpmmu_kfree_rcu_mightsleep(malloc(8), count_and_free);
    nap_ms(5);
    assert_int_equal(atomic_load(&freed), 0);
    atomic_store(&may_leave, 1);
    rcu_barrier();
    assert_int_equal(atomic_load(&freed), 10);
    pthread_join(reader, NULL);
    kfree_rcu_mightsleep(constant); /* valgrind and the address sanitizer would miss them */
    kvfree_rcu_mightsleep(unknown);
    kfree_rcu_mightsleep(none);
    kvfree_rcu_mightsleep(none);
    rcu_barrier();
}

/* Polled ------------------------------------------------------------------- */

static void sameness(void **state)
{
    struct rcu_gp_oldstate one, two, completed;
    unsigned long first, second;

    (void)state;
    rcu_barrier(); /* nothing is left to begin a grace period meanwhile */
    first = get_state_synchronize_rcu();
    get_state_synchronize_rcu_full(&one);
    second = get_state_synchronize_rcu();
    get_state_synchronize_rcu_full(&two);
    get_completed_synchronize_rcu_full(&completed);
    assert_true(same_state_synchronize_rcu(first, second));
    assert_true(same_state_synchronize_rcu_full(&one, &two));
    assert_false(same_state_synchronize_rcu(first, get_completed_synchronize_rcu()));
    assert_false(same_state_synchronize_rcu_full(&one, &completed));
    assert_false(poll_state_synchronize_rcu_full(&one));
    assert_true(poll_state_synchronize_rcu(get_completed_synchronize_rcu()));
    assert_true(poll_state_synchronize_rcu_full(&completed));
    synchronize_rcu_expedited();
    assert_true(poll_state_synchronize_rcu_full(&one));
    assert_true(poll_state_synchronize_rcu(first));
    get_state_synchronize_rcu_full(&two);
    assert_false(same_state_synchronize_rcu_full(&one, &two));
    assert_false(same_state_synchronize_rcu(first, get_state_synchronize_rcu()));
    rcu_read_lock(); /* over: none of them has to wait */
    cond_synchronize_rcu_full(&one);
    cond_synchronize_rcu_expedited(first);
    cond_synchronize_rcu_expedited_full(&completed);
    cond_synchronize_rcu_expedited_full(&two);
    assert_one_warning("cond_synchronize_rcu_expedited_full");
    rcu_read_unlock();
}

/* While one runs, its cookie and the next one's are all that are not over. */
static void how_many_are_active(void **state)
{
    pthread_t reader = start_reader();
    unsigned long runs = start_poll_synchronize_rcu_expedited(), next;
    int active = 0;
    bool over;

    (void)state;
    while (same_state_synchronize_rcu(next = get_state_synchronize_rcu(), runs))
        nap_ms(1); /* until it has begun */
    for (unsigned long cookie = get_completed_synchronize_rcu(); cookie <= next; cookie++)
        active += !poll_state_synchronize_rcu(cookie);
    over = poll_state_synchronize_rcu(runs);
    atomic_store(&may_leave, 1);
    pthread_join(reader, NULL);
    assert_int_equal(active, NUM_ACTIVE_RCU_POLL_OLDSTATE);
    assert_int_equal(active, NUM_ACTIVE_RCU_POLL_FULL_OLDSTATE);
    assert_false(over);
    while (!poll_state_synchronize_rcu(runs)) /* nobody else asks for it */
        nap_ms(1);
}

static void started_by_full(void **state)
{
    void (*start[])(struct rcu_gp_oldstate *) = {
        start_poll_synchronize_rcu_full, start_poll_synchronize_rcu_expedited_full };

    (void)state;
    for (int i = 0; i < 2; i++) {
        pthread_t reader = start_reader();
        struct rcu_gp_oldstate full;
        bool over;

        start[i](&full);
        nap_ms(5);
        over = poll_state_synchronize_rcu_full(&full);
        atomic_store(&may_leave, 1);
        assert_false(over);
        while (!poll_state_synchronize_rcu_full(&full)) /* nobody else asks for it */
            nap_ms(1);
        assert_int_equal(atomic_load(&leaving), 1);
        pthread_join(reader, NULL);
    }
}

static void cond_expedited(struct rcu_gp_oldstate *full)
{
    cond_synchronize_rcu_expedited(full->rgos_norm);
}

static void waiting_for_full(void **state)
{
    void (*wait[])(struct rcu_gp_oldstate *) = {
        cond_synchronize_rcu_full, cond_synchronize_rcu_expedited_full, cond_expedited };

    (void)state;
    for (int i = 0; i < 3; i++) {
        pthread_t reader = start_reader(), teller;
        struct rcu_gp_oldstate full;

        get_state_synchronize_rcu_full(&full);
        assert_int_equal(pthread_create(&teller, NULL, tell_later, NULL), 0);
        wait[i](&full);
        assert_int_equal(atomic_load(&leaving), 1);
        assert_true(poll_state_synchronize_rcu_full(&full));
        pthread_join(reader, NULL);
        pthread_join(teller, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(checks_of_loads),
        RCU_TEST(stores),
        RCU_TEST(compare_and_exchange),
        RCU_TEST(lockdep_warnings),
        RCU_TEST(each_is_a_reader),
        RCU_TEST(liburcus_threads),
        RCU_TEST(guards),
        RCU_TEST(states_of_a_head),
        RCU_TEST(heads_of_srcu_and_freeing),
        RCU_TEST(frees_without_a_head),
        RCU_TEST(sameness),
        RCU_TEST(how_many_are_active),
        RCU_TEST(started_by_full),
        RCU_TEST(waiting_for_full),
    };

    return cmocka_run_group_tests_name("rcu_names", tests, NULL, NULL);
}
