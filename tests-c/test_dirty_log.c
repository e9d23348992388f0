/* SPDX-License-Identifier: GPL-2.0-only */
/* Dirty logging: the operations on SPTEs one by one, then the bitmaps above them. */
#include "test_helpers.h"

#define LOG UINT32_C(1) /* KVM_MEM_LOG_DIRTY_PAGES */
#define SIDE_PAGES 2148u /* four 2M pages and a ragged end: 34 words, the last with 36 bits */
#define SIDE_WORDS ((SIDE_PAGES + 63) / 64)

static bool wrprot_slot(struct world *w, int id, int min_level)
{
    bool flush;

    read_lock(&w->kvm->mmu_lock);
    flush = kvm_tdp_mmu_wrprot_slot(w->kvm, slot_by_id(w, 0, id), min_level);
    read_unlock(&w->kvm->mmu_lock);
    return flush;
}

static bool clear_dirty_slot(struct world *w, int id)
{
    bool flush;

    read_lock(&w->kvm->mmu_lock);
    flush = kvm_tdp_mmu_clear_dirty_slot(w->kvm, slot_by_id(w, 0, id));
    read_unlock(&w->kvm->mmu_lock);
    return flush;
}

static bool set_dirty_slot(struct world *w, int id)
{
    bool changed;

    write_lock(&w->kvm->mmu_lock);
    changed = kvm_tdp_mmu_slot_set_dirty(w->kvm, slot_by_id(w, 0, id));
    write_unlock(&w->kvm->mmu_lock);
    return changed;
}

static void clear_masked(struct world *w, int id, gfn_t gfn, unsigned long mask, bool wrprot)
{
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_clear_dirty_pt_masked(w->kvm, slot_by_id(w, 0, id), gfn, mask, wrprot);
    write_unlock(&w->kvm->mmu_lock);
}

static bool write_protect_gfn(struct world *w, gfn_t gfn, int min_level)
{
    bool flush;

    write_lock(&w->kvm->mmu_lock);
    flush = kvm_tdp_mmu_write_protect_gfn(w->kvm, slot_by_id(w, 0, 0), gfn, min_level);
    write_unlock(&w->kvm->mmu_lock);
    return flush;
}

/*
 * Mapped in slot 0: 4K at 0..7, 2M at 512, 1G at 1 GiB, 4K host read-only at
 * 1000.  In the side slot 4K at its first and last page; and gfn 3 in SMM.
 */
static struct world *mapped_world(const struct machine *m, struct kvm_vcpu **smm)
{
    struct world *w = world_from(m->config);

    assert_int_equal(add_slot(w->kvm, SIDE_SLOT, 0, SIDE_BASE, SIDE_PAGES, SIDE_HVA), 0);
    assert_int_equal(add_slot(w->kvm, 1u << 16, 0, 0, 512, WORLD_HVA), 0);
    *smm = tdpmmu_create_vcpu(w->kvm, 1);
    assert_int_equal(tdpmmu_vcpu_set_as_id(*smm, 1), 0);
    assert_int_equal(kvm_mmu_load(*smm), 0);
    map_pages(w, 0, 8, 1);
    map_pages(w, 512, 512, 2);
    map_pages(w, GIB_PAGES, GIB_PAGES, 3);
    assert_int_equal(fault_on(w, w->vcpu, 1030, 0, false, 1, pfn_for(1030), false), RET_PF_FIXED);
    map_pages(w, SIDE_BASE, 1, 1);
    map_pages(w, SIDE_BASE + SIDE_PAGES - 1, 1, 1);
    assert_int_equal(fault_on(w, *smm, 3, PFERR_WRITE_MASK, true, 1, pfn_for(3), false), RET_PF_FIXED);
    world_forget(w);
    return w;
}

static uint64_t host_read_only(const struct machine *m)
{
    return m->leaf & ~(W_BIT | m->dirty | m->host_writable | m->mmu_writable);
}

static void assert_others_untouched(struct world *w, const struct machine *m, struct kvm_vcpu *smm)
{
    assert_spte(w->vcpu, 1030, 1, host_read_only(m), pfn_for(1030));
    assert_spte(w->vcpu, SIDE_BASE, 1, m->leaf, pfn_for(SIDE_BASE));
    assert_spte(w->vcpu, SIDE_BASE + SIDE_PAGES - 1, 1, m->leaf, pfn_for(SIDE_BASE + SIDE_PAGES - 1));
    assert_spte(smm, 3, 1, m->leaf, pfn_for(3));
}

/* W goes, MMU_WRITABLE stays: a fast page fault may give W back. */
static void wrprot_slot_values(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct kvm_vcpu *smm;
        struct world *w = mapped_world(m, &smm);

        assert_true(wrprot_slot(w, 0, 3));
        assert_spte(w->vcpu, GIB_PAGES, 3, (m->leaf | PSE_BIT) & ~W_BIT, pfn_for(GIB_PAGES));
        assert_spte(w->vcpu, 512, 2, m->leaf | PSE_BIT, pfn_for(512));
        assert_int_equal(w->change_count, 1);
        assert_true(w->change[0].shared);
        assert_int_equal(w->change[0].level, 3);
        assert_int_equal(w->change[0].old_spte ^ w->change[0].new_spte, W_BIT);
        assert_true(wrprot_slot(w, 0, 2));
        assert_spte(w->vcpu, 512, 2, (m->leaf | PSE_BIT) & ~W_BIT, pfn_for(512));
        assert_spte(w->vcpu, 0, 1, m->leaf, pfn_for(0));
        assert_true(wrprot_slot(w, 0, 1));
        for (gfn_t gfn = 0; gfn < 8; gfn++)
            assert_spte(w->vcpu, gfn, 1, m->leaf & ~W_BIT, pfn_for(gfn));
        assert_false(wrprot_slot(w, 0, 1)); /* nothing left to do, nothing to flush */
        assert_int_equal(w->change_count, 10);
        assert_int_equal(w->flush_count, 0); /* the caller's */
        assert_others_untouched(w, m, smm);
        assert_true(wrprot_slot(w, 1, 1)); /* the ragged last page too */
        assert_spte(w->vcpu, SIDE_BASE + SIDE_PAGES - 1, 1, m->leaf & ~W_BIT,
                    pfn_for(SIDE_BASE + SIDE_PAGES - 1));
        world_free(w);
    }
}

