/* SPDX-License-Identifier: GPL-2.0-only */
/* How the tests are being run (scripts/ctests.py). */
#ifndef TEST_MODE_H
#define TEST_MODE_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One of plain, tsan, asan, valgrind. */
static inline bool mode_is(const char *name)
{
    const char *mode = getenv("TDPMMU_TEST_MODE");

    return mode && !strcmp(mode, name);
}

/* For tests whose child of a fork starts threads.  After cmocka.h. */
static inline void need_threads_in_children(void)
{
    if (mode_is("tsan")) {
        print_message("the thread sanitizer lets no child of a threaded program start threads\n");
        skip();
    }
}

#endif
