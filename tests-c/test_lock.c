/* SPDX-License-Identifier: GPL-2.0-only */
/* lock.h: exclusion, order of arrival, who holds, misuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tdpmmu.h>

static atomic_uint warning_count;
static struct tdpmmu_warning last_warning;

static void record_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm;
    last_warning = *warning;
    atomic_fetch_add(&warning_count, 1);
}

static bool one_warning(const char *function, enum tdpmmu_warning_kind kind)
{
    return atomic_exchange(&warning_count, 0) == 1 && last_warning.kind == kind &&
           !strcmp(last_warning.function, function);
}
#define assert_one_warning(function, kind) assert_true(one_warning(function, kind))

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
    atomic_store(&warning_count, 0);
    return 0;
}

static int no_warning_left(void **state)
{
    (void)state;
    return atomic_load(&warning_count) == 0 && atomic_exchange(&failures, 0) == 0 ? 0 : -1;
}

static void nap_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void assert_free(rwlock_t *lock)
{
    /* But for the bias, which many readers in a row leave. */
    assert_int_equal(lock->state & ~(1u << 29), 0);
    assert_int_equal(lock->sleepers, 0);
    assert_int_equal(lock->owner, 0);
}

/* One thread --------------------------------------------------------------- */

static void all_zero_is_unlocked(void **state)
{
    rwlock_t lock = {0}, initialised;

    (void)state;
    memset(&initialised, 0xff, sizeof(initialised));
    tdpmmu_rwlock_init(&initialised);
    assert_memory_equal(&lock, &initialised, sizeof(lock));
    read_lock(&lock);
    read_unlock(&lock);
    write_lock(&lock);
    write_unlock(&lock);
    assert_free(&lock);
}

static void knows_who_holds(void **state)
{
    rwlock_t lock = {0}, other = {0};

    (void)state;
    assert_false(tdpmmu_read_lock_held(&lock));
    assert_false(tdpmmu_write_lock_held(&lock));
    read_lock(&lock);
    assert_true(tdpmmu_read_lock_held(&lock));
    assert_false(tdpmmu_write_lock_held(&lock));
    assert_false(tdpmmu_read_lock_held(&other));
    read_unlock(&lock);
    write_lock(&lock);
    assert_false(tdpmmu_read_lock_held(&lock));
    assert_true(tdpmmu_write_lock_held(&lock));
    assert_false(tdpmmu_write_lock_held(&other));
    write_unlock(&lock);
    assert_false(tdpmmu_write_lock_held(&lock));
}

static void recursive_read(void **state)
{
    rwlock_t lock = {0};

    (void)state;
    for (int i = 0; i < 1000; i++)
        read_lock(&lock);
    for (int i = 0; i < 1000; i++) {
        assert_true(tdpmmu_read_lock_held(&lock));
        read_unlock(&lock);
    }
    assert_false(tdpmmu_read_lock_held(&lock));
    assert_free(&lock);
}

/* More locks than fit the table in the thread's own memory, in any order. */
static void many_locks(void **state)
{
    enum { LOCKS = 300 };
    rwlock_t *locks = calloc(LOCKS, sizeof(*locks));

    (void)state;
    for (int i = 0; i < LOCKS; i++) {
        read_lock(&locks[i]);
        read_lock(&locks[i / 2]);
    }
    for (int i = 0; i < LOCKS; i++)
        assert_true(tdpmmu_read_lock_held(&locks[i]));
    for (int i = 0; i < LOCKS; i++)
        read_unlock(&locks[i / 2]);
    for (int i = 0; i < LOCKS; i += 2)
        read_unlock(&locks[i]);
    for (int i = 0; i < LOCKS; i++)
        assert_int_equal(tdpmmu_read_lock_held(&locks[i]), i % 2);
    for (int i = LOCKS - 1; i > 0; i -= 2)
        read_unlock(&locks[i]);
    for (int i = 0; i < LOCKS; i++) {
        assert_false(tdpmmu_read_lock_held(&locks[i]));
        assert_free(&locks[i]);
        write_lock(&locks[i]);
    }
    for (int i = 0; i < LOCKS; i++)
        write_unlock(&locks[i]);
    free(locks);
}

/* Misuse ------------------------------------------------------------------- */

