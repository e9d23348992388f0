/* SPDX-License-Identifier: GPL-2.0-only */
/* CPUs with caches: what they use, fill and forget, what they make of entries, and what they report. */
#include "test_helpers.h"

#define GUEST_TABLES (UINT64_C(1) << 33)
#define VIOLATION TDPMMU_CPU_EXIT_VIOLATION

struct told {
    unsigned count;
    struct tdpmmu_cpu_report last;
    char text[80], operation[64], filled_by[64];
};

static void note(void *ctx, struct kvm *kvm, const struct tdpmmu_cpu_report *report)
{
    struct told *told = ctx;

    assert_non_null(kvm);
    assert_int_equal(report->size, sizeof(*report));
    told->count++;
    told->last = *report;
    snprintf(told->text, sizeof(told->text), "%s", report->text);
    snprintf(told->operation, sizeof(told->operation), "%s", report->operation ? report->operation : "");
    snprintf(told->filled_by, sizeof(told->filled_by), "%s", report->filled_by ? report->filled_by : "");
}

static void attach(struct world *w, uint32_t flags, struct told *told)
{
    struct tdpmmu_cpus_config config = {
        .size = sizeof(config), .flags = flags, .seed = 1, .report = told ? note : NULL, .ctx = told };

    assert_int_equal(tdpmmu_cpus_attach(w->kvm, &config), 0);
}

static struct world *quiet(enum tdpmmu_vendor vendor, uint32_t more)
{
    struct world *w = world_new(vendor, 4);

    attach(w, TDPMMU_CPUS_FILL_NEVER | more, NULL);
    return w;
}

static struct tdpmmu_cpu_result look(struct kvm_vcpu *vcpu, gfn_t gfn, uint64_t access, int expected)
{
    struct tdpmmu_cpu_result result;

    memset(&result, 0xff, sizeof(result));
    assert_int_equal(tdpmmu_cpu_access_full(vcpu, gfn << 12, access, &result), expected);
    return result;
}

/* A walk is a walk, and the next access a hit: same frame, same entry. */
static void hit_after_walk(void **state)
{
    (void)state;
    for (int vendor = 0; vendor < 2; vendor++) {
        struct world *w = quiet(vendor, 0);
        struct tdpmmu_cpu_result first, second;

        map_pages(w, 0x1000, 4, 1);
        first = look(w->vcpu, 0x1002, PFERR_WRITE_MASK, 1);
        assert_false(first.hit);
        assert_int_equal(first.level, 1);
        assert_int_equal(first.pfn, pfn_for(0x1002));
        assert_int_equal(first.spte, spte_at(w->vcpu, 0x1002, 1));
        assert_int_equal(first.exit_reason, TDPMMU_CPU_EXIT_NONE);
        second = look(w->vcpu, 0x1002, PFERR_WRITE_MASK, 1);
        assert_true(second.hit);
        assert_int_equal(second.pfn, first.pfn);
        assert_int_equal(second.spte, first.spte);
        assert_false(look(w->vcpu, 0x1003, 0, 1).hit);
        assert_int_equal(tdpmmu_cpu_access(w->vcpu, UINT64_C(0x1003) << 12, 0, NULL), 1);
        world_free(w);
    }
}

static void pieces_and_wholes(void **state)
{
    (void)state;
    struct world *w = quiet(TDPMMU_EPT, TDPMMU_CPUS_PIECES);

    map_pages(w, 0x40000, 512, 2);
    assert_int_equal(look(w->vcpu, 0x40003, 0, 2).pfn, pfn_for(0x40003));
    assert_true(look(w->vcpu, 0x40003, 0, 2).hit);
    assert_false(look(w->vcpu, 0x40004, 0, 2).hit);
    assert_int_equal(tdpmmu_cpus_detach(w->kvm), 0);
    attach(w, TDPMMU_CPUS_FILL_NEVER | TDPMMU_CPUS_WHOLES, NULL);
    assert_false(look(w->vcpu, 0x40003, 0, 2).hit);
    assert_int_equal(look(w->vcpu, 0x401ff, 0, 2).pfn, pfn_for(0x401ff));
    assert_true(look(w->vcpu, 0x401ff, 0, 2).hit);
    /* A flush of one page of it takes all of it, and nothing beside it. */
    map_pages(w, 0x40200, 512, 2);
    look(w->vcpu, 0x40200, 0, 2);
    kvm_flush_remote_tlbs_range(w->kvm, 0x401ff, 1);
    assert_false(look(w->vcpu, 0x40000, 0, 2).hit);
    assert_true(look(w->vcpu, 0x40200, 0, 2).hit);
    world_free(w);
}

static void weak_flush_drops_all(void **state)
{
    (void)state;
    struct world *w = quiet(TDPMMU_NPT, TDPMMU_CPUS_WEAK);

    map_pages(w, 0x1000, 2, 1);
    look(w->vcpu, 0x1000, 0, 1);
    kvm_flush_remote_tlbs_range(w->kvm, 0x9000, 1);
    assert_false(look(w->vcpu, 0x1000, 0, 1).hit);
    world_free(w);
}

