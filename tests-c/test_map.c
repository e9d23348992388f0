/* SPDX-License-Identifier: GPL-2.0-only */
/* Faults: which SPTE comes out, at which level, with which answer. */
#include "test_helpers.h"

#define BIT(n) (UINT64_C(1) << (n))
#define PA_MASK UINT64_C(0x000ffffffffff000)

/* EPT: R W X, write-back, ignore PAT, A, D, MMU_PRESENT, HOST_ and MMU_WRITABLE, SUPPRESS_VE. */
#define EPT_RWX UINT64_C(7)
#define EPT_R_X UINT64_C(5)
#define EPT_WB UINT64_C(0x30)
#define EPT_IPAT BIT(6)
#define PSE BIT(7)
#define EPT_A BIT(8)
#define EPT_D BIT(9)
#define MMU_PRESENT BIT(11)
#define EPT_HOST_MMU_W (BIT(57) | BIT(58))
#define EPT_SVE BIT(63)
#define EPT_READ_ONLY (EPT_R_X | EPT_WB | EPT_IPAT | EPT_A | MMU_PRESENT | EPT_SVE)
#define EPT_WRITABLE (EPT_READ_ONLY | BIT(1) | EPT_D | EPT_HOST_MMU_W)
#define EPT_TABLE (EPT_RWX | EPT_A | MMU_PRESENT | EPT_SVE)

struct fault_case {
    const char *name;
    enum tdpmmu_vendor vendor;
    int level;
    bool writable, prefault;
    uint64_t bits; /* all but the pfn */
};

static const struct fault_case cases[] = {
    { "EPT 4K", TDPMMU_EPT, 1, true, false, EPT_WRITABLE },
    { "EPT 2M", TDPMMU_EPT, 2, true, false, EPT_WRITABLE | PSE },
    { "EPT 1G", TDPMMU_EPT, 3, true, false, EPT_WRITABLE | PSE },
    { "EPT 4K read-only", TDPMMU_EPT, 1, false, false, EPT_READ_ONLY },
    { "EPT 2M read-only", TDPMMU_EPT, 2, false, false, EPT_READ_ONLY | PSE },
    { "EPT 1G read-only", TDPMMU_EPT, 3, false, false, EPT_READ_ONLY | PSE },
    { "EPT 4K prefault", TDPMMU_EPT, 1, true, true, EPT_WRITABLE & ~EPT_A },
    { "EPT 2M prefault", TDPMMU_EPT, 2, true, true, (EPT_WRITABLE | PSE) & ~EPT_A },
    { "NPT 4K", TDPMMU_NPT, 1, true, false, 0xe67 },
    { "NPT 2M", TDPMMU_NPT, 2, true, false, 0xee7 },
    { "NPT 1G", TDPMMU_NPT, 3, true, false, 0xee7 },
    { "NPT 4K read-only", TDPMMU_NPT, 1, false, false, 0x825 },
    { "NPT 2M read-only", TDPMMU_NPT, 2, false, false, 0x8a5 },
    { "NPT 1G read-only", TDPMMU_NPT, 3, false, false, 0x8a5 },
    { "NPT 4K prefault", TDPMMU_NPT, 1, true, true, 0xe47 },
    { "NPT 2M prefault", TDPMMU_NPT, 2, true, true, 0xec7 },
};

static uint64_t table_bits(enum tdpmmu_vendor vendor)
{
    return vendor == TDPMMU_EPT ? EPT_TABLE : 0x827;
}

