/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Litmus: the pairs of fences of RCU, run through the library against each other, and their
 * forbidden outcomes counted.
 *
 *   store buffering   a reader stores its word and loads a pointer; an updater stores the
 *                     pointer and loads the word.  Both old: the object is freed in use.
 *   message passing   an updater initialises an object and publishes it; a reader loads the
 *                     pointer and then the object.
 *   sleep             a thread queues a callback and loads the callback thread's word; that
 *                     stores the word and loads the queues.  Both old: the callback lies.
 *
 * A reader first fills its store buffer with stores that miss the cache, so that the next, its
 * word, comes out late: that is what makes a missing fence show at once.  Each pair runs with
 * membarrier and, in a process of its own, with fences; with a grace period that is broken on
 * purpose the outcomes have to be seen.
 */
/* modes: plain (races on purpose, and many of them) */
#include "rcu_helpers.h"
#include "own_process.h"

/* Reads of each pair in whose middle the updater published: so busy processors cannot make it idle. */
#define MEETINGS 1000
#define BOUND (10 * MEETINGS) /* broken: seen within so many, or this machine shows none */
#define CALLS 5000
#define OBJECTS 1024
#define LINES (1u << 20)    /* of a cache: 64 MiB, more than any */
#define STORES 40           /* fewer than a store buffer has */

struct object {
    int valid; /* plain on purpose: published, and then ended by a grace period */
    char apart[60];
};

static struct object objects[OBJECTS];
static struct object *published;
static unsigned char (*cold)[64];
static atomic_int stop, readers_run;
static atomic_ulong freed_in_use, uninitialised, meetings;

static void (*volatile exported_lock)(void) = rcu_read_lock;
static void (*volatile exported_unlock)(void) = rcu_read_unlock;

/* Stores that wait for memory; the buffer lets the next out only behind them. */
static void fill_store_buffer(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    for (unsigned i = 0; i < STORES; i++)
        *(volatile unsigned char *)cold[((*seed >> 24) + i * 4099u) % LINES] = (unsigned char)i;
}

static void use(struct object *object)
{
    bool at_first = *(volatile int *)&object->valid == 1;

    for (int i = 0; i < 300; i++)
        __asm__ volatile("" ::: "memory");
    if (!at_first)
        atomic_fetch_add(&uninitialised, 1);
    else if (*(volatile int *)&object->valid != 1)
        atomic_fetch_add(&freed_in_use, 1);
    if (rcu_access_pointer(published) != object)
        atomic_fetch_add_explicit(&meetings, 1, memory_order_relaxed);
}

/* A way to read ---------------------------------------------------------------- */

DEFINE_STATIC_SRCU(domain);

static void read_inline(void)
{
    rcu_read_lock();
    use(rcu_dereference(published));
    rcu_read_unlock();
}

static void read_exported(void)
{
    exported_lock();
    use(rcu_dereference(published));
    exported_unlock();
}

static void read_srcu(void)
{
    int index = srcu_read_lock(&domain);

    use(rcu_dereference(published));
    srcu_read_unlock(&domain, index);
}

static void synchronize_domain(void)
{
    synchronize_srcu(&domain);
}

static void *reader(void *way)
{
    uint64_t seed = (uintptr_t)&seed;
    void (*read)(void);

    memcpy(&read, way, sizeof(read));
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        fill_store_buffer(&seed);
        read();
        atomic_store_explicit(&readers_run, 1, memory_order_relaxed);
    }
    return NULL;
}

/* Publish, wait, free: until it has met so many reads, or until the first forbidden outcome. */
static void update(void (*wait)(void), unsigned long enough)
{
    for (unsigned long round = 0; atomic_load(&meetings) < enough && !atomic_load(&freed_in_use); round++) {
        struct object *old = published, *fresh = &objects[round % OBJECTS];

        if (fresh == old)
            continue;
        *(volatile int *)&fresh->valid = 1;
        rcu_assign_pointer(published, fresh);
        wait();
        *(volatile int *)&old->valid = 0;
    }
}

/* Forbidden outcomes of a way to read against a way to wait. */
static unsigned long outcomes(void (*read)(void), void (*wait)(void), unsigned long enough)
{
    pthread_t thread;

    atomic_store(&stop, 0);
    atomic_store(&readers_run, 0);
    atomic_store(&freed_in_use, 0);
    atomic_store(&uninitialised, 0);
    atomic_store(&meetings, 0);
    published = &objects[OBJECTS - 1];
    published->valid = 1;
    assert_int_equal(pthread_create(&thread, NULL, reader, &read), 0);
    wait_until(&readers_run);
    update(wait, enough);
    atomic_store(&stop, 1);
    pthread_join(thread, NULL);
    return atomic_load(&freed_in_use) + atomic_load(&uninitialised);
}

