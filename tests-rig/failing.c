/* SPDX-License-Identifier: GPL-2.0-only */
/* Scenarios with a mistake each: what the explorer must find.  `about` is a part of what it has to say. */
#include "guest.h"

static int counter, done;
static rwlock_t first, second;
static unsigned never;

static void increment(void)
{
    int seen;

    tdpmmu_schedule_point(&counter, false);
    seen = counter;
    tdpmmu_schedule_point(&counter, true);
    counter = seen + 1;
    done++;
}

static bool both_counted(void)
{
    return counter == 2;
}

static void locks(void)
{
    tdpmmu_rwlock_init(&first);
    tdpmmu_rwlock_init(&second);
}

static void one_way(void)
{
    write_lock(&first);
    write_lock(&second);
    write_unlock(&second);
    write_unlock(&first);
}

static void other_way(void)
{
    write_lock(&second);
    write_lock(&first);
    write_unlock(&first);
    write_unlock(&second);
}

static void wait_for_ever(void)
{
    for (;;) {
        tdpmmu_schedule_point(&never, false);
        if (never == 1)
            break;
    }
}

static void nothing(void)
{
    tdpmmu_schedule_point(&never, true);
    never = 0;
}

static void follow(void)
{
    volatile int *at;

    tdpmmu_schedule_point(&counter, false);
    at = counter ? NULL : &done;
    *at = 1;
}

static void publish(void)
{
    tdpmmu_schedule_point(&counter, true);
    counter = 1;
}

static void unlock_too_much(void)
{
    tdpmmu_schedule_point(&counter, false);
    if (counter)
        write_unlock(&first);
}

static void a_page(void)
{
    make_guest(TDPMMU_EPT, 2);
    fault_in(0, GFN, PFERR_WRITE_MASK);
}

static void use_page(void)
{
    use(0, GFN, true);
    use(0, GFN, true);
}

/* The host gives the page away without a word to the MMU. */
static void steal(void)
{
    tdpmmu_schedule_point(&guest.moves, true);
    guest.freed_until = ++guest.moves;
}

static const struct tdpmmu_scenario scenarios[] = {
    {.name = "lost_count", .about = "check: not as it should be", .thread = {increment, increment}, .check = both_counted},
    {.name = "lock_order", .about = "deadlock:", .set_up = locks, .thread = {one_way, other_way}},
    {.name = "no_end", .about = "it does not end within 5000 steps", .thread = {wait_for_ever, nothing}, .max_steps = 5000},
    {.name = "wild_pointer", .about = "SIGSEGV at address (nil)", .thread = {follow, publish}},
    {.name = "a_warning", .about = "warning: write_unlock", .set_up = locks, .thread = {unlock_too_much, publish}},
    {.name = "stolen_page", .about = "assertion: !is_freed", .set_up = a_page, .prepare = warm_up, .thread = {use_page, steal}},
};

int main(int argc, char **argv)
{
    return tdpmmu_explore_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(*scenarios));
}
