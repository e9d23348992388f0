/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of RCU share: recorded warnings, threads, checks outside cmocka's thread. */
#ifndef RCU_HELPERS_H
#define RCU_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tdpmmu.h>

#include "choose_tests.h"
#include "test_mode.h"

static atomic_uint warning_count;
static struct tdpmmu_warning last_warning;
static char last_text[128];

static inline void record_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm;
    last_warning = *warning;
    snprintf(last_text, sizeof(last_text), "%s", warning->text);
    atomic_fetch_add(&warning_count, 1);
}

/* Since the last call: how many warnings. */
static inline unsigned warnings(void)
{
    return atomic_exchange(&warning_count, 0);
}

/* In threads other than the test's own, where cmocka's asserts cannot be used. */
static atomic_uint failures;
#define EXPECT(condition)                                                       \
    do {                                                                        \
        if (!(condition)) {                                                     \
            print_error("%s:%d: %s\n", __FILE__, __LINE__, #condition);         \
            atomic_fetch_add(&failures, 1);                                     \
        }                                                                       \
    } while (0)

static inline int setup(void **state)
{
    (void)state;
    tdpmmu_set_warn_handler(record_warning, NULL);
    warnings();
    return 0;
}

static inline int no_warning_left(void **state)
{
    unsigned left;

    (void)state;
    rcu_barrier();
    left = warnings() + atomic_exchange(&failures, 0);
    for (; rcu_read_lock_held(); left++)
        rcu_read_unlock(); /* of a test that failed: the next one shall not hang for it */
    return left == 0 ? 0 : -1;
}

static inline void assert_one_warning(const char *function)
{
    assert_int_equal(warnings(), 1);
    assert_string_equal(last_warning.function, function);
    assert_true(strlen(last_text) > 0);
}

static inline void nap_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static inline void wait_until(atomic_int *flag)
{
    while (!atomic_load(flag))
        nap_ms(1);
}

static inline void run_thread(void *(*body)(void *), void *argument)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, body, argument), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

#define RCU_TEST(name) cmocka_unit_test_setup_teardown(name, setup, no_warning_left)

#endif
