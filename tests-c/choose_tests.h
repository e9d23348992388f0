/* SPDX-License-Identifier: GPL-2.0-only */
/* After cmocka.h. */
#ifndef CHOOSE_TESTS_H
#define CHOOSE_TESTS_H

#include <stdlib.h>

/* TDPMMU_TEST_ONLY=name: that test alone, so that a crash or a hang is certainly its own. */
__attribute__((constructor)) static void choose_tests(void)
{
    if (getenv("TDPMMU_TEST_ONLY"))
        cmocka_set_test_filter(getenv("TDPMMU_TEST_ONLY"));
}

#endif