/* Dirty goes; where hardware has none, W. */
static void clear_dirty_slot_values(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct kvm_vcpu *smm;
        struct world *w = mapped_world(m, &smm);
        uint64_t bit = m->dirty ? m->dirty : W_BIT;

        assert_true(clear_dirty_slot(w, 0));
        assert_spte(w->vcpu, GIB_PAGES, 3, (m->leaf | PSE_BIT) & ~bit, pfn_for(GIB_PAGES));
        assert_spte(w->vcpu, 512, 2, (m->leaf | PSE_BIT) & ~bit, pfn_for(512));
        for (gfn_t gfn = 0; gfn < 8; gfn++)
            assert_spte(w->vcpu, gfn, 1, m->leaf & ~bit, pfn_for(gfn));
        assert_int_equal(w->change_count, 10);
        assert_int_equal(w->flush_count, 0);
        assert_false(clear_dirty_slot(w, 0));
        assert_others_untouched(w, m, smm);
        if (m->dirty) { /* a write brings it back, on that page alone */
            assert_int_equal(tdpmmu_cpu_access(w->vcpu, 5 << 12, PFERR_WRITE_MASK, NULL), 1);
            assert_spte(w->vcpu, 5, 1, m->leaf, pfn_for(5));
            assert_spte(w->vcpu, 4, 1, m->leaf & ~m->dirty, pfn_for(4));
        }
        world_free(w);
    }
}

static void set_dirty_values(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct kvm_vcpu *smm;
        struct world *w = mapped_world(m, &smm);

        assert_false(set_dirty_slot(w, 1)); /* is dirty */
        if (m->dirty) {
            assert_true(clear_dirty_slot(w, 0));
            world_forget(w);
            assert_true(set_dirty_slot(w, 0));
            assert_int_equal(w->change_count, 11); /* the read-only page, too */
            assert_false(w->change[0].shared);
            assert_spte(w->vcpu, GIB_PAGES, 3, m->leaf | PSE_BIT, pfn_for(GIB_PAGES));
            assert_spte(w->vcpu, 512, 2, m->leaf | PSE_BIT, pfn_for(512));
            assert_spte(w->vcpu, 7, 1, m->leaf, pfn_for(7));
            assert_spte(w->vcpu, 1030, 1, host_read_only(m) | m->dirty, pfn_for(1030));
        } else {
            assert_false(set_dirty_slot(w, 0)); /* there is no such bit */
        }
        assert_int_equal(w->flush_count, 0);
        world_free(w);
    }
}

/* Exactly the pages of the mask, and 4K leaves only. */
static void clear_dirty_masked_values(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct kvm_vcpu *smm;
        struct world *w = mapped_world(m, &smm);

        for (int wrprot = 0; wrprot < 2; wrprot++) {
            uint64_t bit = wrprot || !m->dirty ? W_BIT : m->dirty;
            uint64_t before = wrprot && m->dirty ? m->leaf & ~m->dirty : m->leaf;

            world_forget(w);
            clear_masked(w, 0, 0, 0xb2, wrprot); /* 1, 4, 5, 7 */
            for (gfn_t gfn = 0; gfn < 8; gfn++)
                assert_spte(w->vcpu, gfn, 1, 0xb2 >> gfn & 1 ? before & ~bit : m->leaf, pfn_for(gfn));
            assert_int_equal(w->change_count, wrprot && !m->dirty ? 0 : 4);
            for (unsigned i = 0; i < w->change_count; i++)
                assert_int_equal(w->change[i].old_spte ^ w->change[i].new_spte, bit);
        }
        clear_masked(w, 0, 512, ~0ul, true);
        assert_spte(w->vcpu, 512, 2, m->leaf | PSE_BIT, pfn_for(512));
        clear_masked(w, 0, GIB_PAGES, ~0ul, true);
        assert_spte(w->vcpu, GIB_PAGES, 3, m->leaf | PSE_BIT, pfn_for(GIB_PAGES));
        assert_int_equal(w->flush_count, 0);
        assert_others_untouched(w, m, smm);
        /* From the last page but three on: bits beyond the slot mean nothing. */
        clear_masked(w, 1, SIDE_BASE + SIDE_PAGES - 4, ~0ul, true);
        assert_spte(w->vcpu, SIDE_BASE + SIDE_PAGES - 1, 1, m->leaf & ~W_BIT,
                    pfn_for(SIDE_BASE + SIDE_PAGES - 1));
        assert_spte(w->vcpu, SIDE_BASE, 1, m->leaf, pfn_for(SIDE_BASE));
        world_free(w);
    }
}

/*
 * W and MMU_WRITABLE go, so that no fast page fault gives W back.
 * The kernel had "write-protection that leaves MMU_WRITABLE set".  To put it in: in
 * writeProtect(_ gfn:) of MMU/WriteProtect.swift make bits SPTE.writable alone.
 */
static void write_protect_gfn_values(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct kvm_vcpu *smm;
        struct world *w = mapped_world(m, &smm);
        uint64_t bits = W_BIT | m->mmu_writable;

        assert_false(write_protect_gfn(w, 3, 2)); /* a 4K leaf, and 2M is the least */
        assert_false(write_protect_gfn(w, 9, 1)); /* not mapped */
        assert_int_equal(w->change_count, 0);
        assert_true(write_protect_gfn(w, 3, 1));
        assert_spte(w->vcpu, 3, 1, m->leaf & ~bits, pfn_for(3));
        assert_spte(w->vcpu, 2, 1, m->leaf, pfn_for(2));
        assert_spte(w->vcpu, 4, 1, m->leaf, pfn_for(4));
        assert_int_equal(tdpmmu_fast_page_fault(w->vcpu, 3 << 12, PFERR_PRESENT_MASK | PFERR_WRITE_MASK),
                         RET_PF_INVALID);
        assert_spte(w->vcpu, 3, 1, m->leaf & ~bits, pfn_for(3));
        assert_true(write_protect_gfn(w, 700, 2)); /* through the 2M page that maps it */
        assert_spte(w->vcpu, 512, 2, (m->leaf | PSE_BIT) & ~bits, pfn_for(512));
        assert_true(write_protect_gfn(w, GIB_PAGES + 12345, 1));
        assert_spte(w->vcpu, GIB_PAGES, 3, (m->leaf | PSE_BIT) & ~bits, pfn_for(GIB_PAGES));
        assert_int_equal(w->change_count, 3);
        assert_int_equal(w->flush_count, 0);
        assert_false(write_protect_gfn(w, 3, 1));
        assert_others_untouched(w, m, smm);
        world_free(w);
    }
}

