/* SPDX-License-Identifier: GPL-2.0-only */
/* rcu.h: the callback thread's stack, in a program with much thread-local memory. */
#include "rcu_helpers.h"

#define THREAD_LOCAL (3u << 20)
static __thread volatile char big[THREAD_LOCAL];

static atomic_int ran;
static atomic_size_t taken;

/* Three quarters of what every thread has. */
static void use_stack(struct rcu_head *head)
{
    volatile char *end = __builtin_alloca(atomic_load(&taken));

    (void)head;
    for (size_t i = 0; i < atomic_load(&taken); i += 4096)
        end[i] = (char)i;
    big[THREAD_LOCAL - 1] = 1;
    atomic_fetch_add(&ran, 1);
}

static void callbacks_have_a_threads_stack(void **state)
{
    static struct rcu_head head;
    pthread_attr_t attributes;
    size_t bytes;

    (void)state;
    pthread_attr_init(&attributes);
    pthread_attr_getstacksize(&attributes, &bytes);
    pthread_attr_destroy(&attributes);
    atomic_store(&taken, bytes / 4 * 3);
    call_rcu(&head, use_stack);
    rcu_barrier();
    assert_int_equal(atomic_load(&ran), 1);
    assert_int_equal(big[THREAD_LOCAL - 1], 0);
}

int main(void)
{
    pthread_attr_t attributes;
    const struct CMUnitTest tests[] = {
        RCU_TEST(callbacks_have_a_threads_stack),
    };

    /* Less than the thread-local memory alone; it is the program's to say. */
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 2u << 20);
    if (!mode_is("tsan")) /* whose own threads would not do with it */
        pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
    return cmocka_run_group_tests_name("rcu_stack", tests, NULL, NULL);
}
