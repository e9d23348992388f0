/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the C tests share: a small world (one VM, one vCPU, one slot) that
 * records every callback, and short ways to fault, look and compare.
 */
#ifndef TEST_HELPERS_H
#define TEST_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tdpmmu.h>

#include "choose_tests.h"
#include "test_mode.h"

#define MAX_RECORDS 4096
#define MIB_PAGES 256u            /* 4K pages in a MiB */
#define GIB_PAGES (1024u * MIB_PAGES)
#define WORLD_SLOT_PAGES (8ull * GIB_PAGES)
#define WORLD_HVA 0x10000000000ull /* 1 GiB aligned, so huge pages fit */
#define NO_SPTE 0xdeadull
/* After how many operations the checker looks at a world; a file with long loops may say so before. */
#ifndef CHECK_EVERY
#define CHECK_EVERY 7
#endif

struct change {
    int as_id, level;
    gfn_t gfn;
    uint64_t old_spte, new_spte;
    bool shared;
};

struct flush {
    gfn_t start;
    uint64_t npages;
    bool in_rcu;
    unsigned changes; /* SPTE changes told before it */
};

struct world {
    struct kvm *kvm;
    const char *fault; /* what the checker is to say at its end, and says it; NULL: nothing */
    struct kvm_vcpu *vcpu;
    uint32_t vendor;
    int root_level;
    struct tdpmmu_ops ops;
    atomic_uint warnings;
    struct tdpmmu_warning last_warning;
    bool is_watched; /* TDPMMU_TEST_EYES */
    atomic_uint change_count; /* change[] is for tests with one thread */
    struct change change[MAX_RECORDS];
    atomic_uint flush_count;
    struct flush flush[MAX_RECORDS];
    atomic_bool resched;      /* what need_resched answers */
    atomic_uint resched_asked;
    void (*on_resched)(struct world *w); /* a test's own, may be NULL; these two inside RCU */
    void (*on_change)(struct world *w, const struct change *change);
    void (*on_flush)(struct world *w);
};

/* The hardware that a test is at. */
static const char *machine_at = "";

static inline void world_warn(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    struct world *w = ctx;

    (void)kvm;
    if (warning->kind == TDPMMU_WARN_FLUSH && w->is_watched)
        return; /* world_report() has it as well */
    w->last_warning = *warning;
    if (warning->kind == TDPMMU_WARN_CHECK && w->fault && strstr(warning->text, w->fault))
        return;
    if (warning->kind == TDPMMU_WARN_CHECK)
        print_error("%s: %s (0x%llx, 0x%llx)\n", machine_at, warning->text,
                    (unsigned long long)warning->value[0], (unsigned long long)warning->value[1]);
    atomic_fetch_add(&w->warnings, 1);
}

/*
 * TDPMMU_TEST_EYES=1: each world keeps a ledger of owed flushes, and what it reports fails the test, but for what
 * callers are told to flush: most tests have no CPUs that would need it.
 */
static inline void world_report(void *ctx, struct kvm *kvm, const struct tdpmmu_ledger_report *report)
{
    struct world *w = ctx;

    (void)kvm;
    if (report->due == TDPMMU_DUE_UNLOCK || report->due == TDPMMU_DUE_HARVEST)
        return;
    w->last_warning = (struct tdpmmu_warning){
        TDPMMU_WARN_FLUSH, report->operation, "a flush is due (due, gfn)", { report->due, report->start } };
    atomic_fetch_add(&w->warnings, 1);
}

static inline void world_changed(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level,
                                 uint64_t old_spte, uint64_t new_spte, bool shared)
{
    struct world *w = ctx;
    unsigned i = atomic_fetch_add(&w->change_count, 1);

    struct change change = { as_id, level, gfn, old_spte, new_spte, shared };

    (void)kvm;
    if (i < MAX_RECORDS)
        w->change[i] = change;
    if (w->on_change)
        w->on_change(w, &change);
}

