/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Counters that wrap, started close to where they do (struct tdpmmu_vm_config); and dirty rings that are empty, have
 * one entry, are full but for one, full, or hold what no library wrote.
 */
#include "border_model.h"

/* ---- generations of slots ------------------------------------------------------------------- */

#define MMIO_GFN 0x300ull
#define PAGE_GFN 0x100ull
#define GENERATION_MASK ((1ull << 19) - 1)

static int fault_in(struct rig *r, int as_id, gfn_t gfn, uint64_t error)
{
    assert_int_equal(kvm_mmu_load(r->vcpu[as_id]), 0);
    return kvm_tdp_mmu_page_fault(r->vcpu[as_id], gfn << 12, error);
}

/* An MMIO entry is made, and has the generation of its space. */
static void make_mmio(struct rig *r, int as_id)
{
    uint64_t spte;

    assert_int_equal(fault_in(r, as_id, MMIO_GFN, PFERR_WRITE_MASK), RET_PF_EMULATE);
    spte = spte_at(r->vcpu[as_id], MMIO_GFN, 1);
    assert_true(spte != NO_SPTE && is_mmio_spte(r->kvm, spte));
    if (get_mmio_spte_generation(spte) != (tdpmmu_memslots_generation(r->kvm, as_id) & GENERATION_MASK))
        complain(r, "the generation of an MMIO entry", get_mmio_spte_generation(spte));
    assert_int_equal(get_mmio_spte_gfn(r->kvm, spte), MMIO_GFN);
}

static void generations_from(const struct machine *m, uint64_t start, int changed)
{
    struct rig *r = rig_new(m, (struct tdpmmu_vm_config){ .slots_generation = start }, false);
    uint64_t generation = start | (uint64_t)changed;

    begin(r, "generation", start, (gfn_t)changed, 0);
    for (int as_id = 0; as_id < 2; as_id++) {
        assert_int_equal(tdpmmu_memslots_generation(r->kvm, as_id), start | (uint64_t)as_id);
        assert_int_equal(add_slot(r->kvm, (uint32_t)(as_id << 16), 0, PAGE_GFN, 16, WORLD_HVA), 0);
    }
    generation += 2;
    for (unsigned step = 0; step < 6; step++) {
        bool wraps;

        for (int as_id = 0; as_id < 2; as_id++) {
            int ret = fault_in(r, as_id, PAGE_GFN, PFERR_WRITE_MASK);

            assert_true(ret == RET_PF_FIXED || ret == RET_PF_SPURIOUS);
            make_mmio(r, as_id);
            /* Fresh: what the CPU finds reserved is emulated at once, and stays. */
            assert_int_equal(fault_in(r, as_id, MMIO_GFN, PFERR_RSVD_MASK | PFERR_PRESENT_MASK), RET_PF_EMULATE);
        }
        assert_int_equal(tdpmmu_memslots_generation(r->kvm, changed), generation);
        assert_int_equal(add_slot(r->kvm, (uint32_t)(changed << 16) | (5 + step), 0, 0x1000 + 16 * step, 16,
                                  WORLD_HVA + (0x1000000ull * (1 + step))), 0);
        generation += 2;
        assert_int_equal(tdpmmu_memslots_generation(r->kvm, changed), generation);
        /* Where the 19 bits begin anew nothing may be left that has old ones; else nothing goes. */
        wraps = (generation & GENERATION_MASK) <= 1;
        for (int as_id = 0; as_id < 2; as_id++) {
            assert_int_equal(kvm_mmu_load(r->vcpu[as_id]), 0);
            if (mapped(r->vcpu[as_id], PAGE_GFN) != !wraps)
                complain(r, wraps ? "generations wrap, and something is left" : "no generation wraps, and something is gone",
                         generation);
            if (wraps)
                continue;
            /* Stale in the space that has changed: it is looked at anew, and is MMIO still. */
            assert_int_equal(fault_in(r, as_id, MMIO_GFN, PFERR_RSVD_MASK | PFERR_PRESENT_MASK), RET_PF_EMULATE);
            assert_int_equal(get_mmio_spte_generation(spte_at(r->vcpu[as_id], MMIO_GFN, 1)),
                             tdpmmu_memslots_generation(r->kvm, as_id) & GENERATION_MASK);
        }
        /* The slot that was added is found, by vCPUs that remember another, too. */
        assert_int_equal(fault_in(r, changed, 0x1000 + 16 * step + 15, 0), RET_PF_FIXED);
        assert_int_equal(fault_in(r, !changed, 0x1000 + 16 * step + 15, 0), RET_PF_EMULATE);
    }
    assert_int_equal(r->warned, 0);
    rig_free(r);
}

