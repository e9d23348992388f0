/* SPDX-License-Identifier: GPL-2.0-only */
/* The rig's callbacks: what they answer is checked, and what they may call they can. */
#include "test_helpers.h"

#include <unistd.h>

#define LOG UINT32_C(1) /* KVM_MEM_LOG_DIRTY_PAGES */
#define READ_ONLY_SLOT 2u
#define READ_ONLY_BASE (32ull * GIB_PAGES)

/* ---- answers -------------------------------------------------------------------------- */

static struct {
    kvm_pfn_t pfn;
    bool writable;
    int level;
} answer;

static kvm_pfn_t answered_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot,
                              gfn_t gfn, bool write, bool *writable, int *max_level)
{
    (void)ctx;
    (void)kvm;
    (void)slot;
    (void)gfn;
    (void)write;
    *writable = answer.writable;
    *max_level = answer.level;
    return answer.pfn;
}

static struct world *answering_world(const struct machine *m)
{
    struct tdpmmu_ops host = { .size = sizeof(host), .gfn_to_pfn = answered_pfn };
    struct tdpmmu_vm_config config = m->config;

    config.ops = &host;
    answer.writable = true;
    answer.level = PG_LEVEL_4K;
    return world_from(config);
}

static void assert_warned(struct world *w, const char *function, const char *field, uint64_t value)
{
    assert_int_equal(warnings(w), 1);
    assert_string_equal(w->last_warning.function, function);
    assert_non_null(strstr(w->last_warning.text, field));
    assert_int_equal(w->last_warning.value[0], value);
    world_forget(w);
}

/*
 * No pfn of this VM, nor one of the three answers that are none: refused as KVM_PFN_ERR_FAULT would be.
 * To see it fail: in hostPage() of MMU/Callbacks.swift leave the test against pfnMask out.
 */
static void pfn_that_cannot_be(void **state)
{
    const kvm_pfn_t bad[] = { 1ull << 34, 1ull << 39, (1ull << 51) | 7, (1ull << 52) - 1, 1ull << 62,
                              KVM_PFN_NOSLOT, KVM_PFN_NOSLOT | 5, KVM_PFN_ERR_RO_FAULT + 1,
                              KVM_PFN_ERR_FAULT | KVM_PFN_NOSLOT, UINT64_MAX };

    (void)state;
    for_each_machine(m) {
        struct world *w = answering_world(m);

        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            answer.pfn = bad[i];
            assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, 5 << 12, PFERR_WRITE_MASK), -EFAULT);
            assert_warned(w, "gfn_to_pfn", "pfn", bad[i]);
            assert_int_equal(stats_of(w->kvm).tables, 1);
        }
        answer.pfn = (1ull << 34) - 1; /* the last below 46 bits */
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, 5 << 12, PFERR_WRITE_MASK), RET_PF_FIXED);
        assert_spte(w->vcpu, 5, 1, m->leaf, answer.pfn);
        world_free(w);
    }
}

/* Single pages are always right: so they are mapped where the level is none. */
static void level_that_cannot_be(void **state)
{
    const int bad[] = { 0, -1, 4, 5, INT32_MAX, INT32_MIN };

    (void)state;
    for_each_machine(m) {
        struct world *w = answering_world(m);

        for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            answer.level = bad[i];
            answer.pfn = pfn_for(512 * i);
            assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (512ull * i) << 12, PFERR_WRITE_MASK), RET_PF_FIXED);
            assert_warned(w, "gfn_to_pfn", "max_level", (uint64_t)(int64_t)bad[i]);
            assert_spte(w->vcpu, 512 * i, 1, m->leaf, answer.pfn);
        }
        world_free(w);
    }
}

/* A slot that the guest may only read stays so, whatever the host says. */
static void writable_in_a_read_only_slot(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = answering_world(m);
        gfn_t gfn = READ_ONLY_BASE + 3;

        assert_int_equal(add_slot(w->kvm, READ_ONLY_SLOT, KVM_MEM_READONLY, READ_ONLY_BASE, 512, SIDE_HVA), 0);
        answer.pfn = 0x777;
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, 0), RET_PF_FIXED);
        assert_warned(w, "gfn_to_pfn", "writable", 1);
        assert_false(is_writable_pte(spte_at(w->vcpu, gfn, 1)));
        assert_int_equal(tdpmmu_fast_page_fault(w->vcpu, gfn << 12, PFERR_WRITE_MASK | PFERR_PRESENT_MASK), RET_PF_INVALID);
        answer.writable = false;
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (gfn + 1) << 12, 0), RET_PF_FIXED);
        assert_no_warning(w);
        world_free(w);
    }
}