static void exact_sptes(void **state)
{
    const gfn_t gfn = GIB_PAGES + 0x12345;

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (unsigned root_level = 4; root_level <= 5; root_level++) {
            const struct fault_case *c = &cases[i];
            struct world *w = world_new(c->vendor, root_level);
            uint64_t expect = c->bits |
                              (pfn_for(gfn) & ~(KVM_PAGES_PER_HPAGE(c->level) - 1)) << 12;
            uint64_t spte;

            assert_int_equal(fault_on(w, w->vcpu, gfn, c->writable ? PFERR_WRITE_MASK : 0,
                                      c->writable, c->level, pfn_for(gfn), c->prefault),
                             RET_PF_FIXED);
            spte = spte_at(w->vcpu, gfn, c->level);
            if (spte != expect)
                fail_msg("%s, root %u: SPTE %016llx, expected %016llx", c->name, root_level,
                         (unsigned long long)spte, (unsigned long long)expect);
            for (int level = c->level + 1; level <= (int)root_level; level++) {
                spte = spte_on_way(w->vcpu, gfn, level);
                if ((spte & ~PA_MASK) != table_bits(c->vendor))
                    fail_msg("%s: table entry %016llx at level %d", c->name,
                             (unsigned long long)spte, level);
                assert_non_null(to_shadow_page(spte & PA_MASK));
                assert_int_equal(to_shadow_page(spte & PA_MASK)->role.level, level - 1);
            }
            assert_int_equal(stats_of(w->kvm).tables, root_level - (unsigned)c->level + 1);
            world_free(w);
        }
}

/* What the callback is told, and in which order: from the root down. */
static void changes_are_told(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct tdpmmu_stats stats;

    (void)state;
    world_forget(w);
    map_pages(w, 0x1234, 1, 1);
    assert_int_equal(w->change_count, 4);
    for (int i = 0; i < 4; i++) {
        const struct change *c = &w->change[i];

        assert_int_equal(c->level, 4 - i);
        assert_int_equal(c->as_id, 0);
        assert_int_equal(c->gfn, 0x1234 & ~(KVM_PAGES_PER_HPAGE(c->level) - 1));
        assert_int_equal(c->old_spte, SHADOW_NONPRESENT_VALUE);
        assert_true(c->shared);
        assert_int_equal(c->new_spte, spte_on_way(w->vcpu, 0x1234, c->level));
    }
    assert_int_equal(w->flush_count, 0); /* nothing was there before */
    stats = stats_of(w->kvm);
    assert_int_equal(stats.pages_4k, 1);
    assert_int_equal(stats.faults, 1);
    assert_int_equal(stats.faults_fixed, 1);
    assert_int_equal(stats.spte_changes, 4);
    assert_int_equal(stats.tlb_flushes, 0);
    world_free(w);
}

/* The same fault again ends with nothing to change, after one step at most. */
static void repeated_fault(void **state)
{
    (void)state;
    for (int vendor = 0; vendor <= 1; vendor++) {
        struct world *w = world_new((enum tdpmmu_vendor)vendor, 4);
        uint64_t first, second;
        int ret;

        map_pages(w, 7, 1, 1);
        first = spte_at(w->vcpu, 7, 1);
        ret = map_page(w, 7, 1);
        second = spte_at(w->vcpu, 7, 1);
        /* Linux 6.12 drops Dirty here and says FIXED; nothing else may change. */
        assert_true(ret == RET_PF_SPURIOUS || ret == RET_PF_FIXED);
        assert_int_equal(ret == RET_PF_SPURIOUS, first == second);
        assert_int_equal((first ^ second) & ~(vendor == TDPMMU_EPT ? EPT_D : BIT(6)), 0);
        assert_int_equal(map_page(w, 7, 1), RET_PF_SPURIOUS);
        assert_int_equal(spte_at(w->vcpu, 7, 1), second);
        assert_int_equal(w->flush_count, 0);
        world_free(w);
    }
}

/*
 * A read-only SPTE becomes writable in place, and a page that the host does not let be written any
 * more read-only, as in Linux 6.12: it says FIXED, and asks for no flush (docs/KERNELS.md).
 */