static void generations(void **state)
{
    static const uint64_t starts[] = { 0, 2, (1ull << 19) - 12, (1ull << 19) - 8, (1ull << 19) - 4, (1ull << 20) - 6,
                                       (1ull << 32) - 6, (1ull << 63) - 6, 0ull - 12, 0ull - 6, 0ull - 2 };

    (void)state;
    for_each_machine(m)
        for (unsigned i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
            for (int changed = 0; changed < 2; changed++)
                generations_from(m, starts[i], changed);
}

/* ---- invalidations that have ended -------------------------------------------------------------- */

static struct kvm *invalidated;
static unsigned invalidations; /* that come while the host is asked */

static void *invalidate(void *hva)
{
    uint64_t start = *(uint64_t *)hva;

    kvm_mmu_notifier_invalidate_range_start(invalidated, start, start + 4096, true);
    kvm_mmu_notifier_invalidate_range_end(invalidated, start, start + 4096);
    return NULL;
}

static kvm_pfn_t pfn_after_invalidations(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn,
                                         bool write, bool *writable, int *max_level)
{
    uint64_t hva = slot->userspace_addr + ((gfn - slot->base_gfn) << 12);
    pthread_t thread;

    (void)ctx, (void)kvm, (void)write, (void)writable;
    *max_level = 1;
    for (; invalidations; invalidations--) {
        assert_int_equal(pthread_create(&thread, NULL, invalidate, &hva), 0);
        pthread_join(thread, NULL);
    }
    return pfn_for(gfn);
}

static void invalidation_counts(void **state)
{
    static const uint64_t starts[] = { 0, UINT32_MAX, 1ull << 32, INT64_MAX, UINT64_MAX - 2, UINT64_MAX - 1, UINT64_MAX };

    (void)state;
    for_each_machine(m)
        for (unsigned i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
            struct tdpmmu_ops ops = { .gfn_to_pfn = pfn_after_invalidations };
            struct tdpmmu_vm_config config = m->config;
            struct world *w;

            config.invalidate_seq = starts[i];
            config.ops = &ops;
            w = world_from(config);
            invalidated = w->kvm;
            for (unsigned step = 0; step < 4; step++) {
                gfn_t gfn = 0x800 + 512 * step;

                /* Whatever came of the number meanwhile, what the host had said is over. */
                invalidations = 1 + step % 2;
                assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, PFERR_WRITE_MASK), RET_PF_RETRY);
                assert_false(mapped(w->vcpu, gfn));
                assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, PFERR_WRITE_MASK), RET_PF_FIXED);
                assert_true(mapped(w->vcpu, gfn));
            }
            world_free(w);
        }
}

/* ---- rings ---------------------------------------------------------------------------------------- */

#define LOGGED 5u
#define LOGGED_BASE 0x10000ull
#define LOGGED_PAGES 3000u

struct ring_rig {
    struct world *w;
    struct kvm_dirty_gfn *ring;
    uint32_t size, reserve, next; /* next: the entry that the rig takes next, ever */
    const struct machine *m;
    int as_id;
};