static inline void world_flush(void *ctx, struct kvm *kvm, gfn_t start, uint64_t npages)
{
    struct world *w = ctx;
    unsigned i = atomic_fetch_add(&w->flush_count, 1);

    (void)kvm;
    if (i < MAX_RECORDS)
        w->flush[i] = (struct flush){ start, npages, rcu_read_lock_held(),
                                      atomic_load(&w->change_count) };
    if (w->on_flush)
        w->on_flush(w);
}

static inline bool world_resched(void *ctx, struct kvm *kvm)
{
    struct world *w = ctx;

    (void)kvm;
    atomic_fetch_add(&w->resched_asked, 1);
    if (w->on_resched)
        w->on_resched(w);
    return atomic_load(&w->resched);
}

/* Warnings that belong to no VM (NULL arguments, RCU) are recorded here. */
static struct world process_world;

static inline int add_slot(struct kvm *kvm, uint32_t id, uint32_t flags, gfn_t gfn, uint64_t npages,
                           uint64_t hva)
{
    struct kvm_userspace_memory_region region = {
        .slot = id, .flags = flags, .guest_phys_addr = gfn << 12,
        .memory_size = npages << 12, .userspace_addr = hva,
    };

    return kvm_set_memory_region(kvm, &region);
}

static inline int delete_slot(struct kvm *kvm, uint32_t id)
{
    return add_slot(kvm, id, 0, 0, 0, 0);
}

/* A VM of its own making.  Of config's ops the host's side is taken (gfn_to_pfn,
 * mapping_level) and where it yields, with the world as ctx; the rest are the recorders. */
static inline struct world *world_from(struct tdpmmu_vm_config config)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->vendor = config.vendor;
    w->root_level = config.root_level ? (int)config.root_level : 4;
    w->ops = (struct tdpmmu_ops){
        .size = sizeof(w->ops), .flush_tlb = world_flush, .spte_changed = world_changed,
        .need_resched = world_resched, .warn = world_warn,
    };
    if (config.ops) {
        w->ops.gfn_to_pfn = config.ops->gfn_to_pfn;
        w->ops.mapping_level = config.ops->mapping_level;
        w->ops.yield_at = config.ops->yield_at;
        w->ops.yielded = config.ops->yielded;
    }
    config.size = sizeof(config);
    config.ops = &w->ops;
    config.ops_ctx = w;
    tdpmmu_set_warn_handler(world_warn, &process_world);
    w->kvm = tdpmmu_create_vm(&config);
    assert_non_null(w->kvm);
    tdpmmu_check_always(w->kvm, CHECK_EVERY);
    w->is_watched = getenv("TDPMMU_TEST_EYES") && tdpmmu_ledger_attach(w->kvm, world_report, w) == 0;
    w->vcpu = tdpmmu_create_vcpu(w->kvm, 0);
    assert_non_null(w->vcpu);
    assert_int_equal(add_slot(w->kvm, 0, 0, 0, WORLD_SLOT_PAGES, WORLD_HVA), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    return w;
}

static inline struct world *world_new(enum tdpmmu_vendor vendor, unsigned root_level)
{
    return world_from((struct tdpmmu_vm_config){
        .vendor = vendor, .root_level = root_level,
        .maxphyaddr = root_level == 5 ? 52 : 46 });
}

static inline struct tdpmmu_stats stats_of(struct kvm *kvm)
{
    struct tdpmmu_stats stats;

    memset(&stats, 0xff, sizeof(stats));
    assert_int_equal(tdpmmu_get_stats(kvm, &stats, sizeof(stats)), 0);
    return stats;
}

/* Forget what the callbacks recorded so far. */
static inline void world_forget(struct world *w)
{
    atomic_store(&w->warnings, 0);
    atomic_store(&w->change_count, 0);
    atomic_store(&w->flush_count, 0);
    atomic_store(&w->resched_asked, 0);
    atomic_store(&process_world.warnings, 0);
}

/* Warnings of the VM and of the process since world_forget(). */
static inline unsigned warnings(struct world *w)
{
    return atomic_load(&w->warnings) + atomic_load(&process_world.warnings);
}