static void upgrade_and_downgrade(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    uint64_t pfn_bits = pfn_for(9) << 12;

    (void)state;
    assert_int_equal(fault_on(w, w->vcpu, 9, 0, false, 1, pfn_for(9), false), RET_PF_FIXED);
    assert_int_equal(spte_at(w->vcpu, 9, 1), pfn_bits | 0x825);
    world_forget(w);
    assert_int_equal(map_page(w, 9, 1), RET_PF_FIXED);
    assert_int_equal(spte_at(w->vcpu, 9, 1), pfn_bits | 0xe67);
    assert_int_equal(w->change_count, 1);
    assert_int_equal(fault_on(w, w->vcpu, 9, 0, false, 1, pfn_for(9), false), RET_PF_FIXED);
    assert_int_equal(spte_at(w->vcpu, 9, 1), pfn_bits | 0x825);
    assert_int_equal(w->change_count, 2);
    assert_int_equal(w->flush_count, 0);
    assert_int_equal(fault_on(w, w->vcpu, 9, 0, false, 1, pfn_for(9), false), RET_PF_SPURIOUS);
    world_free(w);
}

/*
 * Page to other page goes through non-present and a flush.
 * To put the bug "a missing flush on leaf-to-leaf change" in: drop the flush from zapAtomically() of
 * MMU/SPTEChange.swift.
 */
static void other_pfn(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    map_pages(w, 9, 1, 1);
    world_forget(w);
    assert_int_equal(fault_on(w, w->vcpu, 9, PFERR_WRITE_MASK, true, 1, 0x777, false),
                     RET_PF_FIXED);
    assert_int_equal(spte_to_pfn(spte_at(w->vcpu, 9, 1)), 0x777);
    assert_true(w->flush_count >= 1);
    assert_true(w->flush[0].start <= 9 && w->flush[0].npages >= 1);
    for (unsigned i = 0; i < w->change_count; i++)
        assert_false(is_shadow_present_pte(w->change[i].old_spte) &&
                     is_shadow_present_pte(w->change[i].new_spte));
    assert_int_equal(stats_of(w->kvm).pages_4k, 1);
    world_free(w);
}

/* max_level is lowered by alignment of the pfn, slot bounds, dirty logging, hva. */
static void level_is_lowered(void **state)
{
    const gfn_t base = 16ull * GIB_PAGES;
    struct world *w = world_new(TDPMMU_NPT, 4);
    int level;

    (void)state;
    /* pfn congruent for 2M but not for 1G; then not even for 2M. */
    assert_int_equal(fault_on(w, w->vcpu, 5, 2, true, 3, 512 + 5, false), RET_PF_FIXED);
    walk_end(w->vcpu, 5, &level);
    assert_int_equal(level, 2);
    assert_int_equal(fault_on(w, w->vcpu, 512 + 5, 2, true, 3, 512 + 6, false), RET_PF_FIXED);
    walk_end(w->vcpu, 512 + 5, &level);
    assert_int_equal(level, 1);

    /* A ragged slot: its head and tail must stay 4K, the middle may be 2M. */
    assert_int_equal(add_slot(w->kvm, 1, 0, base + 500, 1024, (base + 500) << 12), 0);
    assert_int_equal(map_page(w, base + 505, 3), RET_PF_FIXED);
    assert_int_equal(map_page(w, base + 512, 3), RET_PF_FIXED);
    assert_int_equal(map_page(w, base + 1030, 3), RET_PF_FIXED);
    assert_int_not_equal(spte_at(w->vcpu, base + 505, 1), NO_SPTE);
    assert_int_not_equal(spte_at(w->vcpu, base + 512, 2), NO_SPTE);
    assert_int_not_equal(spte_at(w->vcpu, base + 1030, 1), NO_SPTE);

    /* Host and guest addresses differ modulo 2M. */
    assert_int_equal(add_slot(w->kvm, 2, 0, base + 4096, 2048, 0x200000 + 0x1000), 0);
    assert_int_equal(map_page(w, base + 4096, 2), RET_PF_FIXED);
    assert_int_not_equal(spte_at(w->vcpu, base + 4096, 1), NO_SPTE);

    assert_int_equal(add_slot(w->kvm, 3, KVM_MEM_LOG_DIRTY_PAGES, base + 8192, 2048, 0x200000), 0);
    assert_int_equal(map_page(w, base + 8192, 2), RET_PF_FIXED);
    assert_int_not_equal(spte_at(w->vcpu, base + 8192, 1), NO_SPTE);
    world_free(w);
}