static int mapping_answer;
static unsigned slots_seen, slots_alive;

/* The slot that is handed out is the VM's own: it can be named to the library again. */
static int mapping_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    struct kvm_gfn_range range = { .slot = slot, .start = gfn, .end = gfn + 1 };

    (void)ctx;
    slots_seen++;
    slots_alive += gfn_to_memslot(kvm, gfn) == slot && kvm_tdp_mmu_test_age_gfn(kvm, &range);
    return mapping_answer;
}

static void zap_collapsible(struct world *w)
{
    read_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_zap_collapsible_sptes(w->kvm, slot_by_id(w, 0, 0));
    read_unlock(&w->kvm->mmu_lock);
}

/* To see it fail: in couldBeHuge() of MMU/HugePages.swift hand out the address of the parameter's copy. */
static void mapping_level_gets_a_slot(void **state)
{
    const int bad[] = { 0, -1, 4, INT32_MAX };

    (void)state;
    for_each_machine(m) {
        struct tdpmmu_ops host = { .size = sizeof(host), .mapping_level = mapping_level };
        struct tdpmmu_vm_config config = m->config;
        struct world *w;

        config.ops = &host;
        w = world_from(config);
        map_pages(w, 0, 1, 1);
        for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
            mapping_answer = bad[i];
            slots_seen = slots_alive = 0;
            zap_collapsible(w);
            assert_true(slots_seen > 0);
            assert_int_equal(slots_alive, slots_seen);
            assert_int_equal(warnings(w), slots_seen);
            assert_string_equal(w->last_warning.function, "mapping_level");
            assert_int_equal(w->last_warning.value[0], (uint64_t)(int64_t)bad[i]);
            assert_true(mapped(w->vcpu, 0)); /* a level that cannot be puts nothing together */
            world_forget(w);
        }
        mapping_answer = PG_LEVEL_2M;
        zap_collapsible(w);
        assert_false(mapped(w->vcpu, 0));
        world_free(w);
    }
}

/* ---- what every callback may call ------------------------------------------------------- */

enum callback {
    GFN_TO_PFN, FLUSH_TLB, SPTE_CHANGED, NEED_RESCHED, WARN, MAPPING_LEVEL, SLOT_COMMITTING, TRACE, YIELD_AT, YIELDED,
    CALLBACKS
};

/* One VM of which everything is read in every callback. */
static struct {
    struct kvm *kvm;
    struct kvm_vcpu *vcpu; /* NULL once it is gone */
    unsigned calls[CALLBACKS];
    unsigned wrong; /* answers that cannot be; a callback must not fail a test itself */
    bool inside;    /* what it calls tells the trace callback: not again from there */
    pthread_t thread; /* the test's own */
    bool wants_yield;
} rig;

#define EXPECT(condition) (rig.wrong += !(condition))

static void read_entries(uint64_t *root_pt, int root_level)
{
    struct tdp_iter iter;
    unsigned entries = 0;

    for_each_tdp_pte(iter, root_pt, root_level, 0, 2) {
        EXPECT(!is_shadow_present_pte(iter.old_spte) || !is_frozen_spte(iter.old_spte));
        if (is_shadow_present_pte(iter.old_spte) && !is_last_spte(iter.old_spte, iter.level))
            EXPECT(sptep_to_sp(spte_to_child_pt(iter.old_spte, iter.level)) != NULL);
        is_mmio_spte(rig.kvm, iter.old_spte);
        is_accessed_spte(rig.kvm, iter.old_spte);
        is_dirty_spte(rig.kvm, iter.old_spte);
        is_executable_pte(rig.kvm, iter.old_spte);
        is_writable_pte(iter.old_spte);
        is_large_pte(iter.old_spte);
        get_mmio_spte_generation(iter.old_spte);
        get_mmio_spte_gfn(rig.kvm, iter.old_spte);
        spte_to_pfn(iter.old_spte);
        EXPECT(tdp_iter_root_pt(&iter) == root_pt);
        entries++;
    }
    EXPECT(entries > 0);
}

static void read_tables(void)
{
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(rig.vcpu);
    uint64_t sptes[6] = { 0 }, spte;
    int root_level = 0;

    if (!root)
        return;
    EXPECT(to_shadow_page(tdpmmu_table_hpa(root)) == root);
    EXPECT(kvm_tdp_mmu_get_walk(rig.vcpu, 0, sptes, &root_level) > 0);
    EXPECT(root_level == 4);
    EXPECT(kvm_tdp_mmu_fast_pf_get_last_sptep(rig.vcpu, 0, &spte) != NULL);
    read_entries(root->spt, root_level);
}