/* Invalid roots are skipped: nobody writes through them any more. */
static void invalid_roots_are_skipped(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);

    (void)state;
    map_pages(w, 0, 8, 1);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    assert_true(root->role.invalid);
    world_forget(w);
    assert_false(write_protect_gfn(w, 3, 1));
    assert_false(wrprot_slot(w, 0, 1));
    assert_false(clear_dirty_slot(w, 0));
    clear_masked(w, 0, 0, 0xff, true);
    assert_int_equal(w->change_count, 0);
    world_free(w);
}

/*
 * Entries that are no leaves: MMIO, left from before the slot, and frozen, as a
 * thread that is about to replace them leaves them for a moment.  Both hold bits
 * that would be W or Dirty in a leaf.
 * The kernel had "dirty clearing that touches frozen or MMIO entries".  To put it in:
 * drop `iter.isAtLeaf` from the guards of changeLeaves() and changeBits() in MMU/LeafUpdate.swift.
 */
static void frozen_and_mmio_untouched(void **state)
{
    const gfn_t gfn = 20 * GIB_PAGES;

    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        uint64_t mmio, *frozen;

        /* A generation that looks like W, A and D: bits 3 to 10 of the SPTE. */
        for (int i = 0; i < 130; i++) {
            assert_int_equal(add_slot(w->kvm, 9, 0, SIDE_BASE, 1, SIDE_HVA), 0);
            assert_int_equal(delete_slot(w->kvm, 9), 0);
        }
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, PFERR_WRITE_MASK), RET_PF_EMULATE);
        mmio = spte_at(w->vcpu, gfn, 1);
        assert_true(is_mmio_spte(w->kvm, mmio));
        assert_true(mmio & W_BIT);
        assert_int_equal(add_slot(w->kvm, 9, 0, gfn, 64, WORLD_HVA + (gfn << 12)), 0);
        assert_int_equal(map_page(w, gfn + 1, 1), RET_PF_FIXED);
        world_forges(w);
        frozen = entry_of(w->vcpu, gfn + 2, 1);
        __atomic_store_n(frozen, FROZEN_SPTE, __ATOMIC_RELEASE);
        world_forget(w);

        assert_true(clear_dirty_slot(w, 9)); /* on account of gfn + 1 */
        wrprot_slot(w, 9, 1);
        set_dirty_slot(w, 9);
        clear_masked(w, 9, gfn, ~0ul, false);
        clear_masked(w, 9, gfn, ~0ul, true);
        write_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_write_protect_gfn(w->kvm, slot_by_id(w, 0, 9), gfn, 1);
        kvm_tdp_mmu_write_protect_gfn(w->kvm, slot_by_id(w, 0, 9), gfn + 2, 1);
        write_unlock(&w->kvm->mmu_lock);
        assert_int_equal(spte_at(w->vcpu, gfn, 1), mmio);
        assert_int_equal(__atomic_load_n(frozen, __ATOMIC_ACQUIRE), FROZEN_SPTE);
        for (unsigned i = 0; i < w->change_count; i++)
            assert_int_equal(w->change[i].gfn, gfn + 1);
        __atomic_store_n(frozen, SHADOW_NONPRESENT_VALUE, __ATOMIC_RELEASE);
        world_free(w);
    }
}

/* ---- races with the CPU, put where they hurt --------------------------------- */

/* need_resched is asked when the walk has read an entry and before it acts. */
static unsigned asks_to_go;
static bool guest_wrote;

static void guest_writes_gfn_5(struct world *w)
{
    if (asks_to_go && --asks_to_go == 0)
        guest_wrote = tdpmmu_cpu_access(w->vcpu, 5 << 12, PFERR_WRITE_MASK, NULL) == 1;
}

/*
 * The CPU sets Dirty between the walk's read of the entry and its write: at one of
 * these times, since the guest writes at each of them in turn.
 * The kernel had "a plain write that loses a hardware-set Dirty bit".  To put it in:
 * in changeBits() of PageTable/SPTESlot.swift store instead of replacing the value seen.
 */
static void dirty_set_during_wrprot_survives(void **state)
{
    (void)state;
    for_each_machine(m) for (unsigned when = 1; when <= 10; when++) {
        struct world *w;

        if (!m->dirty)
            continue;
        w = world_from(m->config);
        map_pages(w, 5, 1, 1);
        assert_true(clear_dirty_slot(w, 0));
        assert_spte(w->vcpu, 5, 1, m->leaf & ~m->dirty, pfn_for(5));
        asks_to_go = when;
        guest_wrote = false;
        w->on_resched = guest_writes_gfn_5;
        assert_true(wrprot_slot(w, 0, 1));
        w->on_resched = NULL;
        assert_int_equal(asks_to_go, 0);
        assert_int_equal(guest_wrote, when <= 5); /* later it is protected */
        assert_spte(w->vcpu, 5, 1, m->leaf & ~(W_BIT | (guest_wrote ? 0 : m->dirty)), pfn_for(5));
        world_free(w);
    }
}

/*
 * The same under the write lock: who zaps the leaf must tell the change with the
 * Dirty bit that the CPU set after the walk's read.  To put it in: in
 * writeAlone() of PageTable/SPTESlot.swift store always.
 */
static void dirty_set_during_zap_is_told(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w;

        if (!m->dirty)
            continue;
        w = world_from(m->config);
        map_pages(w, 5, 1, 1);
        assert_true(clear_dirty_slot(w, 0));
        world_forget(w);
        asks_to_go = 1;
        w->on_resched = guest_writes_gfn_5;
        write_lock(&w->kvm->mmu_lock);
        /* From one before: the walk never yields before it has moved. */
        assert_true(kvm_tdp_mmu_zap_leafs(w->kvm, 4, 6, false));
        w->on_resched = NULL;
        write_unlock(&w->kvm->mmu_lock);
        assert_int_equal(w->change_count, 1);
        assert_int_equal(w->change[0].old_spte, m->leaf | pfn_for(5) << 12);
        world_free(w);
    }
}

/* ---- bitmaps -------------------------------------------------------------------- */

/* A vCPU's world with a side slot that is logged or about to be. */
struct log {
    struct world *w;
    const struct machine *m;
    uint64_t bitmap[SIDE_WORDS + 1]; /* the last word is a guard */
};

static int set_side_flags(struct world *w, uint32_t flags)
{
    return add_slot(w->kvm, SIDE_SLOT, flags, SIDE_BASE, SIDE_PAGES, SIDE_HVA);
}

static int get_log(struct log *log)
{
    struct kvm_dirty_log request = { .slot = SIDE_SLOT, .dirty_bitmap = log->bitmap };
    int ret;

    memset(log->bitmap, 0xa5, sizeof(log->bitmap));
    ret = kvm_vm_ioctl_get_dirty_log(log->w->kvm, &request);
    assert_int_equal(log->bitmap[SIDE_WORDS], 0xa5a5a5a5a5a5a5a5);
    return ret;
}