static void get_memory(void)
{
    if (cold)
        return;
    cold = malloc((size_t)LINES * sizeof(*cold));
    assert_non_null(cold);
    memset(cold, 1, (size_t)LINES * sizeof(*cold));
}

static void inlines_against_grace_periods(void **state)
{
    (void)state;
    get_memory();
    assert_int_equal(outcomes(read_inline, synchronize_rcu, MEETINGS), 0);
    assert_int_equal(outcomes(read_inline, synchronize_rcu_expedited, MEETINGS), 0);
}

static void functions_against_grace_periods(void **state)
{
    (void)state;
    get_memory();
    assert_int_equal(outcomes(read_exported, synchronize_rcu, MEETINGS), 0);
}

static void srcu_against_grace_periods(void **state)
{
    (void)state;
    get_memory();
    assert_int_equal(outcomes(read_srcu, synchronize_domain, MEETINGS), 0);
}

/* A litmus that shows nothing where everything is allowed proves nothing. */
static void broken_grace_periods_are_seen(void **state)
{
    unsigned long rcu, srcu;

    (void)state;
    get_memory();
    setenv("TDPMMU_ALLOW_BREAKING", "1", 1);
    assert_true(tdpmmu_rcu_break_for_tests(TDPMMU_BREAK_SYNC | TDPMMU_BREAK_SRCU));
    rcu = outcomes(read_inline, synchronize_rcu, BOUND);
    srcu = outcomes(read_srcu, synchronize_domain, BOUND);
    assert_true(tdpmmu_rcu_break_for_tests(0));
    unsetenv("TDPMMU_ALLOW_BREAKING");
    if (rcu && srcu)
        return;
    print_message("this machine has never shown a broken grace period of %s\n", rcu ? "SRCU" : "RCU");
    skip();
}

/* Sleep ------------------------------------------------------------------------- */

static atomic_ulong ran;

static void count_run(struct rcu_head *head)
{
    (void)head;
    atomic_fetch_add(&ran, 1);
}

/* True: callback `number` has run, without anybody waking the worker for another reason. */
static bool comes_by_itself(unsigned long number)
{
    for (int i = 0; i < 2000; i++)
        if (atomic_load(&ran) >= number)
            return true;
    for (int i = 0; i < 20000; i++) { /* 20 s: longer than any queue for a processor */
        if (atomic_load(&ran) >= number)
            return true;
        nap_ms(1);
    }
    return false;
}

/*
 * One callback after the other, each at another distance from the end of the last, so that
 * some meet the worker on its way to sleep.
 */
static void calls_against_sleep(void **state)
{
    static struct rcu_head heads[2];
    uint64_t seed = 1;

    (void)state;
    get_memory();
    atomic_store(&ran, 0);
    memset(heads, 0, sizeof(heads));
    for (unsigned long i = 1; i <= CALLS; i++) {
        fill_store_buffer(&seed);
        call_rcu(&heads[i % 2], count_run);
        if (!comes_by_itself(i))
            fail_msg("callback %lu lies in its queue, and the callback thread sleeps", i);
        for (volatile unsigned pause = (unsigned)(seed >> 40) % 3000; pause; pause--)
            ;
    }
}

/* All of it with fences ------------------------------------------------------------ */

#define FENCES "TDPMMU_RCU_FENCES"

static const char *program;

static void with_fences(const char *test)
{
    assert_int_equal(status_of_own_process(program, FENCES, "1", test, NULL), 0);
}

static void inlines_with_fences(void **state)
{
    (void)state;
    with_fences("inlines_against_grace_periods");
}

static void functions_with_fences(void **state)
{
    (void)state;
    with_fences("functions_against_grace_periods");
}

static void calls_with_fences(void **state)
{
    (void)state;
    with_fences("calls_against_sleep");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(inlines_against_grace_periods),
        RCU_TEST(functions_against_grace_periods),
        RCU_TEST(srcu_against_grace_periods),
        RCU_TEST(broken_grace_periods_are_seen),
        RCU_TEST(calls_against_sleep),
        RCU_TEST(inlines_with_fences),
        RCU_TEST(functions_with_fences),
        RCU_TEST(calls_with_fences),
    };

    (void)argc;
    program = argv[0];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