static struct ring_rig open_ring(const struct machine *m, uint32_t index, int as_id)
{
    struct tdpmmu_vm_config config = m->config;
    bool pml = config.vendor == TDPMMU_EPT && !config.no_pml && !config.ad_disabled;
    struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { pml ? 16384 : 4096 } };
    struct ring_rig r = { .m = m, .next = index, .reserve = pml ? 576 : 64, .as_id = as_id };

    config.ring_index = index;
    r.w = world_from(config);
    /* world_from() has made a vCPU already: rings come before the first. */
    assert_int_equal(kvm_vm_ioctl_enable_cap(r.w->kvm, &cap), -EINVAL);
    tdpmmu_destroy_vcpu(r.w->vcpu);
    assert_int_equal(kvm_vm_ioctl_enable_cap(r.w->kvm, &cap), 0);
    r.w->vcpu = tdpmmu_create_vcpu(r.w->kvm, 3);
    assert_non_null(r.w->vcpu);
    assert_int_equal(tdpmmu_vcpu_set_as_id(r.w->vcpu, as_id), 0);
    r.ring = tdpmmu_vcpu_dirty_ring(r.w->vcpu, &r.size);
    assert_int_equal(r.size, cap.args[0] / 16);
    if (as_id == 0)
        assert_int_equal(delete_slot(r.w->kvm, 0), 0);
    assert_int_equal(add_slot(r.w->kvm, (uint32_t)as_id << 16 | LOGGED, KVM_MEM_LOG_DIRTY_PAGES, LOGGED_BASE, LOGGED_PAGES,
                              WORLD_HVA + (LOGGED_BASE << 12)), 0);
    assert_int_equal(add_slot(r.w->kvm, (uint32_t)as_id << 16 | (LOGGED + 1), 0, LOGGED_BASE + LOGGED_PAGES, 100,
                              WORLD_HVA + ((LOGGED_BASE + LOGGED_PAGES) << 12)), 0);
    assert_int_equal(kvm_mmu_load(r.w->vcpu), 0);
    return r;
}

/* Of a page that is writable (PML) the fault changes nothing, but it is a write. */
static int as_fixed(int ret) { return ret == RET_PF_SPURIOUS ? RET_PF_FIXED : ret; }

static int push(struct ring_rig *r, gfn_t offset)
{
    return as_fixed(kvm_tdp_mmu_page_fault(r->w->vcpu, (LOGGED_BASE + offset) << 12, PFERR_WRITE_MASK));
}

static bool writable(struct ring_rig *r, gfn_t offset)
{
    int level;
    uint64_t spte = walk_end(r->w->vcpu, LOGGED_BASE + offset, &level);

    return is_shadow_present_pte(spte) && is_writable_pte(spte);
}

/* Would a write be seen once more?  By W, or with PML by Dirty. */
static bool protected_again(struct ring_rig *r, gfn_t offset)
{
    int level;
    uint64_t spte = walk_end(r->w->vcpu, LOGGED_BASE + offset, &level);

    return r->reserve == 576 ? !is_dirty_spte(r->w->kvm, spte) : !is_writable_pte(spte);
}

static void take(struct ring_rig *r, gfn_t offset)
{
    struct kvm_dirty_gfn *entry = &r->ring[r->next++ % r->size];

    assert_int_equal(entry->flags, KVM_DIRTY_GFN_F_DIRTY);
    assert_int_equal(entry->slot, (uint32_t)r->as_id << 16 | LOGGED);
    assert_int_equal(entry->offset, offset);
    __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
}

static void assert_no_more(struct ring_rig *r)
{
    for (uint32_t i = 0; i < r->size; i++)
        assert_int_equal(r->ring[i].flags & KVM_DIRTY_GFN_F_DIRTY, 0);
}

static void close_ring(struct ring_rig *r)
{
    world_free(r->w);
}

static const uint32_t indices[] = { 0, 1, 0x7fffffff, UINT32_MAX - 2000, UINT32_MAX - 200, UINT32_MAX - 100, UINT32_MAX };
enum { INDICES = sizeof(indices) / sizeof(indices[0]) };

/* Counts of entries: none, one, all but one until the vCPU stops, all until it stops. */
static void ring_counts(void **state)
{
    (void)state;
    for_each_machine(m)
        for (unsigned i = 0; i < INDICES; i++) {
            struct ring_rig r = open_ring(m, indices[i], (int)(i & 1));
            uint32_t most = r.size - r.reserve;
            const uint32_t counts[] = { 0, 1, most - 1, most, 2, most, 0 };

            for (unsigned c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
                for (uint32_t n = 0; n < counts[c]; n++)
                    assert_int_equal(push(&r, n * 3 % LOGGED_PAGES), RET_PF_FIXED);
                if (counts[c] == most) {
                    assert_int_equal(push(&r, 2999), -ENOBUFS);
                    assert_false(writable(&r, 2999));
                    /* Nor a page that is there. */
                    assert_int_equal(kvm_tdp_mmu_page_fault(r.w->vcpu, LOGGED_BASE << 12, PFERR_WRITE_MASK), -ENOBUFS);
                }
                for (uint32_t n = 0; n < counts[c]; n++)
                    take(&r, n * 3 % LOGGED_PAGES);
                assert_no_more(&r);
                /* The vCPU goes on when there has been a reset, and not before. */
                if (counts[c] == most)
                    assert_int_equal(push(&r, 2999), -ENOBUFS);
                world_forget(r.w);
                assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(r.w->kvm), counts[c]);
                assert_int_equal(atomic_load(&r.w->flush_count), counts[c] > 0);
                assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(r.w->kvm), 0);
                for (uint32_t n = 0; n < counts[c]; n++)
                    assert_true(protected_again(&r, n * 3 % LOGGED_PAGES));
                for (uint32_t n = 0; n < r.size; n++)
                    assert_int_equal(r.ring[n].flags, 0);
            }
            close_ring(&r);
        }
}