static void null_lock(void **state)
{
    (void)state;
    tdpmmu_rwlock_init(NULL);
    assert_one_warning("tdpmmu_rwlock_init", TDPMMU_WARN_ARGUMENT);
    read_lock(NULL);
    assert_one_warning("read_lock", TDPMMU_WARN_ARGUMENT);
    read_unlock(NULL);
    assert_one_warning("read_unlock", TDPMMU_WARN_ARGUMENT);
    write_lock(NULL);
    assert_one_warning("write_lock", TDPMMU_WARN_ARGUMENT);
    write_unlock(NULL);
    assert_one_warning("write_unlock", TDPMMU_WARN_ARGUMENT);
    assert_false(rwlock_needbreak(NULL));
    assert_one_warning("rwlock_needbreak", TDPMMU_WARN_ARGUMENT);
    assert_false(tdpmmu_read_lock_held(NULL));
    assert_one_warning("tdpmmu_read_lock_held", TDPMMU_WARN_ARGUMENT);
    assert_false(tdpmmu_write_lock_held(NULL));
    assert_one_warning("tdpmmu_write_lock_held", TDPMMU_WARN_ARGUMENT);
}

static void unlock_without_hold(void **state)
{
    rwlock_t lock = {0};

    (void)state;
    read_unlock(&lock);
    assert_one_warning("read_unlock", TDPMMU_WARN_LOCK);
    write_unlock(&lock);
    assert_one_warning("write_unlock", TDPMMU_WARN_LOCK);
    read_lock(&lock);
    write_unlock(&lock);
    assert_one_warning("write_unlock", TDPMMU_WARN_LOCK);
    read_unlock(&lock);
    write_lock(&lock);
    read_unlock(&lock);
    assert_one_warning("read_unlock", TDPMMU_WARN_LOCK);
    write_unlock(&lock);
    assert_free(&lock);
}

static void *unlock_the_others_hold(void *lock)
{
    read_unlock((rwlock_t *)lock);
    EXPECT(one_warning("read_unlock", TDPMMU_WARN_LOCK));
    write_unlock((rwlock_t *)lock);
    EXPECT(one_warning("write_unlock", TDPMMU_WARN_LOCK));
    return NULL;
}

static void unlock_in_another_thread(void **state)
{
    rwlock_t lock = {0};
    pthread_t thread;

    (void)state;
    read_lock(&lock);
    pthread_create(&thread, NULL, unlock_the_others_hold, &lock);
    pthread_join(thread, NULL);
    read_unlock(&lock);
    write_lock(&lock);
    pthread_create(&thread, NULL, unlock_the_others_hold, &lock);
    pthread_join(thread, NULL);
    write_unlock(&lock);
    assert_free(&lock);
}

/* In the kernel each of these is a deadlock. */
static void locking_twice(void **state)
{
    rwlock_t lock = {0};

    (void)state;
    write_lock(&lock);
    write_lock(&lock);
    assert_one_warning("write_lock", TDPMMU_WARN_LOCK);
    read_lock(&lock);
    assert_one_warning("read_lock", TDPMMU_WARN_LOCK);
    write_unlock(&lock);
    read_lock(&lock);
    write_lock(&lock);
    assert_one_warning("write_lock", TDPMMU_WARN_LOCK);
    assert_true(tdpmmu_read_lock_held(&lock));
    read_unlock(&lock);
    assert_free(&lock);
}

/* Several threads ---------------------------------------------------------- */

static rwlock_t shared;
static long guarded[2]; /* equal whenever the lock is free */
static atomic_int stop;
static atomic_long writes, reads;

static void *writer(void *unused)
{
    while (!atomic_load(&stop)) {
        write_lock(&shared);
        guarded[0]++;
        guarded[1]++;
        write_unlock(&shared);
        atomic_fetch_add(&writes, 1);
    }
    return unused;
}

static void *reader(void *unused)
{
    while (!atomic_load(&stop)) {
        read_lock(&shared);
        EXPECT(guarded[0] == guarded[1]);
        read_lock(&shared); /* never blocks, also with a writer waiting */
        read_unlock(&shared);
        EXPECT(guarded[0] == guarded[1]);
        read_unlock(&shared);
        atomic_fetch_add(&reads, 1);
    }
    return unused;
}

/* Nobody starves: it goes on until both kinds have had their share. */
static void exclusion(void **state)
{
    pthread_t threads[6];

    (void)state;
    atomic_store(&stop, 0);
    for (int i = 0; i < 6; i++)
        pthread_create(&threads[i], NULL, i % 2 ? writer : reader, NULL);
    while (atomic_load(&writes) < 2000 || atomic_load(&reads) < 2000)
        nap_ms(1);
    atomic_store(&stop, 1);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(guarded[0], guarded[1]);
    assert_int_equal(guarded[0], atomic_load(&writes));
    assert_free(&shared);
}