/* A 4K fault under a huge leaf splits it: 512 children with its rights, no flush. */
static void huge_leaf_is_split(void **state)
{
    (void)state;
    for (int vendor = 0; vendor <= 1; vendor++) {
        struct world *w = world_new((enum tdpmmu_vendor)vendor, 4);
        const uint64_t dirty = vendor == TDPMMU_EPT ? EPT_D : BIT(6);
        const gfn_t gfn = 512 + 77;
        uint64_t huge;
        int ret;

        map_pages(w, 512, 1, 2);
        huge = spte_at(w->vcpu, 512, 2);
        world_forget(w);
        ret = map_page(w, gfn, 1);
        assert_true(ret == RET_PF_SPURIOUS || ret == RET_PF_FIXED);
        assert_int_equal(w->flush_count, 0);
        assert_int_equal(w->change[0].level, 2);
        assert_int_equal(w->change[0].old_spte, huge);
        for (gfn_t g = 512; g < 1024; g++) {
            uint64_t expect = (huge & ~PSE) + ((g - 512) << 12);
            uint64_t got = spte_at(w->vcpu, g, 1);

            assert_int_equal(got & ~(g == gfn ? dirty : 0), expect & ~(g == gfn ? dirty : 0));
        }
        assert_int_equal(stats_of(w->kvm).pages_2m, 0);
        assert_int_equal(stats_of(w->kvm).pages_4k, 512);
        world_free(w);
    }
}

static void split_of_1g(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 5);
    uint64_t pfn = pfn_for(GIB_PAGES);

    (void)state;
    map_pages(w, GIB_PAGES, 1, 3);
    map_page(w, GIB_PAGES + 5 * 512 + 3, 1);
    assert_int_equal(stats_of(w->kvm).pages_1g, 0);
    assert_int_equal(stats_of(w->kvm).pages_2m, 511);
    assert_int_equal(stats_of(w->kvm).pages_4k, 512);
    assert_int_equal(spte_at(w->vcpu, GIB_PAGES, 2), pfn << 12 | 0xee7);
    assert_int_equal(spte_at(w->vcpu, GIB_PAGES + 511 * 512, 2), (pfn + 511 * 512) << 12 | 0xee7);
    assert_int_equal(spte_at(w->vcpu, GIB_PAGES + 5 * 512, 1), (pfn + 5 * 512) << 12 | 0xe67);
    world_free(w);
}

/* A 2M fault where a table of 4K pages stands: the table goes, flushed inside RCU. */
static void table_replaced_by_huge_leaf(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    uint64_t table;
    unsigned frozen = 0;
    bool covered = false;

    (void)state;
    map_pages(w, 512, 20, 1);
    table = spte_on_way(w->vcpu, 512, 2);
    world_forget(w);
    assert_int_equal(map_page(w, 512 + 3, 2), RET_PF_FIXED);
    /* Dirty, although the table's entry was writable before: so does Linux 6.12. */
    assert_int_equal(spte_at(w->vcpu, 512, 2), pfn_for(512) << 12 | 0xee7);
    assert_int_equal(w->change[0].level, 2); /* the parent first */
    assert_int_equal(w->change[0].old_spte, table);
    for (unsigned i = 1; i < w->change_count; i++) {
        assert_int_equal(w->change[i].level, 1);
        assert_in_range(w->change[i].gfn, 512, 1023);
        frozen += is_shadow_present_pte(w->change[i].old_spte);
    }
    assert_int_equal(frozen, 20);
    for (unsigned i = 0; i < w->flush_count; i++) {
        assert_true(w->flush[i].in_rcu);
        covered |= w->flush[i].start <= 512 && w->flush[i].npages >= 512;
    }
    assert_true(covered);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    assert_int_equal(stats_of(w->kvm).pages_2m, 1);
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 3);
    assert_int_equal(stats_of(w->kvm).tables_stray, 0);
    world_free(w);
}

/* ---- MMIO ------------------------------------------------------------------ */

