/* SPDX-License-Identifier: GPL-2.0-only */
/* Table memory goes back to the system. */
/* modes: plain (the others keep memory of their own beside it) */
#define CHECK_EVERY 5003 /* a look is at all tables, of which there are many */
#include "test_helpers.h"

static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long total, resident;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &total, &resident), 2);
    fclose(file);
    return resident * 4;
}

/*
 * The first VM of a process, with a page: no huge page for its tables, which would be 2 MiB.  What else comes into memory
 * is what is run for the first time.
 */
static void first_vm_is_small(void **state)
{
    const long before = resident_kib();
    struct world *w = world_new(TDPMMU_EPT, 4);

    (void)state;
    assert_int_equal(map_page(w, 5, 1), RET_PF_FIXED);
    assert_true(resident_kib() - before < 1536);
    world_free(w);
}

/* 20,000 tables are 80 MiB; of a VM that is gone at most the reserve stays, and is used again. */
static void memory_goes_back(void **state)
{
    enum { TABLES = 20000, RESERVE_KIB = 4 * 2048, SLACK_KIB = 8192 };
    long before;

    (void)state;
    for (int round = 0; round < 3; round++) {
        struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });

        assert_int_equal(add_slot(w->kvm, 1, 0, WORLD_SLOT_PAGES, TABLES * 512ull, WORLD_HVA), 0);
        before = round ? before : resident_kib();
        for (gfn_t i = 0; i < TABLES; i++)
            assert_int_equal(map_page(w, WORLD_SLOT_PAGES + i * 512, 1), RET_PF_FIXED);
        assert_true(resident_kib() - before > TABLES * 4 - SLACK_KIB);
        world_free(w);
        assert_true(resident_kib() - before < RESERVE_KIB + SLACK_KIB);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_vm_is_small), /* first */
        cmocka_unit_test(memory_goes_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