/* Nothing is cached of what is not there: a fault is followed by the page, without a flush. */
static void no_negative_caching(void **state)
{
    (void)state;
    struct world *w = quiet(TDPMMU_EPT, 0);
    struct tdpmmu_cpu_result r = look(w->vcpu, 0x2000, 0, 0);

    assert_int_equal(r.exit_reason, VIOLATION);
    assert_int_equal(r.exit_info, 1 | 1 << 7 | 1 << 8);
    assert_int_equal(r.error_code, 0);
    map_pages(w, 0x2000, 1, 1);
    assert_int_equal(look(w->vcpu, 0x2000, 0, 1).pfn, pfn_for(0x2000));
    world_free(w);
}

/* A write that finds Dirty clear in what is cached walks again, and sets it; a read sets none. */
static void dirty_by_a_write_only(void **state)
{
    (void)state;
    for (int vendor = 0; vendor < 2; vendor++) {
        struct world *w = quiet(vendor, 0);
        const uint64_t dirty = vendor == TDPMMU_EPT ? 1 << 9 : 1 << 6, accessed = vendor == TDPMMU_EPT ? 1 << 8 : 1 << 5;
        uint64_t *entry;

        map_pages(w, 0x1000, 1, 1);
        entry = entry_of(w->vcpu, 0x1000, 1);
        *entry &= ~(dirty | accessed);
        assert_int_equal(tdpmmu_cpu_fill(w->vcpu, 0x1000 << 12), 1);
        assert_int_equal(*entry & (dirty | accessed), accessed);
        assert_true(look(w->vcpu, 0x1000, 0, 1).hit);
        assert_int_equal(*entry & dirty, 0);
        assert_false(look(w->vcpu, 0x1000, PFERR_WRITE_MASK, 1).hit);
        assert_int_equal(*entry & dirty, dirty);
        assert_true(look(w->vcpu, 0x1000, PFERR_WRITE_MASK, 1).hit);
        /* Aging drops nothing: what is used by a hit sets no bit. */
        *entry &= ~accessed;
        assert_true(look(w->vcpu, 0x1000, 0, 1).hit);
        assert_int_equal(*entry & accessed, 0);
        world_free(w);
    }
}

/* W is cleared and flushed: the write faults.  Cleared and not flushed: used at once, or a spurious fault, and dropped. */
static void stale_rights(void **state)
{
    (void)state;
    struct world *w = quiet(TDPMMU_EPT, TDPMMU_CPUS_STALE_FAULTS);
    struct tdpmmu_cpu_result r;

    assert_int_equal(fault_on(w, w->vcpu, 0x1000, 0, false, 1, pfn_for(0x1000), false), RET_PF_FIXED);
    look(w->vcpu, 0x1000, 0, 1);
    /* The library gives more: no flush is owed, and the CPU does not know yet. */
    assert_int_equal(map_page(w, 0x1000, 1), RET_PF_FIXED);
    r = look(w->vcpu, 0x1000, PFERR_WRITE_MASK, 0);
    assert_true(r.hit);
    assert_int_equal(r.error_code, PFERR_WRITE_MASK | PFERR_PRESENT_MASK);
    assert_int_equal(r.exit_info, 2 | 5 << 3 | 1 << 7 | 1 << 8);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, 0x1000 << 12, r.error_code), RET_PF_SPURIOUS);
    r = look(w->vcpu, 0x1000, PFERR_WRITE_MASK, 1);
    assert_false(r.hit);
    world_free(w);
}

static void guest_walks(void **state)
{
    (void)state;
    struct world *w = quiet(TDPMMU_EPT, 0), *npt = quiet(TDPMMU_NPT, 0);
    struct world *no_ad = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT, .ad_disabled = 1, .maxphyaddr = 46 });
    struct tdpmmu_cpu_result r;

    attach(no_ad, TDPMMU_CPUS_FILL_NEVER, NULL);
    for (int i = 0; i < 3; i++) {
        struct world *one = i == 0 ? w : i == 1 ? npt : no_ad;

        assert_int_equal(fault_on(one, one->vcpu, 0x1000, 0, false, 1, pfn_for(0x1000), false), RET_PF_FIXED);
    }
    r = look(w->vcpu, 0x1000, GUEST_TABLES, 0);
    assert_int_equal(r.exit_info, 3 | 5 << 3 | 1 << 7);
    assert_int_equal(r.error_code, GUEST_TABLES | PFERR_WRITE_MASK | PFERR_PRESENT_MASK);
    r = look(npt->vcpu, 0x1000, GUEST_TABLES, 0);
    assert_int_equal(r.exit_reason, TDPMMU_CPU_EXIT_NPF);
    assert_int_equal(r.exit_info, GUEST_TABLES | 7);
    look(no_ad->vcpu, 0x1000, GUEST_TABLES, 1);
    world_free(w);
    world_free(npt);
    world_free(no_ad);
}