static void mmio_spte(void **state)
{
    const gfn_t gfn = 0xfeb00;

    (void)state;
    for (int vendor = 0; vendor <= 1; vendor++) {
        struct world *w = world_new((enum tdpmmu_vendor)vendor, 4);
        uint64_t gen, spte, expect;

        assert_int_equal(delete_slot(w->kvm, 0), 0);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        world_forget(w);
        gen = tdpmmu_memslots_generation(w->kvm, 0) & 0x7ffff;
        assert_int_equal(fault_on(w, w->vcpu, gfn, 0, true, 3, KVM_PFN_NOSLOT, false),
                         RET_PF_EMULATE);
        spte = spte_at(w->vcpu, gfn, 1);
        expect = gfn << 12 | (gen & 0xff) << 3 | (gen >> 8) << 52 |
                 (vendor == TDPMMU_EPT ? 6 : BIT(51) | 7);
        assert_int_equal(spte, expect);
        assert_true(is_mmio_spte(w->kvm, spte));
        assert_false(is_shadow_present_pte(spte));
        assert_int_equal(get_mmio_spte_generation(spte), gen);
        assert_int_equal(get_mmio_spte_gfn(w->kvm, spte), gfn);
        assert_int_equal(stats_of(w->kvm).mmio_sptes, 1);
        assert_int_equal(stats_of(w->kvm).faults_emulated, 1);

        /* Again: emulated again, nothing installed. */
        world_forget(w);
        assert_int_equal(fault_on(w, w->vcpu, gfn, 0, true, 3, KVM_PFN_NOSLOT, false),
                         RET_PF_EMULATE);
        assert_int_equal(w->change_count, 0);

        /* Stale after a slot change, then a page: the slot appears there. */
        assert_int_equal(add_slot(w->kvm, 0, 0, gfn & ~511ull, 512, WORLD_HVA), 0);
        assert_true(get_mmio_spte_generation(spte) !=
                    (tdpmmu_memslots_generation(w->kvm, 0) & 0x7ffff));
        assert_int_equal(map_page(w, gfn, 1), RET_PF_FIXED);
        assert_true(mapped(w->vcpu, gfn));
        world_free(w);
    }
}

/*
 * The 19 bits of the generation, all of them, sit around the address.
 * To put the bug in: shift the upper half by 53 in mmioGeneration of PageTable/SPTE.swift.
 */
static void mmio_generation_bits(void **state)
{
    (void)state;
    assert_int_equal(get_mmio_spte_generation(UINT64_C(0xff) << 3), 0xff);
    assert_int_equal(get_mmio_spte_generation(UINT64_C(1) << 52), 0x100);
    assert_int_equal(get_mmio_spte_generation(UINT64_C(0x7ff) << 52), 0x7ff00);
    assert_int_equal(get_mmio_spte_generation(UINT64_C(1) << 63), 0);
    assert_int_equal(get_mmio_spte_generation(UINT64_C(0x80000feb00037)), 6); /* a real one */
}

/*
 * Written and read, with bits in the upper half, which small generations do not have.
 * "MMIO generation's upper half shifted wrongly": to put it in, shift by another number
 * than 52 in mmioGenerationBits() or mmioGeneration of PageTable/SPTE.swift.
 */
static void mmio_generation_above_255(void **state)
{
    const gfn_t gfn = 0xfeb00;

    (void)state;
    for (int vendor = 0; vendor <= 1; vendor++) {
        struct world *w = world_new((enum tdpmmu_vendor)vendor, 4);
        uint64_t gen = 0, spte;

        assert_int_equal(delete_slot(w->kvm, 0), 0);
        for (unsigned i = 0; i < 1000 && gen < 0x350; i++) {
            assert_int_equal(add_slot(w->kvm, 1, 0, 0, 1, WORLD_HVA), 0);
            assert_int_equal(delete_slot(w->kvm, 1), 0);
            gen = tdpmmu_memslots_generation(w->kvm, 0);
        }
        assert_in_range(gen, 0x350, 0x3ff);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, 0), RET_PF_EMULATE);
        spte = spte_at(w->vcpu, gfn, 1);
        assert_int_equal(spte, gfn << 12 | (gen & 0xff) << 3 | (gen >> 8) << 52 |
                                   (vendor == TDPMMU_EPT ? 6 : BIT(51) | 7));
        assert_int_equal(get_mmio_spte_generation(spte), gen);
        assert_int_equal(get_mmio_spte_gfn(w->kvm, spte), gfn);
        world_free(w);
    }
}