static void read_vcpu(void)
{
    uint32_t entries = 0;

    EXPECT(tdpmmu_vcpu_kvm(rig.vcpu) == rig.kvm);
    EXPECT(tdpmmu_vcpu_id(rig.vcpu) == 0);
    EXPECT(tdpmmu_vcpu_as_id(rig.vcpu) == 0);
    EXPECT(tdpmmu_vcpu_dirty_ring(rig.vcpu, &entries) == NULL);
    kvm_vcpu_gfn_to_memslot(rig.vcpu, 0);
    read_tables();
}

/* Every function that only reads.  The lock is asked for: it may be held or not. */
static void read_everything(enum callback callback)
{
    struct tdpmmu_stats stats;
    const struct kvm_memory_slot *slot;
    int token;

    if (!pthread_equal(pthread_self(), rig.thread))
        return; /* RCU's thread frees tables, and tells of it */
    rig.calls[callback]++;
    if (rig.inside || !rig.kvm)
        return;
    rig.inside = true;
    EXPECT(tdpmmu_get_stats(rig.kvm, &stats, sizeof(stats)) == 0);
    EXPECT(stats.roots <= 3 && stats.tables >= stats.tables_stray);
    tdpmmu_memslots_generation(rig.kvm, 1);
    tdpmmu_read_lock_held(&rig.kvm->mmu_lock);
    tdpmmu_write_lock_held(&rig.kvm->mmu_lock);
    rwlock_needbreak(&rig.kvm->mmu_lock);
    EXPECT(strcmp(tdpmmu_trace_name(TDPMMU_TRACE_MAP), "") != 0 && tdpmmu_version() != NULL);
    rcu_read_lock_held();
    rcu_read_lock();
    token = srcu_read_lock(&rig.kvm->srcu);
    EXPECT(token >= 0 && rcu_read_lock_held());
    slot = gfn_to_memslot(rig.kvm, 0);
    if (slot) {
        struct kvm_gfn_range range = { .slot = slot, .start = 0, .end = 2 };

        EXPECT(tdpmmu_id_to_memslot(rig.kvm, 0, 0) == slot);
        kvm_tdp_mmu_test_age_gfn(rig.kvm, &range);
        kvm_tdp_mmu_test_age_hva(rig.kvm, slot->userspace_addr);
    }
    if (rig.vcpu)
        read_vcpu();
    srcu_read_unlock(&rig.kvm->srcu, token);
    rcu_read_unlock();
    rig.inside = false;
}

static kvm_pfn_t reading_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn,
                             bool write, bool *writable, int *max_level)
{
    (void)ctx;
    (void)kvm;
    (void)write;
    (void)writable;
    (void)max_level;
    EXPECT(slot->id == 0);
    read_everything(GFN_TO_PFN);
    return pfn_for(gfn);
}

static void reading_flush(void *ctx, struct kvm *kvm, gfn_t start, uint64_t npages)
{
    (void)ctx;
    (void)kvm;
    (void)start;
    (void)npages;
    read_everything(FLUSH_TLB);
}

static void reading_changed(void *ctx, struct kvm *kvm, int as_id, gfn_t gfn, int level, uint64_t old_spte,
                            uint64_t new_spte, bool shared)
{
    (void)ctx;
    (void)kvm;
    (void)as_id;
    (void)gfn;
    (void)level;
    (void)old_spte;
    (void)new_spte;
    (void)shared;
    read_everything(SPTE_CHANGED);
}

static bool reading_resched(void *ctx, struct kvm *kvm)
{
    (void)ctx;
    (void)kvm;
    read_everything(NEED_RESCHED);
    return false; /* then yield_at is asked */
}

static void reading_warn(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx;
    (void)kvm;
    EXPECT(!rig.inside); /* what is read is read rightly */
    if (rig.inside)
        print_error("%s: %s\n", warning->function, warning->text);
    read_everything(WARN);
}

static int reading_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx;
    (void)kvm;
    (void)slot;
    (void)gfn;
    read_everything(MAPPING_LEVEL);
    return PG_LEVEL_2M;
}

static void reading_committing(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    (void)ctx;
    (void)kvm;
    EXPECT(slot->id == 0);
    read_everything(SLOT_COMMITTING);
}

static void reading_trace(void *ctx, struct kvm *kvm, const struct tdpmmu_trace_event *event)
{
    (void)ctx;
    (void)kvm;
    (void)event;
    read_everything(TRACE);
}