/* Entries that a mistake has written: the CPU's own answer, and no crash. */
static void forged_entries(void **state)
{
    (void)state;
    static const struct { enum tdpmmu_vendor vendor; uint64_t set, clear; int level; uint32_t reason; uint64_t code; } row[] = {
        { TDPMMU_EPT, UINT64_C(1) << 46, 0, 1, TDPMMU_CPU_EXIT_MISCONFIG, 9 },      /* MAXPHYADDR */
        { TDPMMU_EPT, 0, 1, 1, TDPMMU_CPU_EXIT_MISCONFIG, 9 },                      /* W without R */
        { TDPMMU_EPT, 1 << 3, 0, 1, TDPMMU_CPU_EXIT_MISCONFIG, 9 },                 /* memory type 7 */
        { TDPMMU_EPT, 1 << 3, 0, 2, TDPMMU_CPU_EXIT_MISCONFIG, 9 },                 /* a table's bit 3 */
        { TDPMMU_EPT, 1 << 7, 0, 4, TDPMMU_CPU_EXIT_MISCONFIG, 9 },                 /* a leaf of 512G */
        { TDPMMU_EPT, 0, 7, 1, VIOLATION, 0 },
        { TDPMMU_EPT, 0, 7, 3, VIOLATION, 0 },
        { TDPMMU_NPT, UINT64_C(1) << 51, 0, 1, TDPMMU_CPU_EXIT_NPF, 9 },
        { TDPMMU_NPT, 1 << 7, 0, 4, TDPMMU_CPU_EXIT_NPF, 9 },
        { TDPMMU_NPT, 0, 1 << 2, 1, TDPMMU_CPU_EXIT_NPF, 1 },                       /* no user's page */
        { TDPMMU_NPT, 0, 1, 2, TDPMMU_CPU_EXIT_NPF, 0 },
    };

    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct world *w = quiet(row[i].vendor, 0);
        uint64_t *entry, old;
        struct tdpmmu_cpu_result r;

        map_pages(w, 0x1000, 1, 1);
        entry = entry_of(w->vcpu, 0x1000, row[i].level);
        old = *entry;
        *entry = (old | row[i].set) & ~row[i].clear;
        r = look(w->vcpu, 0x1000, 0, 0);
        if (r.exit_reason != row[i].reason || r.error_code != row[i].code)
            fail_msg("row %zu: reason %u, code 0x%llx", i, r.exit_reason, (unsigned long long)r.error_code);
        if (row[i].vendor == TDPMMU_NPT)
            assert_int_equal(r.exit_info, r.error_code | 4 | UINT64_C(1) << 32);
        assert_int_equal(r.level, row[i].level);
        assert_int_equal(tdpmmu_cpu_fill(w->vcpu, 0x1000 << 12), 0);
        *entry = old;
        look(w->vcpu, 0x1000, 0, 1);
        world_free(w);
    }
}

static void wild_tables(void **state)
{
    (void)state;
    static const uint64_t wild[] = { 0, 0x1000, UINT64_C(0x3fff) << 32, UINT64_C(0x12345) << 12, 0x200000, UINT64_C(0x3fffffff) << 12 };
    struct world *w = quiet(TDPMMU_EPT, 0);
    uint64_t *entry, old;

    map_pages(w, 0x1000, 1, 1);
    entry = entry_of(w->vcpu, 0x1000, 3);
    old = *entry;
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        *entry = (old & ~UINT64_C(0x3ffffffff000)) | wild[i];
        world_forget(w);
        look(w->vcpu, 0x1000, 0, 0);
        assert_int_equal(warnings(w), 1);
    }
    *entry = old;
    world_forget(w);
    look(w->vcpu, 0x1000, 0, 1);
    world_free(w);
}

/* What a CPU was not told to forget it uses, and that is reported once nobody can be about to tell it. */
static void lost_flush_is_reported(void **state)
{
    (void)state;
    struct told told = { 0 };
    struct world *w = world_new(TDPMMU_EPT, 4);
    uint64_t *entry, old;
    struct tdpmmu_cpu_result r;

    attach(w, TDPMMU_CPUS_FILL_NEVER, &told);
    assert_int_equal(map_page(w, 0x1000, 1), RET_PF_FIXED);
    look(w->vcpu, 0x1000, PFERR_WRITE_MASK, 1);
    entry = entry_of(w->vcpu, 0x1000, 1);
    old = *entry;
    *entry = SHADOW_NONPRESENT_VALUE; /* behind the library's back */
    r = look(w->vcpu, 0x1000, PFERR_WRITE_MASK, 1);
    assert_true(r.hit);
    assert_int_equal(told.count, 1);
    assert_int_equal(warnings(w), 1);
    assert_int_equal(told.last.gfn, 0x1000);
    assert_int_equal(told.last.npages, 1);
    assert_int_equal(told.last.level, 1);
    assert_int_equal(told.last.cached_spte, r.spte);
    assert_int_equal(told.last.present_spte, SHADOW_NONPRESENT_VALUE);
    assert_ptr_equal(told.last.vcpu, w->vcpu);
    assert_string_equal(told.operation, "kvm_tdp_mmu_map");
    assert_string_equal(told.filled_by, "kvm_tdp_mmu_map");
    /* Another frame, or fewer rights, or no way there: the same. */
    *entry = old + 0x1000;
    look(w->vcpu, 0x1000, PFERR_WRITE_MASK, 1);
    assert_int_equal(told.count, 2);
    *entry = old & ~(UINT64_C(1) << 2);
    look(w->vcpu, 0x1000, PFERR_WRITE_MASK, 1);
    assert_int_equal(told.count, 3);
    *entry = old;
    look(w->vcpu, 0x1000, PFERR_WRITE_MASK, 1);
    assert_int_equal(told.count, 3);
    assert_int_equal(tdpmmu_cpus_detach(w->kvm), 3);
    world_forget(w);
    world_free(w);
}