static inline void assert_no_warning_at(struct world *w, const char *file, int line)
{
    struct world *spoke = atomic_load(&w->warnings) ? w : &process_world;

    if (warnings(w)) {
        print_error("warning: %s: %s (0x%llx, 0x%llx)\n", spoke->last_warning.function,
                    spoke->last_warning.text, (unsigned long long)spoke->last_warning.value[0],
                    (unsigned long long)spoke->last_warning.value[1]);
        _fail(file, line);
    }
}
#define assert_no_warning(w) assert_no_warning_at(w, __FILE__, __LINE__)

/* Nothing of the VM is wrong.  (Linux's own code has no such checker.) */
static inline void assert_check_silent_at(struct kvm *kvm, const char *file, int line)
{
    int found = tdpmmu_check(kvm);

    if (found && found != -EOPNOTSUPP) {
        print_error("%s: the checker finds %d faults\n", machine_at, found);
        _fail(file, line);
    }
}
#define assert_check_silent(kvm) assert_check_silent_at(kvm, __FILE__, __LINE__)

/* Take the VM down: nothing may be left and nobody may have complained. */
static inline void world_free(struct world *w)
{
    struct tdpmmu_stats stats;

    assert_no_warning(w);
    if (w->fault)
        assert_int_not_equal(tdpmmu_check(w->kvm), 0);
    else
        assert_check_silent(w->kvm);
    kvm_mmu_uninit_tdp_mmu(w->kvm);
    stats = stats_of(w->kvm);
    assert_int_equal(stats.tables, 0);
    assert_int_equal(stats.tables_stray, 0);
    assert_int_equal(stats.roots, 0);
    assert_int_equal(stats.pages_4k, 0);
    assert_int_equal(stats.pages_2m, 0);
    assert_int_equal(stats.pages_1g, 0);
    tdpmmu_destroy_vm(w->kvm);
    assert_no_warning(w);
    tdpmmu_set_warn_handler(NULL, NULL);
    free(w);
}

/* The test forges entries, or plays a host that contradicts itself: the checker looks at the end only. */
static inline void world_forges(struct world *w)
{
    tdpmmu_check_always(w->kvm, 0);
}

/* One fault under the read lock. */
static inline int fault_on(struct world *w, struct kvm_vcpu *vcpu, gfn_t gfn, uint64_t error_code,
                           bool map_writable, int max_level, kvm_pfn_t pfn, bool prefault)
{
    int ret;

    read_lock(&w->kvm->mmu_lock);
    ret = kvm_tdp_mmu_map(vcpu, gfn << 12, error_code, map_writable, max_level, pfn, prefault);
    read_unlock(&w->kvm->mmu_lock);
    return ret;
}

/* A write fault on a writable host page; pfn congruent to gfn, so any level fits. */
static inline kvm_pfn_t pfn_for(gfn_t gfn)
{
    return gfn + 0x400000; /* 16 GiB up, 1 GiB aligned */
}

static inline int map_page(struct world *w, gfn_t gfn, int max_level)
{
    return fault_on(w, w->vcpu, gfn, PFERR_WRITE_MASK, true, max_level, pfn_for(gfn), false);
}

static inline void map_pages(struct world *w, gfn_t start, uint64_t npages, int level)
{
    for (gfn_t gfn = start; gfn < start + npages; gfn += KVM_PAGES_PER_HPAGE(level))
        assert_int_equal(map_page(w, gfn, level), RET_PF_FIXED);
}

/* The SPTE at the end of a walk to gfn; its level in *level. */
static inline uint64_t walk_end(struct kvm_vcpu *vcpu, gfn_t gfn, int *level)
{
    uint64_t sptes[6] = { NO_SPTE, NO_SPTE, NO_SPTE, NO_SPTE, NO_SPTE, NO_SPTE };
    int root_level = -1;

    rcu_read_lock();
    *level = kvm_tdp_mmu_get_walk(vcpu, gfn << 12, sptes, &root_level);
    rcu_read_unlock();
    assert_in_range(*level, 1, 5);
    return sptes[*level];
}