struct beside {
    struct kvm_vcpu *vcpu;
    gfn_t gfn;
    int ret;
};

static void *fault_beside(void *arg)
{
    struct beside *beside = arg;

    beside->ret = kvm_mmu_load(beside->vcpu);
    if (beside->ret == 0)
        beside->ret = kvm_tdp_mmu_page_fault(beside->vcpu, beside->gfn << 12, PFERR_WRITE_MASK);
    return NULL;
}

static struct beside beside;

static void fault_once(struct world *w, const struct change *change)
{
    pthread_t thread;

    (void)change;
    w->on_change = NULL;
    pthread_create(&thread, NULL, fault_beside, &beside);
    pthread_join(thread, NULL);
}

/*
 * 1. The slot is marked as one that goes; what it mapped is being zapped.
 * 2. Another vCPU faults there: neither memory nor MMIO yet.
 * 3. The slot is gone: MMIO.
 * "A deleted slot treated as MMIO over a present SPTE": to put it in, have the two
 * fault paths (MMU/PageFault.swift, MMU/Fault.swift) take an invalid slot for none.
 */
static void fault_while_the_slot_goes(void **state)
{
    (void)state;
    for (int moved = 0; moved < 2; moved++) {
        struct world *w = world_new(TDPMMU_EPT, 4);

        beside = (struct beside){ .vcpu = tdpmmu_create_vcpu(w->kvm, 1), .gfn = 7, .ret = -1 };
        map_pages(w, 0, 16, 1);
        w->on_change = fault_once;
        assert_int_equal(moved ? add_slot(w->kvm, 0, 0, 64 * GIB_PAGES, WORLD_SLOT_PAGES, WORLD_HVA)
                               : delete_slot(w->kvm, 0), 0);
        assert_null(w->on_change);
        assert_int_equal(beside.ret, RET_PF_RETRY);
        assert_int_equal(stats_of(w->kvm).mmio_sptes, 0);
        fault_beside(&beside);
        assert_int_equal(beside.ret, RET_PF_EMULATE);
        assert_int_equal(stats_of(w->kvm).mmio_sptes, 1);
        world_free(w);
    }
}

/*
 * An entry that somebody else holds frozen is theirs, at whatever level the fault meets it.
 * "A frozen entry taken for the target": to put it in, drop the looks at isFrozen from
 * install() of MMU/Fault.swift and from set() of MMU/SPTEChange.swift.
 */
static void frozen_entry_is_left(void **state)
{
    (void)state;
    for (int vendor = 0; vendor <= 1; vendor++)
        for (int level = 1; level <= 3; level++) {
            struct world *w = world_new((enum tdpmmu_vendor)vendor, 4);
            const gfn_t gfn = KVM_PAGES_PER_HPAGE(level);
            uint64_t *entry;

            map_pages(w, 0, 1, 1); /* so that there is a table at each level */
            world_forges(w);
            entry = entry_of(w->vcpu, gfn, level);
            __atomic_store_n(entry, FROZEN_SPTE, __ATOMIC_RELEASE);
            world_forget(w);
            for (int target = 1; target <= level; target++)
                assert_int_equal(map_page(w, gfn, target), RET_PF_RETRY);
            assert_int_equal(w->change_count, 0);
            assert_int_equal(__atomic_load_n(entry, __ATOMIC_ACQUIRE), FROZEN_SPTE);
            __atomic_store_n(entry, SHADOW_NONPRESENT_VALUE, __ATOMIC_RELEASE);
            world_free(w);
        }
}