/* A caller who was told that it owes a flush, and lets go of the lock without. */
static void caller_forgets_to_flush(void **state)
{
    (void)state;
    struct told told = { 0 };
    struct world *w = world_new(TDPMMU_NPT, 4);

    attach(w, TDPMMU_CPUS_FILL_NEVER, &told);
    for (int flushes = 1; flushes >= 0; flushes--) {
        assert_int_equal(map_page(w, 0x1000, 1), RET_PF_FIXED);
        look(w->vcpu, 0x1000, 0, 1);
        write_lock(&w->kvm->mmu_lock);
        assert_true(kvm_tdp_mmu_zap_leafs(w->kvm, 0x1000, 0x1001, false));
        /* Not due yet. */
        assert_true(look(w->vcpu, 0x1000, 0, 1).hit);
        assert_int_equal(told.count, 0);
        if (flushes)
            kvm_flush_remote_tlbs_range(w->kvm, 0x1000, 1);
        write_unlock(&w->kvm->mmu_lock);
        /* As he lets go, it is found, and told once. */
        assert_int_equal(told.count, !flushes);
        look(w->vcpu, 0x1000, 0, 0);
        assert_int_equal(told.count, !flushes);
    }
    world_forget(w);
    kvm_flush_remote_tlbs(w->kvm);
    world_free(w);
}

/* Each operation that pays for itself, against CPUs that fill whenever they can: silence. */
static void right_operations_are_silent(void **state)
{
    (void)state;
    static const uint32_t flags[] = {
        TDPMMU_CPUS_FILL_ALWAYS | TDPMMU_CPUS_PIECES, TDPMMU_CPUS_FILL_ALWAYS | TDPMMU_CPUS_WHOLES, 0, TDPMMU_CPUS_EVICT | TDPMMU_CPUS_WEAK };

    for (int i = 0; i < 8; i++) {
        struct told told = { 0 };
        struct world *w = world_new(i / 4 ? TDPMMU_NPT : TDPMMU_EPT, 4);
        uint64_t bitmap[16384 / 64] = { 0 };
        struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };

        world_forges(w); /* a host that takes pages, and still maps 2M of which they are a part */
        attach(w, flags[i % 4], &told);
        assert_int_equal(delete_slot(w->kvm, 0), 0);
        for (int round = 0; round < 3; round++) {
            assert_int_equal(add_slot(w->kvm, 1, 0, 0x40000, 16384, WORLD_HVA), 0);
            for (int step = 0; step < 9; step++) {
                for (gfn_t gfn = 0x40000; gfn < 0x44000; gfn += 97) {
                    uint64_t code = PFERR_WRITE_MASK;
                    gfn_t huge = (gfn - 0x40000) / 512;

                    /* Where the host takes a part of a huge page it maps none. */
                    if (step == 1 && (huge == 300 / 512 || huge == 5000 / 512))
                        continue;
                    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
                    if (tdpmmu_cpu_access(w->vcpu, gfn << 12, PFERR_WRITE_MASK, &code) == 0)
                        kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, code);
                }
                switch (step) {
                case 0: kvm_mmu_notifier_invalidate_range_start(w->kvm, WORLD_HVA + (300 << 12), WORLD_HVA + (5000 << 12), true); break;
                case 1: kvm_mmu_notifier_invalidate_range_end(w->kvm, WORLD_HVA + (300 << 12), WORLD_HVA + (5000 << 12)); break;
                case 2: assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, 0x40000, 16384, WORLD_HVA), 0); break;
                case 3: assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0); break;
                case 4: kvm_mmu_notifier_clear_flush_young(w->kvm, WORLD_HVA, WORLD_HVA + (16384 << 12)); break;
                case 5: assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0); break;
                case 6: assert_int_equal(add_slot(w->kvm, 1, 0, 0x40000, 16384, WORLD_HVA), 0); break;
                case 7: assert_int_equal(tdpmmu_set_nx_huge_pages(w->kvm, round & 1), 0); break;
                case 8: kvm_mmu_zap_all_fast(w->kvm); break;
                }
            }
            assert_int_equal(delete_slot(w->kvm, 1), 0);
        }
        if (told.count)
            fail_msg("%d: %s at 0x%llx, %s", i, told.text, (unsigned long long)told.last.gfn, told.operation);
        world_free(w);
    }
}

/* A table that is freed while a CPU has it: cut off behind the library's back, and found when its page goes. */
static void freed_table_is_reported(void **state)
{
    (void)state;
    struct told told = { 0 };
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *table;
    uint64_t *entry, old, gone;
    bool zapped;

    attach(w, TDPMMU_CPUS_FILL_NEVER, &told);
    map_pages(w, 0x1000, 1, 1);
    table = sptep_to_sp((tdp_ptep_t)entry_of(w->vcpu, 0x1000, 1));
    look(w->vcpu, 0x1000, 0, 1);
    write_lock(&w->kvm->mmu_lock);
    zapped = kvm_tdp_mmu_zap_sp(w->kvm, table);
    write_unlock(&w->kvm->mmu_lock);
    assert_true(zapped);
    rcu_barrier();
    assert_int_equal(told.count, 0);
    look(w->vcpu, 0x1000, 0, 0);
    assert_int_equal(told.count, 0);
    /* Now one walks to it in the middle of that, by an entry which is not there any more. */
    map_pages(w, 0x1000, 1, 1);
    entry = entry_of(w->vcpu, 0x1000, 2);
    old = *entry;
    table = sptep_to_sp((tdp_ptep_t)entry_of(w->vcpu, 0x1000, 1));
    write_lock(&w->kvm->mmu_lock);
    rcu_read_lock();
    zapped = kvm_tdp_mmu_zap_sp(w->kvm, table);
    gone = *entry;
    *entry = old;
    assert_int_equal(tdpmmu_cpu_fill(w->vcpu, 0x1000 << 12), 0);
    *entry = gone;
    rcu_read_unlock();
    write_unlock(&w->kvm->mmu_lock);
    assert_true(zapped);
    assert_int_equal(told.count, 0);
    rcu_barrier();
    assert_int_equal(told.count, 1);
    assert_string_equal(told.text, "a table is freed that a CPU still has");
    assert_int_equal(told.last.level, 2);
    assert_int_equal(told.last.cached_spte, 0);
    assert_ptr_equal(told.last.vcpu, w->vcpu);
    /* Who goes on with it finds that it is no table any more. */
    world_forget(w);
    assert_int_equal(tdpmmu_cpu_fill(w->vcpu, 0x1000 << 12), 0);
    assert_int_equal(warnings(w), told.count - 1);
    world_forget(w);
    assert_true(tdpmmu_cpus_detach(w->kvm) >= 1);
    world_free(w);
}

