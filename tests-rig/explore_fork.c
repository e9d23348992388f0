/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Scenarios: a fork beside what the library's own threads do, which has to be either done or not begun by then.  No
 * process is made: that could not be put back.  A thread calls what the library has asked to be called before a fork,
 * and then what it has asked for after it in the parent.
 */
#include "guest.h"

#include <dlfcn.h>

static struct {
    void (*prepare)(void), (*parent)(void);
} handlers;

static int forking; /* threads that are in the middle of a fork */

/* What pthread_atfork() calls.  The library is the first to. */
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object);
int __register_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void), void *object)
{
    int (*real)(void (*)(void), void (*)(void), void (*)(void), void *);

    if (!handlers.prepare) {
        handlers.prepare = prepare;
        handlers.parent = parent;
    }
    *(void **)&real = dlsym(RTLD_NEXT, "__register_atfork");
    return real ? real(prepare, parent, child, object) : -1;
}

static void forks(void)
{
    handlers.prepare();
    tdpmmu_schedule_point(&forking, true);
    forking++;
    tdpmmu_schedule_point(&forking, true); /* here the process is copied */
    forking--;
    handlers.parent();
}

/* On a thread of the library's: a child would have half of what it is about. */
static void nobody_forks(void)
{
    tdpmmu_schedule_point(&forking, false);
    tdpmmu_explore_assert(!forking);
}

static void changed(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level, uint64_t old_spte, uint64_t new_spte,
                    bool shared)
{
    guest_changed(ctx, kvm, as_id, gfn, level, old_spte, new_spte, shared);
    nobody_forks();
}

static void traced(void *ctx, struct kvm *kvm, const struct tdpmmu_trace_event *event)
{
    (void)ctx, (void)kvm;
    if (event->id == TDPMMU_TRACE_FREE_SP_RCU)
        nobody_forks();
}

/* With a split that recovery will zap. */
static void recovered_guest(void)
{
    guest.level = 2;
    guest_ops.spte_changed = changed;
    make_guest_with((struct tdpmmu_vm_config){.vendor = TDPMMU_EPT, .nx_huge_pages = 1}, 1, 0);
    fault_in(0, GFN, PFERR_FETCH_MASK);
    tdpmmu_explore_assert(tdpmmu_set_nx_recovery(guest.kvm, 1, 1) == 0);
    tdpmmu_explore_name(&forking, sizeof(forking), "forking");
}

/* The thread that recovers has slept for long enough. */
static void time_passes(void)
{
    tdpmmu_explore_pass_time(2000000);
}

static bool is_recovered(void)
{
    struct tdpmmu_stats stats;

    tdpmmu_get_stats(guest.kvm, &stats, sizeof(stats));
    tdpmmu_explore_assert(stats.nx_splits == 0);
    return guest_is_sound();
}

static struct kvm_mmu_page *table;

static void freed_guest(void)
{
    guest_ops.trace = traced;
    make_guest(TDPMMU_EPT, 1);
    fault_in(0, GFN, PFERR_WRITE_MASK);
    table = table_of(0, GFN);
    tdpmmu_explore_name(&forking, sizeof(forking), "forking");
}

/* The callback thread frees it. */
static void zap_table(void)
{
    write_lock(&guest.kvm->mmu_lock);
    tdpmmu_explore_assert(kvm_tdp_mmu_zap_sp(guest.kvm, table));
    write_unlock(&guest.kvm->mmu_lock);
    kvm_flush_remote_tlbs(guest.kvm);
}

static bool is_freed_by_now(void)
{
    struct tdpmmu_stats stats;

    rcu_barrier();
    tdpmmu_get_stats(guest.kvm, &stats, sizeof(stats));
    return stats.tables_stray == 0 && guest_is_sound();
}

static const struct tdpmmu_scenario scenarios[] = {
    {.name = "fork_recovery", .about = "a fork beside a step of NX recovery", .set_up = recovered_guest,
     .prepare = warm_up, .thread = {time_passes, forks}, .check = is_recovered},
    {.name = "fork_free", .about = "a fork beside the end of a table", .set_up = freed_guest, .prepare = warm_up,
     .thread = {zap_table, forks}, .check = is_freed_by_now},
    {.name = "fork_fork", .about = "two fork beside a step of NX recovery", .set_up = recovered_guest,
     .prepare = warm_up, .thread = {time_passes, forks, forks}, .check = is_recovered, .preemptions = 3},
};

int main(int argc, char **argv)
{
    return tdpmmu_explore_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(*scenarios));
}