/* The SPTE for gfn if the walk ends at this level with it; else NO_SPTE. */
static inline uint64_t spte_at(struct kvm_vcpu *vcpu, gfn_t gfn, int level)
{
    int found;
    uint64_t spte = walk_end(vcpu, gfn, &found);

    return found == level ? spte : NO_SPTE;
}

static inline bool mapped(struct kvm_vcpu *vcpu, gfn_t gfn)
{
    int level;
    uint64_t spte = walk_end(vcpu, gfn, &level);

    return is_shadow_present_pte(spte) && is_last_spte(spte, level);
}

/* The non-leaf or leaf SPTE that a walk to gfn meets at a level, or NO_SPTE. */
static inline uint64_t spte_on_way(struct kvm_vcpu *vcpu, gfn_t gfn, int level)
{
    uint64_t sptes[6] = { NO_SPTE, NO_SPTE, NO_SPTE, NO_SPTE, NO_SPTE, NO_SPTE };
    int root_level = -1;

    rcu_read_lock();
    kvm_tdp_mmu_get_walk(vcpu, gfn << 12, sptes, &root_level);
    rcu_read_unlock();
    return sptes[level];
}

/* One number for all that the vCPU's tables hold. */
static inline uint64_t checksum(struct kvm_vcpu *vcpu)
{
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(vcpu);
    uint64_t sum = 0xcbf29ce484222325ull;
    struct tdp_iter iter;

    if (!root)
        return 0;
    rcu_read_lock();
    for_each_tdp_pte(iter, root->spt, (int)root->role.level, 0, UINT64_MAX) {
        if (iter.old_spte == SHADOW_NONPRESENT_VALUE)
            continue;
        sum = (sum ^ iter.gfn) * 0x100000001b3ull;
        sum = (sum ^ (uint64_t)iter.level) * 0x100000001b3ull;
        sum = (sum ^ iter.old_spte) * 0x100000001b3ull;
    }
    rcu_read_unlock();
    return sum;
}

/* Leaves that a walk of [start, end) finds at a level. */
static inline unsigned count_leaves(struct kvm_vcpu *vcpu, gfn_t start, gfn_t end, int level)
{
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(vcpu);
    struct tdp_iter iter;
    unsigned count = 0;

    rcu_read_lock();
    for_each_tdp_pte(iter, root->spt, (int)root->role.level, start, end)
        count += iter.level == level && is_shadow_present_pte(iter.old_spte) &&
                 is_last_spte(iter.old_spte, iter.level);
    rcu_read_unlock();
    return count;
}

/* ---- the later operations: a second slot, the guest, exact values ---------- */

#define SIDE_SLOT 1u
#define SIDE_BASE (16ull * GIB_PAGES) /* 1 GiB aligned, in host memory too */
#define SIDE_HVA (WORLD_HVA + (SIDE_BASE << 12))

/* Where the default gfn_to_pfn finds the pages of both slots. */
static inline kvm_pfn_t host_pfn(gfn_t gfn)
{
    return (WORLD_HVA >> 12) + gfn;
}

/* A slot by id in an address space.  Good until it changes. */
static inline const struct kvm_memory_slot *slot_by_id(struct world *w, int as_id, int id)
{
    const struct kvm_memory_slot *slot;

    rcu_read_lock();
    slot = tdpmmu_id_to_memslot(w->kvm, as_id, id);
    rcu_read_unlock();
    assert_non_null(slot);
    return slot;
}

/*
 * One access of the guest, with all that it takes: a root, and faults until it succeeds.
 * Returns the leaf's level.
 */
static inline int guest_access(struct kvm_vcpu *vcpu, gfn_t gfn, uint64_t access)
{
    for (int tries = 0; tries < 1000; tries++) {
        uint64_t error_code = 0;
        int ret;

        assert_int_equal(kvm_mmu_load(vcpu), 0);
        ret = tdpmmu_cpu_access(vcpu, gfn << 12, access, &error_code);
        if (ret > 0)
            return ret;
        assert_int_equal(ret, 0);
        ret = kvm_tdp_mmu_page_fault(vcpu, gfn << 12, error_code);
        assert_true(ret == RET_PF_FIXED || ret == RET_PF_SPURIOUS || ret == RET_PF_RETRY);
    }
    fail_msg("the guest's access to gfn 0x%llx never succeeds", (unsigned long long)gfn);
    return -1;
}