/* What is owed may be used, wherever the thread is; what is not owed may not, in a callback, in RCU, under the lock for read. */
static void hit_in_flush(struct world *w)
{
    assert_true(look(w->vcpu, 0x1000, 0, 1).hit);
}

enum place { IN_RCU, READ_LOCKED, WRITE_LOCKED, IN_A_CALLBACK };

static void hits_are_judged_anywhere(void **state)
{
    (void)state;
    for (enum place place = IN_RCU; place <= IN_A_CALLBACK; place++) {
        struct told told = { 0 };
        struct world *w = world_new(TDPMMU_EPT, 4);
        uint64_t *entry, old;

        attach(w, TDPMMU_CPUS_FILL_NEVER, &told);
        assert_int_equal(map_page(w, 0x1000, 1), RET_PF_FIXED);
        look(w->vcpu, 0x1000, 0, 1);
        entry = entry_of(w->vcpu, 0x1000, 1);
        old = *entry;
        write_lock(&w->kvm->mmu_lock);
        assert_true(kvm_tdp_mmu_zap_leafs(w->kvm, 0x1000, 0x1001, false));
        rcu_read_lock();
        assert_true(look(w->vcpu, 0x1000, 0, 1).hit);
        rcu_read_unlock();
        kvm_flush_remote_tlbs_range(w->kvm, 0x1000, 1);
        write_unlock(&w->kvm->mmu_lock);
        assert_int_equal(told.count, 0);
        assert_int_equal(map_page(w, 0x1000, 1), RET_PF_FIXED);
        look(w->vcpu, 0x1000, 0, 1);
        *entry = SHADOW_NONPRESENT_VALUE;
        switch (place) {
        case IN_RCU:
            rcu_read_lock();
            assert_true(look(w->vcpu, 0x1000, 0, 1).hit);
            rcu_read_unlock();
            break;
        case READ_LOCKED:
            read_lock(&w->kvm->mmu_lock);
            assert_true(look(w->vcpu, 0x1000, 0, 1).hit);
            read_unlock(&w->kvm->mmu_lock);
            break;
        case WRITE_LOCKED:
            write_lock(&w->kvm->mmu_lock);
            assert_true(look(w->vcpu, 0x1000, 0, 1).hit);
            write_unlock(&w->kvm->mmu_lock);
            break;
        case IN_A_CALLBACK:
            w->on_flush = hit_in_flush;
            kvm_flush_remote_tlbs_range(w->kvm, 0x9000, 1);
            w->on_flush = NULL;
            break;
        }
        assert_int_equal(told.count, 1);
        assert_string_equal(told.operation, "kvm_tdp_mmu_zap_leafs");
        *entry = old;
        world_forget(w);
        world_free(w);
    }
}

/* A page that the host has taken back, mapped all the same. */
static void taken_page_is_reported(void **state)
{
    (void)state;
    struct told told = { 0 };
    struct world *w = world_new(TDPMMU_EPT, 4);
    const uint64_t hva = WORLD_HVA + (UINT64_C(0x1000) << 12);
    uint64_t *entry, old;

    attach(w, TDPMMU_CPUS_FILL_NEVER, &told);
    map_pages(w, 0x1000, 2, 1);
    entry = entry_of(w->vcpu, 0x1000, 1);
    old = *entry;
    kvm_mmu_notifier_invalidate_range_start(w->kvm, hva, hva + 4096, true);
    *entry = old;
    look(w->vcpu, 0x1000, 0, 1);
    look(w->vcpu, 0x1001, 0, 1);
    assert_true(look(w->vcpu, 0x1001, 0, 1).hit);
    assert_int_equal(told.count, 0);
    assert_true(look(w->vcpu, 0x1000, 0, 1).hit);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.text, "a CPU uses a page that the host has taken back");
    kvm_mmu_notifier_invalidate_range_end(w->kvm, hva, hva + 4096);
    assert_true(look(w->vcpu, 0x1000, 0, 1).hit);
    assert_int_equal(told.count, 1);
    world_forget(w);
    *entry = SHADOW_NONPRESENT_VALUE;
    kvm_flush_remote_tlbs(w->kvm);
    world_free(w);
}

