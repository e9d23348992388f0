/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the scenarios share: a VM whose host takes pages back, and CPUs that remember translations until they are told
 * to forget them.  All of it is static, so that it is put back before each schedule.
 */
#ifndef GUEST_H
#define GUEST_H

#include <stddef.h>
#include <string.h>

#include <tdpmmu.h>

#define CPUS 4
#define HVA UINT64_C(0x10000000000)
#define SLOT_PAGES UINT64_C(0x400)   /* 4 MiB */
#define FRAME UINT64_C(0x1000000)    /* of gfn 0; each time that the host takes pages back they move on */
#define MOVE UINT64_C(0x200000)
#define GFN UINT64_C(0x200)          /* begins a 2 MiB page */

struct translation {
    bool is_there, may_write;
    gfn_t gfn;
    uint64_t npages;
    kvm_pfn_t pfn;
};

struct guest {
    struct kvm *kvm;
    struct kvm_vcpu *vcpu[CPUS];
    const struct kvm_memory_slot *slot;
    struct translation cached[CPUS];
    uint64_t flushes;
    uint64_t moves;      /* times that the host took GFN's 2 MiB back */
    uint64_t freed_until; /* frames of moves before this one are others' by now */
    int level;           /* at which the host maps */
    bool is_writable;
    uint64_t seen[CPUS]; /* what their faults and accesses came to, for --ends */
    int64_t leaves[4];
};

static struct guest guest;
static struct tdpmmu_ops guest_ops; /* what a scenario has in it before make_guest() stays */

static inline uint64_t mixed(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * UINT64_C(0xff51afd7ed558ccd) + (sum >> 29);
}

static inline kvm_pfn_t frame_of(gfn_t gfn)
{
    return FRAME + guest.moves * MOVE + gfn;
}

static inline bool is_freed(kvm_pfn_t pfn)
{
    return pfn >= FRAME && (pfn - FRAME) / MOVE < guest.freed_until;
}

static inline kvm_pfn_t guest_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                                  bool *writable, int *max_level)
{
    (void)ctx, (void)kvm, (void)slot, (void)write;
    tdpmmu_schedule_point(&guest.moves, false);
    *writable = *writable && guest.is_writable;
    *max_level = guest.level;
    return frame_of(gfn);
}

static inline int guest_mapping_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx, (void)kvm, (void)slot, (void)gfn;
    return guest.level;
}

static inline void guest_flush(void *ctx, struct kvm *kvm, gfn_t start, uint64_t npages)
{
    (void)ctx, (void)kvm;
    tdpmmu_schedule_point(&guest.flushes, true);
    guest.flushes++;
    for (int i = 0; i < CPUS; i++) {
        struct translation *t = &guest.cached[i];

        if (npages == UINT64_MAX || (t->gfn < start + npages && start < t->gfn + t->npages))
            t->is_there = false;
    }
}

static inline void guest_request(void *ctx, struct kvm *kvm, struct kvm_vcpu *vcpu, enum tdpmmu_request request)
{
    (void)ctx, (void)kvm, (void)vcpu;
    if (request != TDPMMU_REQ_LEAVE_GUEST)
        guest_flush(ctx, kvm, 0, UINT64_MAX);
}

static inline void guest_changed(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level, uint64_t old_spte,
                                 uint64_t new_spte, bool shared)
{
    bool was = is_shadow_present_pte(old_spte) && is_last_spte(old_spte, level);
    bool is = is_shadow_present_pte(new_spte) && is_last_spte(new_spte, level);

    (void)ctx, (void)kvm, (void)as_id, (void)gfn, (void)shared;
    if (was && is)
        tdpmmu_explore_assert(spte_to_pfn(old_spte) == spte_to_pfn(new_spte));
    if (level <= 3)
        guest.leaves[level] += (int)is - (int)was;
    if (was && !is && is_shadow_present_pte(new_spte) && level <= 3)
        guest.leaves[level - 1] += 512; /* a split */
}

static inline const struct kvm_memory_slot *the_slot(void)
{
    const struct kvm_memory_slot *slot;

    rcu_read_lock();
    slot = tdpmmu_id_to_memslot(guest.kvm, 0, 0);
    rcu_read_unlock();
    return slot;
}