static inline int guest_write(struct kvm_vcpu *vcpu, gfn_t gfn)
{
    return guest_access(vcpu, gfn, PFERR_WRITE_MASK);
}

/* The table that holds the entry of a level on the walk to gfn. */
static inline struct kvm_mmu_page *table_holding(struct kvm_vcpu *vcpu, gfn_t gfn, int level)
{
    struct kvm_mmu_page *sp = tdpmmu_vcpu_root(vcpu);
    int at = (int)sp->role.level;

    rcu_read_lock();
    for (; at > level; at--) {
        uint64_t spte = __atomic_load_n(&sp->spt[gfn >> (9 * (at - 1)) & 511], __ATOMIC_ACQUIRE);

        sp = sptep_to_sp(spte_to_child_pt(spte, at));
        assert_non_null(sp);
    }
    rcu_read_unlock();
    return sp;
}

/* The entry itself, for a test that plays somebody who froze it. */
static inline uint64_t *entry_of(struct kvm_vcpu *vcpu, gfn_t gfn, int level)
{
    return &table_holding(vcpu, gfn, level)->spt[gfn >> (9 * (level - 1)) & 511];
}

/* The sorts of hardware, and what a leaf that the guest wrote to looks like there. */
#define W_BIT UINT64_C(2)
#define PSE_BIT UINT64_C(0x80) /* in leaves above 4K */

struct machine {
    const char *name;
    struct tdpmmu_vm_config config;
    uint64_t leaf; /* all but pfn and PSE_BIT: writable, accessed, dirty */
    uint64_t accessed, dirty, host_writable, mmu_writable;
};

static const struct machine machines[] = {
    { "EPT", { .vendor = TDPMMU_EPT }, 0x8600000000000b77, 0x100, 0x200, 1ull << 57, 1ull << 58 },
    { "EPT without PML", { .vendor = TDPMMU_EPT, .no_pml = 1 }, 0x8600000000000b77, 0x100, 0x200,
      1ull << 57, 1ull << 58 },
    { "EPT without A/D", { .vendor = TDPMMU_EPT, .ad_disabled = 1 }, 0x8610000000000877, 0, 0,
      1ull << 57, 1ull << 58 },
    { "NPT", { .vendor = TDPMMU_NPT }, 0xe67, 0x20, 0x40, 1ull << 9, 1ull << 10 },
};
enum { MACHINES = sizeof(machines) / sizeof(machines[0]) };

/* Every test that runs on each of them names the one it is at, if it fails. */
#define for_each_machine(m) \
    for (const struct machine *m = machines; m < machines + MACHINES && print_machine(m); m++)

static inline bool print_machine(const struct machine *m)
{
    machine_at = m->name;
    return true;
}

static inline void assert_spte_at(struct kvm_vcpu *vcpu, gfn_t gfn, int level, uint64_t expected,
                                  const char *file, int line)
{
    uint64_t found = spte_at(vcpu, gfn, level);

    if (found != expected) {
        print_error("%s gfn 0x%llx level %d: SPTE %llx, expected %llx\n", machine_at,
                    (unsigned long long)gfn, level, (unsigned long long)found,
                    (unsigned long long)expected);
        _fail(file, line);
    }
}
#define assert_spte(vcpu, gfn, level, bits, pfn) \
    assert_spte_at(vcpu, gfn, level, (bits) | (uint64_t)(pfn) << 12, __FILE__, __LINE__)

static inline void sleep_ms(unsigned ms)
{
    struct timespec time = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&time, NULL);
}

/* Sanitizers and valgrind make everything slower: fewer rounds there. */
static inline unsigned rounds(unsigned normal)
{
    const char *mode = getenv("TDPMMU_TEST_MODE");

    return mode && strcmp(mode, "plain") != 0 ? (normal + 9) / 10 : normal;
}

#endif