/* Clears what log->bitmap names, in pages first to first + pages - 1. */
static int clear_log(struct log *log, uint64_t first, uint32_t pages)
{
    struct kvm_clear_dirty_log request = { .slot = SIDE_SLOT, .first_page = first, .num_pages = pages,
                                           .dirty_bitmap = log->bitmap + first / 64 };

    return kvm_vm_ioctl_clear_dirty_log(log->w->kvm, &request);
}

static unsigned bits_set(const struct log *log)
{
    unsigned count = 0;

    for (unsigned i = 0; i < SIDE_WORDS; i++)
        count += (unsigned)__builtin_popcountll(log->bitmap[i]);
    return count;
}

static bool bit(const struct log *log, uint64_t page)
{
    return log->bitmap[page / 64] >> (page % 64) & 1;
}

static struct log log_new(const struct machine *m, uint32_t mode, bool no_eager_split)
{
    struct log log = { .m = m };
    struct tdpmmu_vm_config config = m->config;

    config.dirty_log = mode;
    config.no_eager_split = no_eager_split;
    log.w = world_from(config);
    assert_int_equal(set_side_flags(log.w, 0), 0);
    return log;
}

/* Pages that the guest writes to, all over the slot, in the order of a step. */
static const uint64_t some_pages[] = { 0, 1, 63, 64, 511, 512, 1023, 1500, 2047, 2048, SIDE_PAGES - 1 };
enum { SOME = sizeof(some_pages) / sizeof(some_pages[0]) };

static void write_some(struct log *log, unsigned first, unsigned step)
{
    for (unsigned i = first; i < SOME; i += step)
        guest_write(log->w->vcpu, SIDE_BASE + some_pages[i]);
}

static void assert_some(struct log *log, unsigned first, unsigned step)
{
    unsigned expected = 0;

    for (unsigned i = first; i < SOME; i += step, expected++)
        if (!bit(log, some_pages[i]))
            fail_msg("%s: page %u was written and is not in the bitmap", machine_at,
                     (unsigned)some_pages[i]);
    assert_int_equal(bits_set(log), expected);
}

/* Both ways, on every machine: huge pages split at once, or by the faults. */
static void plain_mode(void **state)
{
    (void)state;
    for_each_machine(m) for (int lazy = 0; lazy < 2; lazy++) {
        struct log log = log_new(m, 0, lazy);
        struct world *w = log.w;

        /* Written before logging began: of no interest. */
        for (uint64_t page = 0; page < SIDE_PAGES; page += 100)
            guest_write(w->vcpu, SIDE_BASE + page);
        assert_int_equal(count_leaves(w->vcpu, SIDE_BASE, SIDE_BASE + SIDE_PAGES, 2), 4);
        assert_int_equal(stats_of(w->kvm).splits, 0);
        world_forget(w);
        assert_int_equal(set_side_flags(w, LOG), 0);
        assert_int_equal(w->flush_count, 1);
        assert_int_equal(w->flush[0].start, SIDE_BASE);
        assert_int_equal(w->flush[0].npages, SIDE_PAGES);
        assert_int_equal(count_leaves(w->vcpu, SIDE_BASE, SIDE_BASE + SIDE_PAGES, 2), lazy ? 4 : 0);
        assert_int_equal(stats_of(w->kvm).splits, lazy ? 0 : 4);
        if (lazy) /* huge pages are write-protected whatever the machine logs by */
            assert_false(is_writable_pte(spte_at(w->vcpu, SIDE_BASE, 2)));
        world_forget(w);
        assert_int_equal(get_log(&log), 0);
        assert_int_equal(bits_set(&log), 0);
        assert_int_equal(w->flush_count, 0); /* nothing dirty, nothing to flush */

        write_some(&log, 0, 1);
        world_forget(w);
        assert_int_equal(get_log(&log), 0);
        assert_some(&log, 0, 1);
        assert_int_equal(w->flush_count, 1);
        assert_int_equal(w->flush[0].start, SIDE_BASE);
        assert_int_equal(w->flush[0].npages, SIDE_PAGES);
        assert_int_equal(get_log(&log), 0); /* it was cleared */
        assert_int_equal(bits_set(&log), 0);

        /* Every later write appears again, others do not. */
        write_some(&log, 1, 2);
        assert_int_equal(get_log(&log), 0);
        assert_some(&log, 1, 2);
        write_some(&log, 0, 3);
        write_some(&log, 0, 3); /* twice: once in the bitmap */
        assert_int_equal(get_log(&log), 0);
        assert_some(&log, 0, 3);
        /* Reads leave no mark. */
        for (unsigned i = 0; i < SOME; i++)
            guest_access(w->vcpu, SIDE_BASE + some_pages[i], 0);
        assert_int_equal(get_log(&log), 0);
        assert_int_equal(bits_set(&log), 0);
        /* All were mapped at 4K, where a write can be told from another. */
        for (unsigned i = 0; i < SOME; i++)
            assert_int_equal(guest_write(w->vcpu, SIDE_BASE + some_pages[i]), 1);
        world_free(w);
    }
}

/* Exact SPTEs of a page through the cycle. */
static void sptes_of_a_logged_page(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct log log = log_new(m, 0, false);
        struct world *w = log.w;
        bool by_dirty_bits = m->dirty && m->config.vendor == TDPMMU_EPT && !m->config.no_pml;
        uint64_t cleared = m->leaf & ~(by_dirty_bits ? m->dirty : W_BIT);

        guest_write(w->vcpu, SIDE_BASE + 5);
        assert_spte(w->vcpu, SIDE_BASE, 2, m->leaf | PSE_BIT, host_pfn(SIDE_BASE));
        assert_int_equal(set_side_flags(w, LOG), 0);
        assert_spte(w->vcpu, SIDE_BASE + 5, 1, cleared, host_pfn(SIDE_BASE + 5));
        assert_spte(w->vcpu, SIDE_BASE + 6, 1, cleared, host_pfn(SIDE_BASE + 6));
        guest_write(w->vcpu, SIDE_BASE + 5);
        assert_spte(w->vcpu, SIDE_BASE + 5, 1, m->leaf, host_pfn(SIDE_BASE + 5));
        assert_spte(w->vcpu, SIDE_BASE + 6, 1, cleared, host_pfn(SIDE_BASE + 6));
        assert_int_equal(stats_of(w->kvm).fast_faults, by_dirty_bits ? 0 : 1);
        world_forget(w);
        assert_int_equal(get_log(&log), 0);
        assert_int_equal(bits_set(&log), 1);
        assert_spte(w->vcpu, SIDE_BASE + 5, 1, cleared, host_pfn(SIDE_BASE + 5));
        assert_int_equal(w->change_count, 1); /* this page, no other */
        assert_false(w->change[0].shared);
        assert_int_equal(w->change[0].gfn, SIDE_BASE + 5);
        world_free(w);
    }
}