static bool reading_yield_at(void *ctx, struct kvm *kvm, const struct tdp_iter *iter)
{
    (void)ctx;
    (void)kvm;
    EXPECT(iter->level >= 1);
    read_everything(YIELD_AT);
    return rig.wants_yield;
}

static void reading_yielded(void *ctx, struct kvm *kvm)
{
    (void)ctx;
    (void)kvm;
    read_everything(YIELDED);
}

/* Something of everything, so that each callback is called in each place that calls it. */
static void live(struct kvm *kvm, struct kvm_vcpu *vcpu, uint32_t flags)
{
    struct world w = { .kvm = kvm, .vcpu = vcpu };

    assert_int_equal(kvm_mmu_load(vcpu), 0);
    for (gfn_t gfn = 0; gfn < 2048; gfn += 100)
        kvm_tdp_mmu_page_fault(vcpu, gfn << 12, gfn % 200 ? PFERR_WRITE_MASK : PFERR_FETCH_MASK);
    kvm_tdp_mmu_page_fault(vcpu, 64ull << 30, 0); /* MMIO */
    assert_int_equal(add_slot(kvm, 0, flags, 0, 2048, WORLD_HVA), 0);
    for (gfn_t gfn = 0; gfn < 2048; gfn += 100)
        guest_write(vcpu, gfn);
    kvm_mmu_notifier_clear_young(kvm, WORLD_HVA, WORLD_HVA + (1 << 20));
    kvm_mmu_notifier_invalidate_range_start(kvm, WORLD_HVA, WORLD_HVA + (1 << 20), true);
    kvm_mmu_notifier_invalidate_range_end(kvm, WORLD_HVA, WORLD_HVA + (1 << 20));
    zap_collapsible(&w);
    tdpmmu_nx_recover(kvm, 1);
    kvm_tdp_mmu_put_root(kvm, NULL); /* a warning */
    kvm_mmu_invalidate_begin(kvm);   /* another */
    kvm_mmu_unload(vcpu);
    kvm_mmu_zap_all_fast(kvm);
}

/*
 * To see it hang: in acquireRoot() of MMU/Roots.swift take the table under VMLock.pages; or in
 * tearDown() unload the vCPUs under VMLock.vcpus.
 */
static void reading_in_every_callback(void **state)
{
    struct tdpmmu_ops ops = {
        .size = sizeof(ops), .gfn_to_pfn = reading_pfn, .flush_tlb = reading_flush, .spte_changed = reading_changed,
        .need_resched = reading_resched, .warn = reading_warn, .mapping_level = reading_level,
        .slot_committing = reading_committing, .trace = reading_trace, .yield_at = reading_yield_at,
        .yielded = reading_yielded,
    };

    (void)state;
    for_each_machine(m) for (int yielding = 0; yielding < 2; yielding++) {
        struct tdpmmu_vm_config config = m->config;

        config.size = sizeof(config);
        config.ops = &ops;
        config.nx_huge_pages = 1;
        memset(&rig, 0, sizeof(rig));
        rig.thread = pthread_self();
        rig.wants_yield = yielding;
        rig.kvm = tdpmmu_create_vm(&config);
        assert_non_null(rig.kvm);
        rig.vcpu = tdpmmu_create_vcpu(rig.kvm, 0);
        assert_int_equal(add_slot(rig.kvm, 0, 0, 0, 2048, WORLD_HVA), 0);
        live(rig.kvm, rig.vcpu, LOG);
        live(rig.kvm, rig.vcpu, 0);
        assert_int_equal(kvm_mmu_load(rig.vcpu), 0);
        kvm_mmu_uninit_tdp_mmu(rig.kvm);
        assert_int_equal(kvm_mmu_init_tdp_mmu(rig.kvm), 0);
        assert_int_equal(kvm_mmu_load(rig.vcpu), 0);
        assert_int_equal(delete_slot(rig.kvm, 0), 0);
        tdpmmu_destroy_vcpu(rig.vcpu);
        rig.vcpu = NULL;
        for (enum callback i = 0; i < CALLBACKS; i++)
            assert_true(rig.calls[i] > 0 || (i == YIELDED && !yielding));
        tdpmmu_destroy_vm(rig.kvm);
        assert_int_equal(rig.wrong, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pfn_that_cannot_be),
        cmocka_unit_test(level_that_cannot_be),
        cmocka_unit_test(writable_in_a_read_only_slot),
        cmocka_unit_test(mapping_level_gets_a_slot),
        cmocka_unit_test(reading_in_every_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