/* Not used, and reported all the same: as an operation ends; every nth one; once. */
static void all_is_looked_at(void **state)
{
    (void)state;
    for (uint32_t every = 0; every < 5; every++) {
        struct told told = { 0 };
        struct world *w = world_new(TDPMMU_EPT, 4);
        struct tdpmmu_cpus_config config = { .size = sizeof(config), .flags = TDPMMU_CPUS_FILL_NEVER, .check_every = every,
                                             .report = note, .ctx = &told };
        unsigned rounds = 0;

        assert_int_equal(tdpmmu_cpus_attach(w->kvm, &config), 0);
        map_pages(w, 0x1000, 2, 1);
        look(w->vcpu, 0x1000, 0, 1);
        /* Nothing is wrong. */
        write_lock(&w->kvm->mmu_lock);
        assert_true(kvm_tdp_mmu_zap_leafs(w->kvm, 0x1001, 0x1002, false));
        kvm_flush_remote_tlbs(w->kvm);
        write_unlock(&w->kvm->mmu_lock);
        look(w->vcpu, 0x1000, 0, 1);
        write_lock(&w->kvm->mmu_lock);
        assert_true(kvm_tdp_mmu_zap_leafs(w->kvm, 0x1000, 0x1001, false));
        while (!told.count && rounds < 9) {
            write_unlock(&w->kvm->mmu_lock);
            rounds++;
            write_lock(&w->kvm->mmu_lock);
        }
        write_unlock(&w->kvm->mmu_lock);
        assert_int_equal(rounds, every > 2 ? every - 1 : 1);
        assert_int_equal(told.count, 1);
        assert_string_equal(told.operation, "kvm_tdp_mmu_zap_leafs");
        assert_int_equal(tdpmmu_cpus_check(w->kvm), 0);
        world_forget(w);
        world_free(w);
    }
}

/* CPUs have a ledger with them; a rig that asks for one gets the same, and leaves it to them. */
static void one_ledger(void **state)
{
    (void)state;
    struct world *w = quiet(TDPMMU_EPT, 0);

    if (w->is_watched) /* the world's own */
        assert_int_equal(tdpmmu_ledger_detach(w->kvm), 0);
    w->is_watched = false;
    assert_int_equal(tdpmmu_ledger_detach(w->kvm), -ENOENT);
    assert_int_equal(tdpmmu_ledger_attach(w->kvm, NULL, NULL), 0);
    assert_int_equal(tdpmmu_ledger_attach(w->kvm, NULL, NULL), -EBUSY);
    assert_int_equal(tdpmmu_ledger_detach(w->kvm), 0);
    map_pages(w, 0x1000, 1, 1);
    write_lock(&w->kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_zap_leafs(w->kvm, 0x1000, 0x1001, false));
    assert_true(tdpmmu_ledger_owes(w->kvm, 0, 0x1000, 0x1001));
    kvm_flush_remote_tlbs(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    world_forget(w);
    assert_int_equal(tdpmmu_ledger_attach(w->kvm, NULL, NULL), 0);
    assert_int_equal(tdpmmu_cpus_detach(w->kvm), 0);
    assert_int_equal(tdpmmu_ledger_detach(w->kvm), 0);
    world_free(w);
}

static void roots_and_spaces(void **state)
{
    (void)state;
    for (int vendor = 0; vendor < 2; vendor++) {
        struct world *w = quiet(vendor, 0);
        struct kvm_vcpu *other = tdpmmu_create_vcpu(w->kvm, 1);

        assert_non_null(other);
        assert_int_equal(kvm_mmu_load(other), 0);
        map_pages(w, 0x1000, 1, 1);
        look(w->vcpu, 0x1000, 0, 1);
        assert_false(look(other, 0x1000, 0, 1).hit);
        assert_int_equal(tdpmmu_cpu_drop(w->vcpu, 0x1000 << 12), 1);
        assert_false(look(w->vcpu, 0x1000, 0, 1).hit);
        assert_true(look(other, 0x1000, 0, 1).hit);
        /* A root that is loaded again begins without anything. */
        kvm_mmu_unload(w->vcpu);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        assert_false(look(w->vcpu, 0x1000, 0, 1).hit);
        assert_int_equal(tdpmmu_vcpu_set_as_id(other, 1), 0);
        assert_int_equal(kvm_mmu_load(other), 0);
        look(other, 0x1000, 0, 0);
        tdpmmu_destroy_vcpu(other);
        other = tdpmmu_create_vcpu(w->kvm, 1);
        assert_int_equal(kvm_mmu_load(other), 0);
        assert_false(look(other, 0x1000, 0, 1).hit);
        world_free(w);
    }
}

static void full_log_exits(void **state)
{
    (void)state;
    struct world *w = quiet(TDPMMU_EPT, 0);
    uint64_t bitmap[64] = { 0 };
    struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
    unsigned dirty = 0;

    assert_int_equal(delete_slot(w->kvm, 0), 0);
    assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, 0x1000, 4096, WORLD_HVA), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    for (gfn_t gfn = 0x1000; gfn < 0x1400; gfn++) {
        assert_int_equal(map_page(w, gfn, 1), RET_PF_FIXED);
        look(w->vcpu, gfn, PFERR_WRITE_MASK, 1);
    }
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
    for (gfn_t gfn = 0x1000; gfn < 0x1400; gfn++)
        look(w->vcpu, gfn, PFERR_WRITE_MASK, 1);
    assert_int_equal(stats_of(w->kvm).pml_full, 1);
    /* They are cached as dirty: written again they leave no trace, until the log is read and they are flushed. */
    for (gfn_t gfn = 0x1000; gfn < 0x1400; gfn++)
        assert_true(look(w->vcpu, gfn, PFERR_WRITE_MASK, 1).hit);
    memset(bitmap, 0, sizeof(bitmap));
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
    for (int i = 0; i < 64; i++)
        dirty += (unsigned)__builtin_popcountll(bitmap[i]);
    assert_int_equal(dirty, 1024);
    assert_false(look(w->vcpu, 0x1000, PFERR_WRITE_MASK, 1).hit);
    world_free(w);
}