/* The bitmap names the page as soon as the fault has made it writable. */
static void first_touch_is_logged(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct log log = log_new(m, 0, false);

        assert_int_equal(set_side_flags(log.w, LOG), 0);
        assert_int_equal(kvm_tdp_mmu_page_fault(log.w->vcpu, (SIDE_BASE + 77) << 12, PFERR_WRITE_MASK),
                         RET_PF_FIXED);
        assert_spte(log.w->vcpu, SIDE_BASE + 77, 1, m->leaf, host_pfn(SIDE_BASE + 77));
        assert_int_equal(get_log(&log), 0);
        assert_int_equal(bits_set(&log), 1);
        assert_true(bit(&log, 77));
        world_free(log.w);
    }
}

/* Manual protection: get only looks; clear clears what it names, and only that. */
static void manual_mode(void **state)
{
    (void)state;
    for_each_machine(m) for (int lazy = 0; lazy < 2; lazy++) {
        struct log log = log_new(m, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, lazy);
        struct world *w = log.w;

        guest_write(w->vcpu, SIDE_BASE);
        assert_int_equal(set_side_flags(w, LOG), 0);
        write_some(&log, 0, 1);
        world_forget(w);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(get_log(&log), 0);
            assert_some(&log, 0, 1);
        }
        assert_int_equal(w->change_count, 0);
        assert_int_equal(w->flush_count, 0);
        /* Pages 0 to 63: 0, 1 and 63 are dirty; clear 1 and, in vain, 2. */
        log.bitmap[0] = 6;
        assert_int_equal(clear_log(&log, 0, 64), 0);
        assert_int_equal(w->change_count, 1);
        assert_int_equal(w->change[0].gfn, SIDE_BASE + 1);
        assert_int_equal(w->flush_count, 1);
        assert_int_equal(get_log(&log), 0);
        assert_int_equal(bits_set(&log), SOME - 1);
        assert_false(bit(&log, 1));
        assert_true(bit(&log, 0) && bit(&log, 63));
        guest_write(w->vcpu, SIDE_BASE + 1);
        assert_int_equal(get_log(&log), 0);
        assert_some(&log, 0, 1);
        /* From the middle to the ragged end; the bits beyond it mean nothing. */
        memset(log.bitmap, 0xff, SIDE_WORDS * 8);
        assert_int_equal(clear_log(&log, 1024, SIDE_PAGES - 1024), 0);
        assert_int_equal(get_log(&log), 0);
        for (unsigned i = 0; i < SOME; i++)
            assert_int_equal(bit(&log, some_pages[i]), some_pages[i] < 1024);
        assert_int_equal(bits_set(&log), 7);
        /* No bit set: nothing to do. */
        world_forget(w);
        memset(log.bitmap, 0, SIDE_WORDS * 8);
        assert_int_equal(clear_log(&log, 0, SIDE_PAGES), 0);
        assert_int_equal(w->change_count + w->flush_count, 0);
        world_free(w);
    }
}

static void clear_log_bounds(void **state)
{
    struct log log = log_new(&machines[3], KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, false);
    struct kvm_clear_dirty_log far = { .slot = SIDE_SLOT, .first_page = UINT64_MAX - 63, .num_pages = 64,
                                       .dirty_bitmap = log.bitmap };

    (void)state;
    assert_int_equal(set_side_flags(log.w, LOG), 0);
    memset(log.bitmap, 0xff, sizeof(log.bitmap));
    assert_int_equal(clear_log(&log, 1, 64), -EINVAL);
    assert_int_equal(clear_log(&log, 0, 63), -EINVAL);
    assert_int_equal(clear_log(&log, 0, SIDE_PAGES + 64), -EINVAL);
    assert_int_equal(clear_log(&log, 2112, 64), -EINVAL); /* beyond the end */
    assert_int_equal(clear_log(&log, 2112, 35), -EINVAL);
    assert_int_equal(kvm_vm_ioctl_clear_dirty_log(log.w->kvm, &far), -EINVAL);
    assert_no_warning(log.w); /* as the ioctl: the errno alone */
    assert_int_equal(clear_log(&log, 2112, 36), 0);
    assert_int_equal(clear_log(&log, 0, SIDE_PAGES), 0);
    world_free(log.w);
}

/* Initially all set: logging begins for free, a range is protected when cleared. */
static void initially_all_set(void **state)
{
    const uint32_t mode = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET;

    (void)state;
    for_each_machine(m) for (int lazy = 0; lazy < 2; lazy++) {
        struct log log = log_new(m, mode, lazy);
        struct world *w = log.w;

        for (uint64_t page = 0; page < SIDE_PAGES; page += 512)
            guest_write(w->vcpu, SIDE_BASE + page);
        world_forget(w);
        assert_int_equal(set_side_flags(w, LOG), 0);
        assert_int_equal(w->change_count, 0); /* neither split nor protected */
        assert_int_equal(get_log(&log), 0);
        assert_int_equal(bits_set(&log), SIDE_PAGES); /* none beyond the end */
        assert_int_equal(count_leaves(w->vcpu, SIDE_BASE, SIDE_BASE + SIDE_PAGES, 2), 4);

        /* Clear one word in the second 2M page, one in the third. */
        memset(log.bitmap, 0, sizeof(log.bitmap));
        log.bitmap[512 / 64] = log.bitmap[1024 / 64] = ~0ull;
        assert_int_equal(clear_log(&log, 0, SIDE_PAGES), 0);
        /* Eager: that page alone is split.  Lazy: it is write-protected, for a fault
         * to split it.  Other pages are not touched. */
        assert_int_equal(count_leaves(w->vcpu, SIDE_BASE, SIDE_BASE + SIDE_PAGES, 2), lazy ? 4 : 2);
        assert_spte(w->vcpu, SIDE_BASE, 2, m->leaf | PSE_BIT, host_pfn(SIDE_BASE));
        assert_spte(w->vcpu, SIDE_BASE + 1536, 2, m->leaf | PSE_BIT, host_pfn(SIDE_BASE + 1536));
        if (lazy)
            assert_false(is_writable_pte(spte_at(w->vcpu, SIDE_BASE + 512, 2)));
        assert_int_equal(get_log(&log), 0);
        assert_int_equal(bits_set(&log), SIDE_PAGES - 128);
        /* Writes there appear; their neighbours' do not. */
        guest_write(w->vcpu, SIDE_BASE + 512 + 7);
        guest_write(w->vcpu, SIDE_BASE + 1024 + 63);
        assert_int_equal(get_log(&log), 0);
        assert_int_equal(bits_set(&log), SIDE_PAGES - 126);
        assert_true(bit(&log, 512 + 7) && bit(&log, 1024 + 63));

        /* All cleared: from now on every write counts. */
        memset(log.bitmap, 0xff, SIDE_WORDS * 8);
        assert_int_equal(clear_log(&log, 0, SIDE_PAGES), 0);
        assert_int_equal(get_log(&log), 0);
        assert_int_equal(bits_set(&log), 0);
        write_some(&log, 0, 1);
        assert_int_equal(get_log(&log), 0);
        assert_some(&log, 0, 1);
        world_free(w);
    }
}