/* NPT with 52 address bits has no reserved bit: MMIO is emulated, not cached. */
static void no_mmio_caching(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .maxphyaddr = 52 });
    const gfn_t gfn = 16ull * GIB_PAGES;

    (void)state;
    assert_int_equal(fault_on(w, w->vcpu, gfn, 0, true, 1, KVM_PFN_NOSLOT, false), RET_PF_EMULATE);
    assert_false(mapped(w->vcpu, gfn));
    assert_int_equal(stats_of(w->kvm).mmio_sptes, 0);
    world_free(w);
}

/* ---- answers --------------------------------------------------------------- */

static void answers(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    const gfn_t gfn = 16ull * GIB_PAGES;
    struct kvm_vcpu *second = tdpmmu_create_vcpu(w->kvm, 1);

    (void)state;
    assert_int_equal(fault_on(w, w->vcpu, 1, 0, true, 1, KVM_PFN_ERR_FAULT, false), -EFAULT);
    assert_int_equal(fault_on(w, w->vcpu, 1, 0, true, 1, KVM_PFN_ERR_HWPOISON, false), -EHWPOISON);
    assert_int_equal(fault_on(w, w->vcpu, 1, PFERR_WRITE_MASK, true, 1, KVM_PFN_ERR_RO_FAULT, false),
                     RET_PF_EMULATE);
    assert_int_equal(w->change_count, 0);
    assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_READONLY, gfn, 512, WORLD_HVA), 0);
    assert_int_equal(map_page(w, gfn, 1), RET_PF_EMULATE);
    assert_int_equal(fault_on(w, w->vcpu, gfn, 0, true, 1, pfn_for(gfn), false), RET_PF_FIXED);
    assert_false(is_writable_pte(spte_at(w->vcpu, gfn, 1)));
    /* No root, or an invalidated one. */
    assert_int_equal(fault_on(w, second, 0, 0, true, 1, 5, false), RET_PF_RETRY);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(map_page(w, 0, 1), RET_PF_RETRY);
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    assert_int_equal(stats_of(w->kvm).faults_retried, 2);
    world_free(w);
}

/* ---- no A/D bits ------------------------------------------------------------ */

static void without_ad_bits(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .ad_disabled = 1 });
    const uint64_t bits = EPT_RWX | EPT_WB | EPT_IPAT | MMU_PRESENT | BIT(52) | EPT_HOST_MMU_W |
                          EPT_SVE;
    uint64_t spte;

    (void)state;
    assert_int_equal(tdpmmu_vcpu_root(w->vcpu)->role.ad_disabled, 1);
    map_pages(w, 3, 1, 1);
    spte = spte_at(w->vcpu, 3, 1);
    assert_int_equal(spte, pfn_for(3) << 12 | bits);
    assert_int_equal(spte_on_way(w->vcpu, 3, 2) & ~PA_MASK,
                     EPT_RWX | MMU_PRESENT | BIT(52) | EPT_SVE);
    assert_true(is_accessed_spte(w->kvm, spte));
    assert_true(is_dirty_spte(w->kvm, spte));

    /* Prefault: access-tracked, R and X saved at 54 and 56. */
    assert_int_equal(fault_on(w, w->vcpu, 4, PFERR_WRITE_MASK, true, 1, pfn_for(4), true),
                     RET_PF_FIXED);
    spte = spte_at(w->vcpu, 4, 1);
    assert_int_equal(spte, pfn_for(4) << 12 | (bits & ~EPT_RWX) | BIT(54) | BIT(56));
    assert_false(is_accessed_spte(w->kvm, spte));
    /* The access itself makes it whole. */
    assert_int_equal(map_page(w, 4, 1), RET_PF_FIXED);
    assert_int_equal(spte_at(w->vcpu, 4, 1), pfn_for(4) << 12 | bits);
    world_free(w);
}