/* Up to the last entry, which only kvm_tdp_mmu_map() reaches. */
static void ring_to_the_brim(void **state)
{
    (void)state;
    for_each_machine(m)
        for (unsigned i = 0; i < INDICES; i++) {
            struct ring_rig r = open_ring(m, indices[i], 0);

            for (unsigned round = 0; round < 2; round++) {
                for (uint32_t n = 0; n < r.size; n++)
                    assert_int_equal(as_fixed(fault_on(r.w, r.w->vcpu, LOGGED_BASE + n, PFERR_WRITE_MASK, true, 3,
                                                       pfn_for(LOGGED_BASE + n), false)), RET_PF_FIXED);
                assert_int_equal(fault_on(r.w, r.w->vcpu, LOGGED_BASE + 2000, PFERR_WRITE_MASK, true, 1,
                                          pfn_for(LOGGED_BASE + 2000), false), -ENOBUFS);
                /* A read that would map writable, too; one that does not is free. */
                assert_int_equal(fault_on(r.w, r.w->vcpu, LOGGED_BASE + 2000, 0, true, 1, pfn_for(LOGGED_BASE + 2000), false),
                                 -ENOBUFS);
                assert_int_equal(fault_on(r.w, r.w->vcpu, LOGGED_BASE + 2001, 0, false, 1, pfn_for(LOGGED_BASE + 2001), false),
                                 round ? RET_PF_SPURIOUS : RET_PF_FIXED);
                assert_int_equal(tdpmmu_fast_page_fault(r.w->vcpu, LOGGED_BASE << 12, PFERR_WRITE_MASK | PFERR_PRESENT_MASK),
                                 RET_PF_INVALID);
                for (uint32_t n = 0; n < r.size; n++)
                    take(&r, n);
                assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(r.w->kvm), r.size);
            }
            close_ring(&r);
        }
}

/* Pages near and far, forwards and backwards: exactly those that were taken are protected again. */
static void ring_batches(void **state)
{
    static const int strides[] = { 1, -1, 63, -63, 64, -64, 65, 127, 512, -512, 7 };
    static const unsigned first[] = { 0, 63, 64, 1500, 2999 };

    (void)state;
    for_each_machine(m) {
        struct ring_rig r = open_ring(m, UINT32_MAX - 50, 0);

        for (unsigned s = 0; s < sizeof(strides) / sizeof(strides[0]); s++)
            for (unsigned f = 0; f < 5; f++) {
                int64_t offsets[40];
                unsigned n = 0;

                for (int64_t o = first[f]; n < 40 && o >= 0 && o < LOGGED_PAGES; o += strides[s])
                    offsets[n++] = o;
                for (unsigned i = 0; i < n; i++)
                    assert_int_equal(push(&r, (gfn_t)offsets[i]), RET_PF_FIXED);
                for (unsigned taken = 0; taken < n;) {
                    unsigned more = (n - taken + 1) / 2;

                    for (unsigned i = 0; i < more; i++)
                        take(&r, (gfn_t)offsets[taken + i]);
                    assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(r.w->kvm), more);
                    taken += more;
                    for (unsigned i = 0; i < n; i++)
                        if (protected_again(&r, (gfn_t)offsets[i]) != (i < taken))
                            fail_msg("%s: stride %d from %u: %u of %u are reset, and page %lld is %s", m->name, strides[s],
                                     first[f], taken, n, (long long)offsets[i], i < taken ? "not protected" : "protected");
                }
                write_lock(&r.w->kvm->mmu_lock);
                kvm_tdp_mmu_zap_leafs(r.w->kvm, LOGGED_BASE, LOGGED_BASE + LOGGED_PAGES, false);
                write_unlock(&r.w->kvm->mmu_lock);
            }
        close_ring(&r);
    }
}