/* The ragged end's neighbour begins in the same word of 64. */
static void neighbour_slot_is_spared(void **state)
{
    const gfn_t next = SIDE_BASE + SIDE_PAGES;

    (void)state;
    for_each_machine(m) {
        struct log log = log_new(m, KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET, false);

        assert_int_equal(add_slot(log.w->kvm, 2, 0, next, 64, SIDE_HVA + (SIDE_PAGES << 12)), 0);
        for (gfn_t gfn = next - 4; gfn < next + 28; gfn++)
            guest_write(log.w->vcpu, gfn);
        assert_int_equal(set_side_flags(log.w, LOG), 0);
        memset(log.bitmap, 0xff, sizeof(log.bitmap));
        assert_int_equal(clear_log(&log, 0, SIDE_PAGES), 0);
        for (gfn_t gfn = next; gfn < next + 28; gfn++)
            assert_spte(log.w->vcpu, gfn, 1, m->leaf, host_pfn(gfn));
        assert_true(spte_at(log.w->vcpu, next - 1, 1) != (m->leaf | host_pfn(next - 1) << 12));
        world_free(log.w);
    }
}

/* Both address spaces have their own slots, bitmaps and page tables. */
static void smm_is_logged_apart(void **state)
{
    struct log log = log_new(&machines[0], 0, false);
    struct kvm_vcpu *smm = tdpmmu_create_vcpu(log.w->kvm, 1);
    uint64_t words[SIDE_WORDS];
    struct kvm_dirty_log request = { .slot = 1u << 16 | SIDE_SLOT, .dirty_bitmap = words };

    (void)state;
    assert_int_equal(tdpmmu_vcpu_set_as_id(smm, 1), 0);
    assert_int_equal(add_slot(log.w->kvm, 1u << 16 | SIDE_SLOT, 0, SIDE_BASE, SIDE_PAGES, SIDE_HVA), 0);
    assert_int_equal(kvm_mmu_load(smm), 0);
    guest_write(smm, SIDE_BASE + 3);
    guest_write(log.w->vcpu, SIDE_BASE + 3);
    assert_int_equal(set_side_flags(log.w, LOG), 0);
    assert_spte(smm, SIDE_BASE, 2, machines[0].leaf | PSE_BIT, host_pfn(SIDE_BASE)); /* not split */
    assert_int_equal(add_slot(log.w->kvm, 1u << 16 | SIDE_SLOT, LOG, SIDE_BASE, SIDE_PAGES, SIDE_HVA), 0);
    guest_write(smm, SIDE_BASE + 4);
    guest_write(log.w->vcpu, SIDE_BASE + 5);
    tdpmmu_mark_page_dirty(log.w->kvm, 1, SIDE_BASE + 6);
    assert_int_equal(get_log(&log), 0);
    assert_int_equal(bits_set(&log), 1);
    assert_true(bit(&log, 5));
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(log.w->kvm, &request), 0);
    assert_int_equal(words[0], 1 << 4 | 1 << 6);
    world_free(log.w);
}

/* Emulation writes without a fault; it says so. */
static void marked_by_hand(void **state)
{
    struct log log = log_new(&machines[3], 0, false);

    (void)state;
    tdpmmu_mark_page_dirty(log.w->kvm, 0, SIDE_BASE + 1); /* not logged yet */
    assert_int_equal(set_side_flags(log.w, LOG), 0);
    tdpmmu_mark_page_dirty(log.w->kvm, 0, SIDE_BASE + 2);
    tdpmmu_mark_page_dirty(log.w->kvm, 0, SIDE_BASE + SIDE_PAGES - 1);
    tdpmmu_mark_page_dirty(log.w->kvm, 0, SIDE_BASE + SIDE_PAGES); /* in no slot */
    tdpmmu_mark_page_dirty(log.w->kvm, 0, 5);                       /* in a slot without log */
    assert_int_equal(get_log(&log), 0);
    assert_int_equal(bits_set(&log), 2);
    assert_true(bit(&log, 2) && bit(&log, SIDE_PAGES - 1));
    world_free(log.w);
}

/* Logging off: the bitmap is gone, and huge pages may come back. */
static void logging_off(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct log log = log_new(m, 0, false);
        struct world *w = log.w;

        guest_write(w->vcpu, SIDE_BASE + 5);
        guest_write(w->vcpu, SIDE_BASE + 2050);
        assert_int_equal(set_side_flags(w, LOG), 0);
        assert_int_equal(count_leaves(w->vcpu, SIDE_BASE, SIDE_BASE + 512, 1), 512);
        assert_int_equal(set_side_flags(w, 0), 0);
        assert_int_equal(get_log(&log), -ENOENT);
        assert_no_warning(w);
        assert_int_equal(guest_write(w->vcpu, SIDE_BASE + 5), 2);
        assert_int_equal(guest_write(w->vcpu, SIDE_BASE + 2050), 1); /* the ragged end */
        /* On again: a new bitmap, empty. */
        assert_int_equal(set_side_flags(w, LOG), 0);
        assert_int_equal(get_log(&log), 0);
        assert_int_equal(bits_set(&log), 0);
        world_free(w);
    }
}