static inline void make_guest_with(struct tdpmmu_vm_config config, int cpus, uint32_t slot_flags)
{
    struct kvm_userspace_memory_region region = {.flags = slot_flags, .memory_size = SLOT_PAGES << 12, .userspace_addr = HVA};

    guest_ops = (struct tdpmmu_ops){.size = sizeof(guest_ops), .gfn_to_pfn = guest_pfn, .flush_tlb = guest_flush,
                                    .spte_changed = guest_ops.spte_changed ? guest_ops.spte_changed : guest_changed,
                                    .mapping_level = guest_mapping_level, .vcpu_request = guest_request,
                                    .trace = guest_ops.trace};
    config.size = sizeof(config);
    config.ops = &guest_ops;
    guest.level = guest.level ? guest.level : 1;
    guest.is_writable = true;
    guest.kvm = tdpmmu_create_vm(&config);
    tdpmmu_explore_assert(guest.kvm != NULL);
    for (int i = 0; i < cpus; i++) {
        guest.vcpu[i] = tdpmmu_create_vcpu(guest.kvm, i);
        tdpmmu_explore_assert(guest.vcpu[i] != NULL);
    }
    tdpmmu_explore_assert(kvm_set_memory_region(guest.kvm, &region) == 0);
    for (int i = 0; i < cpus; i++)
        tdpmmu_explore_assert(kvm_mmu_load(guest.vcpu[i]) == 0);
    tdpmmu_explore_name(&guest.kvm->mmu_lock, sizeof(guest.kvm->mmu_lock), "mmu_lock");
    guest.slot = the_slot();
    tdpmmu_explore_name(&guest, sizeof(guest), "guest");
}

static inline void make_guest(enum tdpmmu_vendor vendor, int cpus)
{
    make_guest_with((struct tdpmmu_vm_config){.vendor = vendor}, cpus, 0);
}

/* What each thread of a rig has behind it by then: its first use of RCU, and of the locks. */
static inline void warm_up(int thread)
{
    (void)thread;
    rcu_read_lock();
    rcu_read_unlock();
    read_lock(&guest.kvm->mmu_lock);
    read_unlock(&guest.kvm->mmu_lock);
    srcu_read_unlock(&guest.kvm->srcu, srcu_read_lock(&guest.kvm->srcu));
}

static inline int fault(int cpu, gfn_t gfn, uint64_t access)
{
    return kvm_tdp_mmu_page_fault(guest.vcpu[cpu], gfn << 12, access);
}

/* One fault, as often as it takes; then one try of the access. */
static inline void fault_in(int cpu, gfn_t gfn, uint64_t access)
{
    for (int tries = 0; tries < 20; tries++) {
        int ret = kvm_mmu_load(guest.vcpu[cpu]);

        tdpmmu_explore_assert(ret == 0);
        ret = fault(cpu, gfn, access);
        guest.seen[cpu] = mixed(guest.seen[cpu], (uint64_t)ret);
        if (ret != RET_PF_RETRY) {
            tdpmmu_explore_assert(ret == RET_PF_FIXED || ret == RET_PF_SPURIOUS);
            return;
        }
        tdpmmu_schedule_point(&guest.moves, false);
    }
}

static inline uint64_t leaf_of(int cpu, gfn_t gfn, int *level)
{
    uint64_t sptes[6] = {0};
    int root_level;

    rcu_read_lock();
    *level = kvm_tdp_mmu_get_walk(guest.vcpu[cpu], gfn << 12, sptes, &root_level);
    rcu_read_unlock();
    if (*level < 1 || !is_shadow_present_pte(sptes[*level]) || !is_last_spte(sptes[*level], *level))
        return 0;
    return sptes[*level];
}

/* The table that holds the page's leaf. */
static inline struct kvm_mmu_page *table_of(int cpu, gfn_t gfn)
{
    uint64_t sptes[6] = {0};
    int root_level;

    rcu_read_lock();
    kvm_tdp_mmu_get_walk(guest.vcpu[cpu], gfn << 12, sptes, &root_level);
    rcu_read_unlock();
    return to_shadow_page(spte_to_pfn(sptes[2]) << 12);
}