static atomic_int order;
static int writer_was, reader_was;

static void *one_write(void *lock)
{
    write_lock((rwlock_t *)lock);
    writer_was = atomic_fetch_add(&order, 1);
    write_unlock((rwlock_t *)lock);
    return NULL;
}

static void *one_read(void *lock)
{
    read_lock((rwlock_t *)lock);
    reader_was = atomic_fetch_add(&order, 1);
    read_unlock((rwlock_t *)lock);
    return NULL;
}

static void wait_for_waiters(rwlock_t *lock, unsigned count)
{
    while (__atomic_load_n(&lock->sleepers, __ATOMIC_RELAXED) != count)
        nap_ms(1);
}

/* A reader that comes after a waiting writer comes after the write. */
static void waiting_writer_blocks_new_readers(void **state)
{
    rwlock_t lock = {0};
    pthread_t threads[2];

    (void)state;
    atomic_store(&order, 0);
    read_lock(&lock);
    assert_false(rwlock_needbreak(&lock));
    pthread_create(&threads[0], NULL, one_write, &lock);
    wait_for_waiters(&lock, 1);
    assert_true(rwlock_needbreak(&lock));
    pthread_create(&threads[1], NULL, one_read, &lock);
    wait_for_waiters(&lock, 2);
    read_lock(&lock); /* but its holder may go deeper */
    read_unlock(&lock);
    assert_int_equal(atomic_load(&order), 0);
    read_unlock(&lock);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_int_equal(writer_was, 0);
    assert_int_equal(reader_was, 1);
    assert_false(rwlock_needbreak(&lock));
    assert_free(&lock);
}

/* Whoever lets go because somebody waits does not get it back before him. */
static void letting_go_lets_the_other_in(void **state)
{
    rwlock_t lock = {0};
    pthread_t thread;

    (void)state;
    for (int i = 0; i < 100; i++) {
        atomic_store(&order, 0);
        write_lock(&lock);
        pthread_create(&thread, NULL, i % 2 ? one_read : one_write, &lock);
        while (!rwlock_needbreak(&lock))
            sched_yield();
        write_unlock(&lock);
        write_lock(&lock);
        assert_int_equal(atomic_load(&order), 1);
        write_unlock(&lock);
        pthread_join(thread, NULL);
    }
    assert_free(&lock);
}

/* All readers in a row get in together. */
static atomic_int readers_inside;

static void *meet(void *lock)
{
    read_lock((rwlock_t *)lock);
    atomic_fetch_add(&readers_inside, 1);
    while (atomic_load(&readers_inside) != 4)
        sched_yield();
    read_unlock((rwlock_t *)lock);
    return NULL;
}

static void readers_share(void **state)
{
    rwlock_t lock = {0};
    pthread_t threads[4];

    (void)state;
    write_lock(&lock);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, meet, &lock);
    wait_for_waiters(&lock, 4);
    write_unlock(&lock);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_free(&lock);
}

/* What a lock that is written over while it is held must not do: end the program. */
static void made_anew_while_held(void **state)
{
    rwlock_t lock = { 0 };

    (void)state;
    read_lock(&lock);
    read_lock(&lock);
    tdpmmu_rwlock_init(&lock);
    assert_one_warning("tdpmmu_rwlock_init", TDPMMU_WARN_LOCK);
    assert_false(tdpmmu_read_lock_held(&lock));
    read_unlock(&lock);
    assert_one_warning("read_unlock", TDPMMU_WARN_LOCK);
    read_lock(&lock);
    lock.state = 0; /* somebody's memset() */
    read_unlock(&lock);
    assert_one_warning("read_unlock", TDPMMU_WARN_LOCK);
    assert_int_equal(lock.state, 0);
    write_lock(&lock);
    write_unlock(&lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, no_warning_left)
        TEST(all_zero_is_unlocked),
        TEST(knows_who_holds),
        TEST(recursive_read),
        TEST(many_locks),
        TEST(null_lock),
        TEST(unlock_without_hold),
        TEST(unlock_in_another_thread),
        TEST(made_anew_while_held),
        TEST(locking_twice),
        TEST(exclusion),
        TEST(waiting_writer_blocks_new_readers),
        TEST(letting_go_lets_the_other_in),
        TEST(readers_share),
    };

    return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