/* A bitmap does not outlive its slot. */
static void slot_gone(void **state)
{
    struct log log = log_new(&machines[3], 0, false);

    (void)state;
    assert_int_equal(set_side_flags(log.w, LOG), 0);
    guest_write(log.w->vcpu, SIDE_BASE + 5);
    assert_int_equal(delete_slot(log.w->kvm, SIDE_SLOT), 0);
    assert_int_equal(get_log(&log), -ENOENT);
    world_forget(log.w);
    assert_int_equal(set_side_flags(log.w, LOG), 0); /* a slot that is born logged */
    assert_int_equal(get_log(&log), 0);
    assert_int_equal(bits_set(&log), 0);
    guest_write(log.w->vcpu, SIDE_BASE + 6);
    assert_int_equal(get_log(&log), 0);
    assert_int_equal(bits_set(&log), 1);
    world_free(log.w);
}

/* A yield wherever one is possible changes nothing in the result. */
static void yields_change_nothing(void **state)
{
    (void)state;
    for_each_machine(m) {
        uint64_t sums[2];

        for (int yielding = 0; yielding < 2; yielding++) {
            struct log log = log_new(m, 0, false);
            struct world *w = log.w;

            atomic_store(&w->resched, yielding);
            for (uint64_t page = 0; page < SIDE_PAGES; page += 256)
                guest_write(w->vcpu, SIDE_BASE + page);
            map_pages(w, 0, 8, 1);
            assert_true(wrprot_slot(w, 0, 1));
            assert_int_equal(set_side_flags(w, LOG), 0);
            write_some(&log, 0, 1);
            assert_int_equal(get_log(&log), 0);
            assert_some(&log, 0, 1);
            write_some(&log, 0, 4);
            set_dirty_slot(w, 0);
            clear_dirty_slot(w, 0);
            sums[yielding] = 0;
            /* Where the tables lie differs; what the leaves say must not. */
            for (gfn_t gfn = 0; gfn < 8; gfn++)
                sums[yielding] = sums[yielding] * 31 + spte_at(w->vcpu, gfn, 1);
            for (uint64_t page = 0; page < SIDE_PAGES; page++)
                sums[yielding] = sums[yielding] * 31 + spte_at(w->vcpu, SIDE_BASE + page, 1);
            assert_int_equal(stats_of(w->kvm).yields > 0, yielding);
            world_free(w);
        }
        assert_int_equal(sums[0], sums[1]);
    }
}

/* What a fault finds between a slot's new flags and the write-protection that follows. */
struct committing {
    struct kvm *kvm;
    struct kvm_vcpu *vcpu;
    unsigned calls;
    int ret;
    uint32_t flags;
};

static void fault_while_committing(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    struct committing *c = ctx;

    assert_ptr_equal(kvm, c->kvm);
    c->calls++;
    c->flags = slot->flags;
    c->ret = kvm_tdp_mmu_page_fault(c->vcpu, 5 << 12, PFERR_WRITE_MASK);
}

static void fault_between_flags_and_protection(void **state)
{
    struct committing c = { 0 };
    struct tdpmmu_ops ops = { .size = sizeof(ops), .slot_committing = fault_while_committing };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .vendor = TDPMMU_NPT, .ops = &ops, .ops_ctx = &c };
    uint64_t bits[16] = { 0 };
    struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bits };

    (void)state;
    c.kvm = tdpmmu_create_vm(&config);
    c.vcpu = tdpmmu_create_vcpu(c.kvm, 0);
    assert_int_equal(add_slot(c.kvm, 1, 0, 0, 1024, 1ull << 30), 0);
    assert_int_equal(kvm_mmu_load(c.vcpu), 0);
    assert_int_equal(c.calls, 0);
    assert_int_equal(add_slot(c.kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, 0, 1024, 1ull << 30), 0);
    /* It went by the new flags: a small page, in the log. */
    assert_int_equal(c.calls, 1);
    assert_int_equal(c.flags, KVM_MEM_LOG_DIRTY_PAGES);
    assert_int_equal(c.ret, RET_PF_FIXED);
    assert_int_equal(spte_at(c.vcpu, 5, 1) & 0xfff, 0xe65);
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(c.kvm, &log), 0);
    assert_int_equal(bits[0], 1 << 5);
    /* The way back: a huge page before the collapse, which has nothing left to do. */
    assert_int_equal(add_slot(c.kvm, 1, 0, 0, 1024, 1ull << 30), 0);
    assert_int_equal(c.calls, 2);
    assert_int_equal(c.flags, 0);
    assert_int_equal(spte_at(c.vcpu, 5, 2) & 0xfff, 0xee7);
    /* Adding and deleting have nothing in between. */
    assert_int_equal(delete_slot(c.kvm, 1), 0);
    assert_int_equal(c.calls, 2);
    tdpmmu_destroy_vm(c.kvm);
}

/* A split gives way for its table's sake: then the leaf may be gone, and nothing is split. */
static unsigned splits_asked, stood;

static bool yield_before_splits(void *ctx, struct kvm *kvm, const struct tdp_iter *iter)
{
    (void)ctx;
    assert_true(tdpmmu_read_lock_held(&kvm->mmu_lock));
    if (iter->level != PG_LEVEL_2M || iter->gfn != 0 || !(iter->old_spte & 1ull << 7))
        return false;
    splits_asked++;
    return true;
}

static void zap_meanwhile(void *ctx, struct kvm *kvm)
{
    struct world *w = ctx;

    /* Also between the split and the write-protection, where nothing is left to zap. */
    stood++;
    write_lock(&kvm->mmu_lock);
    assert_int_equal(kvm_tdp_mmu_zap_leafs(w->kvm, 0, 512, false), stood == 1);
    write_unlock(&kvm->mmu_lock);
}

static void split_gives_way(void **state)
{
    struct tdpmmu_ops ops = { .yield_at = yield_before_splits, .yielded = zap_meanwhile };
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .ops = &ops });

    (void)state;
    map_pages(w, 0, 1024, 2);
    splits_asked = stood = 0;
    assert_int_equal(add_slot(w->kvm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, WORLD_SLOT_PAGES, WORLD_HVA), 0);
    assert_int_equal(splits_asked, 1);
    assert_int_equal(stood, 2);
    assert_int_equal(stats_of(w->kvm).pages_2m, 0);
    /* The other one, which nobody asked to spare, is split. */
    assert_int_equal(stats_of(w->kvm).pages_4k, 512);
    assert_no_warning(w);
    world_free(w);
}

/* All that the log has of the side slot's first 64 pages, which it forgets. */
static uint64_t take_first_word(struct world *w)
{
    uint64_t bits[SIDE_WORDS];
    struct kvm_dirty_log log = { .slot = SIDE_SLOT, .dirty_bitmap = bits };

    assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
    return bits[0];
}