static void attached_and_gone(void **state)
{
    (void)state;
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct tdpmmu_cpus_config good = { .size = sizeof(good) }, config = good;
    struct tdpmmu_cpu_result r;

#define REFUSED(expression, code) \
    do { \
        world_forget(w); \
        assert_int_equal(expression, code); \
        assert_int_equal(warnings(w), 1); \
    } while (0)
    REFUSED(tdpmmu_cpus_detach(w->kvm), -EINVAL);
    REFUSED(tdpmmu_cpu_fill(w->vcpu, 0), -EINVAL);
    REFUSED(tdpmmu_cpus_attach(w->kvm, NULL), -EINVAL);
    REFUSED((config.flags = 1 << 8, tdpmmu_cpus_attach(w->kvm, &config)), -EINVAL);
    for (uint32_t both = 0x0c; both <= 0xc0; both <<= 2)
        REFUSED((config.flags = both, tdpmmu_cpus_attach(w->kvm, &config)), -EINVAL);
    config = good;
    REFUSED((config.size = 8, tdpmmu_cpus_attach(w->kvm, &config)), -EINVAL);
    config = good;
    REFUSED((config.cpus = 257, tdpmmu_cpus_attach(w->kvm, &config)), -EINVAL);
    config = good;
    REFUSED((config.translations = 15, tdpmmu_cpus_attach(w->kvm, &config)), -EINVAL);
    world_forget(w);
    /* 0x18 and 0x60 are no opposites. */
    config = good;
    config.flags = 0x18 | 0x40 | 3;
    config.cpus = 1;
    config.translations = 16;
    assert_int_equal(tdpmmu_cpus_attach(w->kvm, &config), 0);
    REFUSED(tdpmmu_cpus_attach(w->kvm, &good), -EBUSY);
    world_forget(w);
    /* More pages than it holds. */
    map_pages(w, 0x1000, 64, 1);
    for (int i = 0; i < 3; i++)
        for (gfn_t gfn = 0x1000; gfn < 0x1040; gfn++)
            assert_int_equal(look(w->vcpu, gfn, 0, 1).pfn, pfn_for(gfn));
    REFUSED(tdpmmu_cpu_access_full(w->vcpu, 0, 1 << 5, &r), -EINVAL);
    REFUSED(tdpmmu_cpu_access_full(w->vcpu, 0, 0, NULL), -EINVAL);
    kvm_mmu_unload(w->vcpu);
    REFUSED(tdpmmu_cpu_fill(w->vcpu, 0), -EINVAL);
    REFUSED(tdpmmu_cpu_drop(w->vcpu, UINT64_MAX), -EINVAL);
    world_forget(w);
    assert_int_equal(tdpmmu_cpus_detach(w->kvm), 0);
    assert_int_equal(tdpmmu_cpus_attach(w->kvm, &good), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(tdpmmu_cpu_cached(w->vcpu, 0x1000 << 12, &r), 0);
    look(w->vcpu, 0x1000, 0, 1);
    assert_int_equal(tdpmmu_cpu_cached(w->vcpu, 0x1000 << 12, &r), 1);
    assert_int_equal(r.pfn, pfn_for(0x1000));
    assert_int_equal(tdpmmu_cpu_drop(w->vcpu, UINT64_MAX), 1);
    /* The VM goes with them. */
    world_free(w);
}

/* Filled ahead: a change is enough, nobody has to touch the page. */
static void filled_ahead(void **state)
{
    (void)state;
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct tdpmmu_cpu_result r;

    attach(w, TDPMMU_CPUS_FILL_ALWAYS, NULL);
    look(w->vcpu, 0x1000, 0, 0);
    map_pages(w, 0x1000, 8, 1);
    for (gfn_t gfn = 0x1000; gfn < 0x1008; gfn++)
        assert_int_equal(tdpmmu_cpu_cached(w->vcpu, gfn << 12, &r), 1);
    write_lock(&w->kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_zap_leafs(w->kvm, 0x1000, 0x1008, false));
    assert_int_equal(tdpmmu_cpu_cached(w->vcpu, 0x1003 << 12, &r), 1);
    kvm_flush_remote_tlbs_range(w->kvm, 0x1000, 8);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(tdpmmu_cpu_cached(w->vcpu, 0x1003 << 12, &r), 0);
    world_free(w);
}

/* vCPUs in threads of their own, and one that takes all away from them again and again. */
enum { RACERS = 3, RACED = 2048, RACES = 120 };

struct racer {
    struct kvm_vcpu *vcpu;
    atomic_bool *stops;
    unsigned wrong;
};

static void race_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)kvm;
    if (atomic_fetch_add((atomic_uint *)ctx, 1) == 0)
        fprintf(stderr, "%s: %s 0x%llx 0x%llx\n", warning->function, warning->text, (unsigned long long)warning->value[0],
                (unsigned long long)warning->value[1]);
}