static void bits_by_vendor(void **state)
{
    struct world *ept = world_new(TDPMMU_EPT, 4), *npt = world_new(TDPMMU_NPT, 4);

    (void)state;
    assert_true(is_accessed_spte(ept->kvm, EPT_WRITABLE));
    assert_false(is_accessed_spte(ept->kvm, EPT_WRITABLE & ~EPT_A));
    assert_true(is_dirty_spte(ept->kvm, EPT_WRITABLE));
    assert_false(is_dirty_spte(ept->kvm, EPT_WRITABLE & ~EPT_D));
    assert_true(is_executable_pte(ept->kvm, EPT_WRITABLE));
    assert_false(is_executable_pte(ept->kvm, EPT_WRITABLE & ~UINT64_C(4)));
    assert_true(is_accessed_spte(npt->kvm, 0xe67));
    assert_false(is_accessed_spte(npt->kvm, 0xe47));
    assert_true(is_dirty_spte(npt->kvm, 0xe67));
    assert_false(is_dirty_spte(npt->kvm, 0xe27));
    assert_true(is_executable_pte(npt->kvm, 0xe67));
    assert_false(is_executable_pte(npt->kvm, BIT(63) | 0xe67));
    assert_false(is_mmio_spte(ept->kvm, SHADOW_NONPRESENT_VALUE));
    assert_false(is_mmio_spte(npt->kvm, SHADOW_NONPRESENT_VALUE));
    assert_false(is_mmio_spte(ept->kvm, FROZEN_SPTE));
    assert_false(is_mmio_spte(npt->kvm, FROZEN_SPTE));
    world_free(ept);
    world_free(npt);
}

/* ---- the simulated CPU -------------------------------------------------------- */

static void cpu_access(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    uint64_t error_code = 0, clean;

    (void)state;
    assert_int_equal(tdpmmu_cpu_access(w->vcpu, 0x5000, PFERR_WRITE_MASK, &error_code), 0);
    assert_int_equal(error_code & PFERR_WRITE_MASK, PFERR_WRITE_MASK);
    assert_int_equal(error_code & PFERR_PRESENT_MASK, 0);
    assert_int_equal(fault_on(w, w->vcpu, 5, PFERR_WRITE_MASK, true, 1, pfn_for(5), true),
                     RET_PF_FIXED); /* prefault: A clear */
    clean = spte_at(w->vcpu, 5, 1);
    assert_false(is_accessed_spte(w->kvm, clean));
    assert_int_equal(tdpmmu_cpu_access(w->vcpu, 0x5008, 0, NULL), 1);
    assert_true(is_accessed_spte(w->kvm, spte_at(w->vcpu, 5, 1)));
    assert_int_equal(fault_on(w, w->vcpu, 6, 0, false, 1, pfn_for(6), false), RET_PF_FIXED);
    assert_int_equal(tdpmmu_cpu_access(w->vcpu, 0x6000, 0, NULL), 1);
    assert_int_equal(tdpmmu_cpu_access(w->vcpu, 0x6000, PFERR_WRITE_MASK, &error_code), 0);
    assert_int_equal(error_code & (PFERR_PRESENT_MASK | PFERR_WRITE_MASK),
                     PFERR_PRESENT_MASK | PFERR_WRITE_MASK);
    map_pages(w, GIB_PAGES, 1, 3);
    assert_int_equal(tdpmmu_cpu_access(w->vcpu, (GIB_PAGES + 999) << 12, PFERR_FETCH_MASK, NULL), 3);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_sptes),
        cmocka_unit_test(changes_are_told),
        cmocka_unit_test(repeated_fault),
        cmocka_unit_test(upgrade_and_downgrade),
        cmocka_unit_test(other_pfn),
        cmocka_unit_test(level_is_lowered),
        cmocka_unit_test(huge_leaf_is_split),
        cmocka_unit_test(split_of_1g),
        cmocka_unit_test(table_replaced_by_huge_leaf),
        cmocka_unit_test(mmio_spte),
        cmocka_unit_test(mmio_generation_bits),
        cmocka_unit_test(mmio_generation_above_255),
        cmocka_unit_test(fault_while_the_slot_goes),
        cmocka_unit_test(frozen_entry_is_left),
        cmocka_unit_test(no_mmio_caching),
        cmocka_unit_test(answers),
        cmocka_unit_test(without_ad_bits),
        cmocka_unit_test(bits_by_vendor),
        cmocka_unit_test(cpu_access),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