/* Entries that no library wrote: of no slot, past the end, of a slot that is not logged, with other flags, with holes. */
static void ring_forged(void **state)
{
    static const struct { uint32_t slot; uint64_t offset; } forged[] = {
        { LOGGED + 7, 0 }, { 2u << 16 | LOGGED, 0 }, { 0xffffffff, 0 }, { 1u << 16 | (LOGGED + 3), 5 },
        { LOGGED, LOGGED_PAGES }, { LOGGED, LOGGED_PAGES + 5 }, { LOGGED, UINT64_MAX }, { LOGGED, UINT64_MAX - 62 },
        { LOGGED, 1ull << 63 }, { LOGGED, 0ull - LOGGED_BASE },
    };

    (void)state;
    for_each_machine(m)
        for (unsigned i = 0; i < sizeof(forged) / sizeof(forged[0]); i++)
            for (unsigned among = 0; among < 3; among++) {
                struct ring_rig r = open_ring(m, UINT32_MAX - 1, 0);
                struct kvm_dirty_gfn *entry;

                world_forges(r.w);
                for (gfn_t n = 0; n < 3; n++)
                    assert_int_equal(push(&r, LOGGED_PAGES - 1 - n), RET_PF_FIXED);
                /* A neighbour's page, that nobody may protect. */
                assert_int_equal(push(&r, LOGGED_PAGES), RET_PF_FIXED);
                assert_int_equal(push(&r, LOGGED_PAGES + 5), RET_PF_FIXED);
                for (gfn_t n = 0; n < 3; n++)
                    take(&r, LOGGED_PAGES - 1 - n);
                entry = &r.ring[(r.next - 3 + among) % r.size];
                entry->slot = forged[i].slot;
                entry->offset = forged[i].offset;
                assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(r.w->kvm), 3);
                for (gfn_t n = 0; n < 3; n++)
                    if (n != among && !protected_again(&r, LOGGED_PAGES - 1 - n) &&
                        !(forged[i].slot == LOGGED && among != n)) /* one batch with what was forged is dropped whole */
                        fail_msg("%s: forged entry %u as number %u, and the others are not protected", m->name, i, among);
                assert_true(writable(&r, LOGGED_PAGES) && writable(&r, LOGGED_PAGES + 5));
                kvm_mmu_zap_all_fast(r.w->kvm); /* pages that are lost to the log by what was forged */
                close_ring(&r);
            }
}

static void ring_flags(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct ring_rig r = open_ring(m, 0, 0);

        for (gfn_t n = 0; n < 6; n++)
            assert_int_equal(push(&r, n), RET_PF_FIXED);
        /* A hole: what stands behind it waits. */
        r.ring[1].flags = KVM_DIRTY_GFN_F_RESET;
        assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(r.w->kvm), 0);
        assert_false(protected_again(&r, 1));
        r.ring[0].flags = KVM_DIRTY_GFN_F_RESET | KVM_DIRTY_GFN_F_DIRTY;
        assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(r.w->kvm), 2);
        assert_true(protected_again(&r, 0) && protected_again(&r, 1));
        assert_false(protected_again(&r, 2));
        /* Flags that there are not. */
        r.ring[2].flags = 0x80000000;
        assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(r.w->kvm), 0);
        /* All flagged, also those that nobody filled: once round and no more. */
        for (uint32_t n = 0; n < r.size; n++)
            r.ring[n].flags = KVM_DIRTY_GFN_F_RESET;
        assert_in_range(kvm_vm_ioctl_reset_dirty_pages(r.w->kvm), 4, r.size);
        for (gfn_t n = 0; n < 6; n++)
            assert_true(protected_again(&r, n));
        tdpmmu_destroy_vcpu(r.w->vcpu);
        r.w->vcpu = NULL;
        close_ring(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generations),
        cmocka_unit_test(invalidation_counts),
        cmocka_unit_test(ring_counts),
        cmocka_unit_test(ring_to_the_brim),
        cmocka_unit_test(ring_batches),
        cmocka_unit_test(ring_forged),
        cmocka_unit_test(ring_flags),
    };

    return cmocka_run_group_tests_name("borders_counters", tests, NULL, NULL);
}
