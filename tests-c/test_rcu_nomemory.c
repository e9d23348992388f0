/* SPDX-License-Identifier: GPL-2.0-only */
/* modes: plain (the others have a malloc() of their own) */
/* kfree_rcu_mightsleep() without memory: it waits for the grace period itself. */
#include "rcu_helpers.h"

void *__libc_malloc(size_t bytes);
static __thread bool refuses;

void *malloc(size_t bytes)
{
    return refuses ? NULL : __libc_malloc(bytes);
}

static atomic_int inside, may_leave, leaving, freed, early;

static void *reader_until_told(void *unused)
{
    rcu_read_lock();
    atomic_store(&inside, 1);
    wait_until(&may_leave);
    atomic_store(&leaving, 1);
    rcu_read_unlock();
    return unused;
}

static void *tell_later(void *unused)
{
    nap_ms(10);
    EXPECT(atomic_load(&freed) == 0);
    atomic_store(&may_leave, 1);
    return unused;
}

static void count_and_free(void *object)
{
    atomic_fetch_add(&early, !atomic_load(&leaving)); /* no words: there is no memory for them */
    atomic_fetch_add(&freed, 1);
    free(object);
}

static void waits_where_there_is_no_memory(void **state)
{
    void *object = malloc(8), *other = malloc(8);
    pthread_t reader, teller;

    (void)state;
    assert_int_equal(pthread_create(&reader, NULL, reader_until_told, NULL), 0);
    wait_until(&inside);
    assert_int_equal(pthread_create(&teller, NULL, tell_later, NULL), 0);
    refuses = true;
    assert_null(malloc(1));
    tdpmmu_kfree_rcu_mightsleep(object, count_and_free);
    refuses = false;
    assert_int_equal(atomic_load(&freed), 1); /* on return, not some time */
    pthread_join(reader, NULL);
    pthread_join(teller, NULL);
    assert_int_equal(atomic_load(&early), 0);
    refuses = true;
    kvfree_rcu_mightsleep(other);
    refuses = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RCU_TEST(waits_where_there_is_no_memory),
    };

    return cmocka_run_group_tests_name("rcu_nomemory", tests, NULL, NULL);
}