/*
 * A fault marks where 6.12's make_spte() does: whenever the SPTE that it wants has W, be it
 * there already; and not where the SPTE has none.
 * To see it fail: in memorySPTE() of MMU/Fault.swift mark if the host lets the page be written; or mark
 * after the SPTE was installed.
 */
static void marked_where_an_spte_gets_w(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        gfn_t gfn = SIDE_BASE + 5;

        assert_int_equal(add_slot(w->kvm, SIDE_SLOT, LOG, SIDE_BASE, SIDE_PAGES, SIDE_HVA), 0);
        /* Ahead of the guest: without A/D bits it is tracked, and W comes later. */
        assert_int_equal(fault_on(w, w->vcpu, gfn, 0, true, 1, pfn_for(gfn), true), RET_PF_FIXED);
        assert_int_equal(take_first_word(w), m->dirty ? 1 << 5 : 0);
        assert_int_equal(guest_write(w->vcpu, SIDE_BASE + 6), 1);
        assert_int_equal(take_first_word(w) & 1 << 6, 1 << 6);
        /* A read fault on a writable host page: the SPTE has W. */
        assert_int_equal(fault_on(w, w->vcpu, SIDE_BASE + 7, 0, true, 1, pfn_for(SIDE_BASE + 7), false), RET_PF_FIXED);
        assert_int_equal(fault_on(w, w->vcpu, SIDE_BASE + 8, 0, false, 1, pfn_for(SIDE_BASE + 8), false), RET_PF_FIXED);
        assert_int_equal(take_first_word(w), 1 << 7);
        world_free(w);
    }
}

/* Also where nothing changes: then nobody clears W first, so the log is read by hand. */
static void marked_by_a_spurious_fault(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct tdpmmu_vm_config config = m->config;
        uint64_t bits[SIDE_WORDS], zero[1] = { 1 << 5 };
        struct kvm_clear_dirty_log clear = { .slot = SIDE_SLOT, .num_pages = 64, .dirty_bitmap = zero };
        struct kvm_dirty_log log = { .slot = SIDE_SLOT, .dirty_bitmap = bits };
        gfn_t gfn = SIDE_BASE + 5;
        struct world *w;

        config.dirty_log = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
        w = world_from(config);
        assert_int_equal(add_slot(w->kvm, SIDE_SLOT, LOG, SIDE_BASE, SIDE_PAGES, SIDE_HVA), 0);
        assert_int_equal(map_page(w, gfn, 1), RET_PF_FIXED);
        assert_int_equal(kvm_vm_ioctl_clear_dirty_log(w->kvm, &clear), 0);
        map_page(w, gfn, 1);
        map_page(w, gfn, 1); /* the one before may have changed Dirty */
        /* Takes the bit and, having nothing to protect with Dirty clear, leaves W where the CPU logs. */
        assert_int_equal(kvm_vm_ioctl_clear_dirty_log(w->kvm, &clear), 0);
        if (is_writable_pte(spte_at(w->vcpu, gfn, 1)))
            assert_int_equal(map_page(w, gfn, 1), RET_PF_SPURIOUS);
        else
            assert_int_equal(map_page(w, gfn, 1), RET_PF_FIXED);
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
        assert_int_equal(bits[0], 1 << 5);
        world_free(w);
    }
}

/*
 * 6.12's own bug (docs/KERNELS.md): logging by Dirty bits begins with two walks, and between them a
 * huge page may become Dirty again and be split.  Its 512 leaves are writable and Dirty then, and no
 * log hears of what is written through them; but for the page that the CPU itself reported.
 */
static void dirty_and_split_meanwhile(void *ctx, struct kvm *kvm)
{
    struct world *w = ctx;

    (void)kvm;
    if (spte_at(w->vcpu, SIDE_BASE, 2) == NO_SPTE)
        return;
    assert_int_equal(guest_write(w->vcpu, SIDE_BASE + 5), 2);
    assert_int_equal(guest_access(w->vcpu, SIDE_BASE + 6, PFERR_FETCH_MASK), 1);
}

static void split_while_logging_is_switched_on(void **state)
{
    struct tdpmmu_ops ops = { .yielded = dirty_and_split_meanwhile };
    struct machine machine = { .config = { .nx_huge_pages = 1, .ops = &ops } };
    struct log log = log_new(&machine, 0, true);
    struct kvm_vcpu *vcpu = log.w->vcpu;

    (void)state;
    world_forges(log.w); /* the checker says it at the end: Linux's own mistake */
    assert_int_equal(guest_write(vcpu, SIDE_BASE), 2);
    assert_int_equal(set_side_flags(log.w, LOG), 0);
    assert_int_equal(spte_at(vcpu, SIDE_BASE + 7, 1) & 0xfff, 0xb77); /* W, A and D */
    assert_int_equal(get_log(&log), 0);
    assert_int_equal(bits_set(&log), 2);
    assert_true(bit(&log, 5) && bit(&log, 6));
    guest_write(vcpu, SIDE_BASE + 7); /* lost */
    guest_write(vcpu, SIDE_BASE + 5);
    assert_int_equal(get_log(&log), 0);
    assert_int_equal(bits_set(&log), 1);
    assert_true(bit(&log, 5));
    assert_no_warning(log.w);
    log.w->fault = "the log has it not";
    world_free(log.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_between_flags_and_protection),
        cmocka_unit_test(split_gives_way),
        cmocka_unit_test(wrprot_slot_values),
        cmocka_unit_test(clear_dirty_slot_values),
        cmocka_unit_test(set_dirty_values),
        cmocka_unit_test(clear_dirty_masked_values),
        cmocka_unit_test(write_protect_gfn_values),
        cmocka_unit_test(invalid_roots_are_skipped),
        cmocka_unit_test(frozen_and_mmio_untouched),
        cmocka_unit_test(dirty_set_during_wrprot_survives),
        cmocka_unit_test(dirty_set_during_zap_is_told),
        cmocka_unit_test(plain_mode),
        cmocka_unit_test(sptes_of_a_logged_page),
        cmocka_unit_test(first_touch_is_logged),
        cmocka_unit_test(marked_where_an_spte_gets_w),
        cmocka_unit_test(marked_by_a_spurious_fault),
        cmocka_unit_test(manual_mode),
        cmocka_unit_test(clear_log_bounds),
        cmocka_unit_test(initially_all_set),
        cmocka_unit_test(neighbour_slot_is_spared),
        cmocka_unit_test(smm_is_logged_apart),
        cmocka_unit_test(marked_by_hand),
        cmocka_unit_test(logging_off),
        cmocka_unit_test(slot_gone),
        cmocka_unit_test(yields_change_nothing),
        cmocka_unit_test(split_while_logging_is_switched_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