static void *race(void *arg)
{
    struct racer *racer = arg;
    uint64_t random = (uintptr_t)racer >> 4;

    while (!atomic_load(racer->stops)) {
        uint64_t error = 0, access = random & 1 << 20 ? PFERR_WRITE_MASK : 0;
        gpa_t gpa = ((random = random * 6364136223846793005u + 1442695040888963407u) >> 40) % RACED << 12;
        int level;

        if (kvm_mmu_load(racer->vcpu)) {
            racer->wrong++;
            continue;
        }
        if (random & 1 << 21)
            rcu_read_lock();
        level = tdpmmu_cpu_access(racer->vcpu, gpa, access, &error);
        if (random & 1 << 21)
            rcu_read_unlock();
        racer->wrong += level < 0 || (!level && kvm_tdp_mmu_page_fault(racer->vcpu, gpa, error) < 0);
    }
    return NULL;
}

static void threads_and_an_updater(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        static unsigned long bitmap[RACED / 64];
        atomic_uint warned = 0;
        atomic_bool stops = false;
        const struct tdpmmu_ops ops = { .size = sizeof(ops), .warn = race_warning };
        struct tdpmmu_vm_config config = { .size = sizeof(config), .vendor = kind & 1 ? TDPMMU_NPT : TDPMMU_EPT, .ops = &ops, .ops_ctx = &warned };
        struct tdpmmu_cpus_config cpus = { .size = sizeof(cpus), .flags = kind & 2 ? TDPMMU_CPUS_FILL_ALWAYS : 0, .check_every = kind & 2 };
        struct kvm *kvm = tdpmmu_create_vm(&config);
        struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bitmap };
        struct racer racer[RACERS] = { 0 };
        pthread_t thread[RACERS];

        assert_int_equal(add_slot(kvm, 0, 0, 0, RACED, WORLD_HVA), 0);
        assert_int_equal(tdpmmu_cpus_attach(kvm, &cpus), 0);
        for (int i = 0; i < RACERS; i++) {
            racer[i] = (struct racer){ tdpmmu_create_vcpu(kvm, i), &stops, 0 };
            assert_int_equal(pthread_create(&thread[i], NULL, race, &racer[i]), 0);
        }
        for (int i = 0; i < RACES; i++) {
            gfn_t start = (gfn_t)i * 37 % RACED, end = start + 1 + (gfn_t)i % 40;

            switch (i % 6) {
            case 0: /* huge pages, which this host has everywhere, as a whole */
                start &= ~UINT64_C(511);
                end = start + 512;
                kvm_mmu_notifier_invalidate_range_start(kvm, WORLD_HVA + (start << 12), WORLD_HVA + (end << 12), true);
                kvm_mmu_notifier_invalidate_range_end(kvm, WORLD_HVA + (start << 12), WORLD_HVA + (end << 12));
                break;
            case 1:
                write_lock(&kvm->mmu_lock);
                if (kvm_tdp_mmu_zap_leafs(kvm, start, end, true))
                    kvm_flush_remote_tlbs(kvm);
                write_unlock(&kvm->mmu_lock);
                break;
            case 2: assert_int_equal(add_slot(kvm, 0, i & 8 ? KVM_MEM_LOG_DIRTY_PAGES : 0, 0, RACED, WORLD_HVA), 0); break;
            case 3: kvm_vm_ioctl_get_dirty_log(kvm, &log); break;
            case 4: kvm_mmu_notifier_clear_young(kvm, WORLD_HVA, WORLD_HVA + (RACED << 12)); break;
            case 5: kvm_mmu_zap_all_fast(kvm); break;
            }
        }
        atomic_store(&stops, true);
        for (int i = 0; i < RACERS; i++) {
            pthread_join(thread[i], NULL);
            assert_int_equal(racer[i].wrong, 0);
        }
        assert_int_equal(tdpmmu_cpus_check(kvm), 0);
        assert_int_equal(tdpmmu_cpus_detach(kvm), 0);
        assert_int_equal(warned, 0);
        tdpmmu_destroy_vm(kvm);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hit_after_walk),
        cmocka_unit_test(pieces_and_wholes),
        cmocka_unit_test(weak_flush_drops_all),
        cmocka_unit_test(no_negative_caching),
        cmocka_unit_test(dirty_by_a_write_only),
        cmocka_unit_test(stale_rights),
        cmocka_unit_test(guest_walks),
        cmocka_unit_test(forged_entries),
        cmocka_unit_test(wild_tables),
        cmocka_unit_test(lost_flush_is_reported),
        cmocka_unit_test(caller_forgets_to_flush),
        cmocka_unit_test(right_operations_are_silent),
        cmocka_unit_test(freed_table_is_reported),
        cmocka_unit_test(hits_are_judged_anywhere),
        cmocka_unit_test(taken_page_is_reported),
        cmocka_unit_test(all_is_looked_at),
        cmocka_unit_test(one_ledger),
        cmocka_unit_test(roots_and_spaces),
        cmocka_unit_test(full_log_exits),
        cmocka_unit_test(attached_and_gone),
        cmocka_unit_test(filled_ahead),
        cmocka_unit_test(threads_and_an_updater),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