/* The guest uses a page once, if its CPU can: what it remembers, or what the tables say, which it remembers then. */
static inline bool try_to_use(int cpu, gfn_t gfn, bool write)
{
    struct translation *t = &guest.cached[cpu];
    uint64_t flushes, spte;
    int level;

    tdpmmu_schedule_point(&guest.flushes, false);
    if (!(t->is_there && gfn - t->gfn < t->npages && (!write || t->may_write))) {
        flushes = guest.flushes;
        if (tdpmmu_cpu_access(guest.vcpu[cpu], gfn << 12, write ? PFERR_WRITE_MASK : 0, NULL) <= 0)
            return false;
        spte = leaf_of(cpu, gfn, &level);
        if (!spte)
            return false;
        tdpmmu_schedule_point(&guest.flushes, false);
        if (flushes != guest.flushes)
            return false; /* a walk that a flush comes into begins again */
        *t = (struct translation){.is_there = true, .may_write = write, .gfn = gfn & ~(KVM_PAGES_PER_HPAGE(level) - 1),
                                  .npages = KVM_PAGES_PER_HPAGE(level)};
        t->pfn = spte_to_pfn(spte);
    }
    tdpmmu_explore_assert(!is_freed(t->pfn + (gfn - t->gfn)));
    return true;
}

static inline bool use(int cpu, gfn_t gfn, bool write)
{
    bool used = try_to_use(cpu, gfn, write);

    guest.seen[cpu] = mixed(guest.seen[cpu], used);
    return used;
}

/* The host takes back the pages from GFN on, and has others in their place. */
static inline void take_back(uint64_t npages)
{
    uint64_t start = HVA + (GFN << 12), end = start + (npages << 12);

    kvm_mmu_notifier_invalidate_range_start(guest.kvm, start, end, true);
    tdpmmu_schedule_point(&guest.moves, true);
    guest.moves++;
    guest.freed_until = guest.moves; /* from here on the old frames are somebody else's */
    kvm_mmu_notifier_invalidate_range_end(guest.kvm, start, end);
}

/* Books: what the tables have is what the counters and the callbacks say, and no page is one that the host took back. */
static inline bool guest_is_sound(void)
{
    struct tdpmmu_stats stats;
    int64_t found[6] = {0};

    struct kvm_mmu_page *root = NULL;
    struct tdp_iter iter;

    for (int cpu = 0; cpu < CPUS && !root; cpu++)
        root = guest.vcpu[cpu] ? tdpmmu_vcpu_root(guest.vcpu[cpu]) : NULL;
    rcu_read_lock();
    if (root)
        for_each_tdp_pte(iter, root->spt, (int)root->role.level, GFN, GFN + 512) {
            if (!is_shadow_present_pte(iter.old_spte) || !is_last_spte(iter.old_spte, iter.level))
                continue;
            found[iter.level]++;
            if (iter.gfn == GFN && !root->role.invalid)
                tdpmmu_explore_assert(!is_freed(spte_to_pfn(iter.old_spte)));
        }
    rcu_read_unlock();
    rcu_barrier();
    tdpmmu_get_stats(guest.kvm, &stats, sizeof(stats));
    tdpmmu_explore_assert(stats.tables_stray == 0);
    tdpmmu_explore_assert((int64_t)stats.pages_4k == guest.leaves[1] && (int64_t)stats.pages_2m == guest.leaves[2]);
    tdpmmu_explore_assert(!root || root->role.invalid || (found[1] == guest.leaves[1] && found[2] == guest.leaves[2]));
    return true;
}

/* For --ends: the page, what CPUs remember of it and what came of their faults, the counts. */
static inline uint64_t guest_end(void)
{
    struct tdpmmu_stats stats;
    int level;
    uint64_t leaf = leaf_of(0, GFN, &level), sum = mixed(guest.moves, guest.flushes);

    tdpmmu_get_stats(guest.kvm, &stats, sizeof(stats));
    sum = mixed(mixed(sum, leaf), (uint64_t)level);
    sum = mixed(mixed(sum, stats.pages_4k), stats.pages_2m);
    for (int i = 0; i < CPUS; i++) {
        const struct translation *t = &guest.cached[i];

        sum = mixed(mixed(sum, guest.seen[i]), t->is_there ? t->pfn << 1 | t->may_write : 0);
    }
    return sum;
}

static inline void free_guest(void)
{
    struct tdpmmu_stats stats;

    kvm_mmu_uninit_tdp_mmu(guest.kvm);
    tdpmmu_get_stats(guest.kvm, &stats, sizeof(stats));
    tdpmmu_explore_assert(stats.tables == 0 && stats.roots == 0 && stats.pages_4k == 0 && stats.pages_2m == 0);
    tdpmmu_destroy_vm(guest.kvm);
}

#endif
