/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mistakes that the other tests would not have seen: each test here finds a mutant of tests-c/mutants.txt.
 * What an event says is looked at with values that differ from each other, and from those of other events.
 */
#include "test_helpers.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 512u
#define VCPU_ID 7

static struct tdpmmu_trace_event events[MOST];
static unsigned event_count;

/* ---- events --------------------------------------------------------------------------- */

/* A world of which these events are recorded; its vCPU is not the only one, nor the first number. */
static struct world *traced(struct tdpmmu_vm_config config, uint64_t wanted, struct kvm_vcpu **vcpu)
{
    struct world *w = world_from(config);

    *vcpu = tdpmmu_create_vcpu(w->kvm, VCPU_ID);
    assert_non_null(*vcpu);
    assert_int_equal(kvm_mmu_load(*vcpu), 0);
    assert_int_equal(tdpmmu_trace_enable(w->kvm, wanted), 0);
    while (tdpmmu_trace_read(events, MOST, NULL) > 0)
        ;
    return w;
}

static void read_events(void)
{
    event_count = (unsigned)tdpmmu_trace_read(events, MOST, NULL);
}

/* The one event of this sort since read_events(). */
static const struct tdpmmu_trace_event *only(int id)
{
    const struct tdpmmu_trace_event *found = NULL;

    for (unsigned i = 0; i < event_count; i++)
        if (events[i].id == id) {
            assert_null(found);
            found = &events[i];
        }
    if (!found)
        fail_msg("no event %s", tdpmmu_trace_name(id));
    return found;
}

static void none(int id)
{
    for (unsigned i = 0; i < event_count; i++)
        assert_int_not_equal(events[i].id, id);
}

static void aging_is_told_as_what_it_is(void **state)
{
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT }, TDPMMU_TRACE_ALL, &vcpu);
    struct kvm_gfn_range range = { .slot = slot_by_id(w, 0, 0), .start = 0x123, .end = 0x127 };

    (void)state;
    assert_int_equal(map_page(w, 0x125, PG_LEVEL_4K), RET_PF_FIXED);
    for (int young = 1; young >= 0; young--) {
        read_events();
        assert_int_equal(kvm_tdp_mmu_test_age_gfn(w->kvm, &range), young);
        read_events();
        none(TDPMMU_TRACE_AGE);
        none(TDPMMU_TRACE_AGE_RET);
        assert_int_equal(only(TDPMMU_TRACE_TEST_AGE)->range.start, 0x123);
        assert_int_equal(only(TDPMMU_TRACE_TEST_AGE)->range.end, 0x127);
        assert_int_equal(only(TDPMMU_TRACE_TEST_AGE_RET)->ret.ret, young);
        assert_int_equal(kvm_tdp_mmu_age_gfn_range(w->kvm, &range), young);
        read_events();
        none(TDPMMU_TRACE_TEST_AGE);
        none(TDPMMU_TRACE_TEST_AGE_RET);
        assert_int_equal(only(TDPMMU_TRACE_AGE)->range.start, 0x123);
        assert_int_equal(only(TDPMMU_TRACE_AGE)->range.end, 0x127);
        assert_int_equal(only(TDPMMU_TRACE_AGE_RET)->ret.ret, young);
    }
    world_free(w);
}

static void masks_are_told(void **state)
{
    static const struct {
        unsigned long mask;
        bool wrprot;
    } calls[] = { { 6, false }, { 6, true }, { 9, false }, { 9, true } };
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT }, TDPMMU_TRACE_ALL, &vcpu);

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        const struct tdpmmu_trace_event *e;

        write_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_clear_dirty_pt_masked(w->kvm, slot_by_id(w, 0, 0), 0x240, calls[i].mask, calls[i].wrprot);
        write_unlock(&w->kvm->mmu_lock);
        read_events();
        e = only(TDPMMU_TRACE_CLEAR_DIRTY_PT_MASKED);
        assert_int_equal(e->gfn.gfn, 0x240);
        assert_int_equal(e->gfn.mask, calls[i].mask);
        assert_int_equal(e->gfn.wrprot, calls[i].wrprot);
    }
    world_free(w);
}

/* A fast fault: which entry it was, what was there, and what is. */
static void fast_faults_are_told(void **state)
{
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT }, TDPMMU_TRACE_ALL, &vcpu);
    const uint64_t gpa = 0x321678, code = PFERR_WRITE_MASK | PFERR_PRESENT_MASK;
    const struct tdpmmu_trace_event *e;
    uint64_t before;

    (void)state;
    assert_int_equal(map_page(w, 0x321, PG_LEVEL_4K), RET_PF_FIXED);
    read_lock(&w->kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_wrprot_slot(w->kvm, slot_by_id(w, 0, 0), PG_LEVEL_4K));
    read_unlock(&w->kvm->mmu_lock);
    before = spte_at(vcpu, 0x321, 1);
    read_events();
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, gpa, code), RET_PF_FIXED);
    read_events();
    e = only(TDPMMU_TRACE_FAST_PAGE_FAULT);
    assert_int_equal(e->fast_page_fault.cr2_or_gpa, gpa);
    assert_int_equal(e->fast_page_fault.error_code, code);
    assert_int_equal(e->fast_page_fault.old_spte, before);
    assert_int_equal(e->fast_page_fault.new_spte, before | W_BIT);
    assert_int_equal(e->fast_page_fault.new_spte, spte_at(vcpu, 0x321, 1));
    assert_int_equal(e->fast_page_fault.sptep & 4095, 8 * (0x321 & 511));
    assert_int_equal(e->fast_page_fault.vcpu_id, VCPU_ID);
    assert_int_equal(e->fast_page_fault.ret, RET_PF_FIXED);
    e = only(TDPMMU_TRACE_PAGE_FAULT);
    assert_int_equal(e->page_fault.fault_address, gpa);
    assert_int_equal(e->page_fault.error_code, code);
    assert_int_equal(e->page_fault.vcpu_id, VCPU_ID);
    world_free(w);
}

/* A fetch of what could be huge asks for 4K where huge pages must not be executed; a read does not. */
static void requested_levels_are_told(void **state)
{
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT, .nx_huge_pages = 1 },
                             TDPMMU_TRACE_ALL, &vcpu);
    const struct tdpmmu_trace_event *e;

    (void)state;
    assert_int_equal(fault_on(w, vcpu, 0x405, PFERR_FETCH_MASK, true, PG_LEVEL_2M, pfn_for(0x405), false), RET_PF_FIXED);
    read_events();
    e = only(TDPMMU_TRACE_SPTE_REQUESTED);
    assert_int_equal(e->spte_requested.gfn, 0x405);
    assert_int_equal(e->spte_requested.pfn, pfn_for(0x405));
    assert_int_equal(e->spte_requested.level, PG_LEVEL_4K);
    assert_true(only(TDPMMU_TRACE_MAP)->map.nxwa);
    assert_int_equal(fault_on(w, vcpu, 0x805, 0, true, PG_LEVEL_2M, pfn_for(0x805), false), RET_PF_FIXED);
    read_events();
    assert_int_equal(only(TDPMMU_TRACE_SPTE_REQUESTED)->spte_requested.level, PG_LEVEL_2M);
    world_free(w);
}

/* Linux remembers one address of MMIO, and there would not look at the entry. */
static void forget_mmio(struct kvm_vcpu *vcpu, gfn_t another)
{
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, another << 12, 0), RET_PF_EMULATE);
    read_events();
}

static void mmio_is_told_with_its_access_and_generations(void **state)
{
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT }, TDPMMU_TRACE_ALL, &vcpu);
    const gfn_t gfn = WORLD_SLOT_PAGES + 0x111;
    uint64_t old_generation = tdpmmu_memslots_generation(w->kvm, 0) & 0x7ffff, generation;

    (void)state;
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_WRITE_MASK), RET_PF_EMULATE);
    read_events();
    assert_int_equal(only(TDPMMU_TRACE_MARK_MMIO_SPTE)->mmio.gen, old_generation);
    forget_mmio(vcpu, gfn + 1);
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_RSVD_MASK | PFERR_PRESENT_MASK), RET_PF_EMULATE);
    read_events();
    assert_int_equal(only(TDPMMU_TRACE_HANDLE_MMIO)->mmio.gfn, gfn);
    assert_int_equal(only(TDPMMU_TRACE_HANDLE_MMIO)->mmio.access, spte_at(vcpu, gfn, 1) & 6);
    assert_int_equal(only(TDPMMU_TRACE_HANDLE_MMIO)->mmio.access, 6);
    assert_int_equal(add_slot(w->kvm, 9, 0, 2 * WORLD_SLOT_PAGES, 16, 1ull << 33), 0);
    generation = tdpmmu_memslots_generation(w->kvm, 0) & 0x7ffff;
    assert_int_not_equal(generation, old_generation);
    forget_mmio(vcpu, gfn + 2);
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_RSVD_MASK | PFERR_PRESENT_MASK), RET_PF_EMULATE);
    read_events();
    assert_int_equal(only(TDPMMU_TRACE_CHECK_MMIO_SPTE)->mmio_check.kvm_gen, generation);
    assert_int_equal(only(TDPMMU_TRACE_CHECK_MMIO_SPTE)->mmio_check.spte_gen, old_generation);
    world_free(w);
}

/* Changes and leaves of SMM are told as SMM's, and where they are. */
static void smm_is_told(void **state)
{
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT }, TDPMMU_TRACE_ALL, &vcpu);
    const struct tdpmmu_trace_event *e;

    (void)state;
    assert_int_equal(add_slot(w->kvm, 1u << 16, 0, 0, 4096, WORLD_HVA), 0);
    read_events();
    assert_int_equal(tdpmmu_vcpu_set_as_id(vcpu, 1), 0);
    read_events();
    assert_true(only(TDPMMU_TRACE_SMM_TRANSITION)->smm_transition.entering);
    assert_int_equal(only(TDPMMU_TRACE_SMM_TRANSITION)->smm_transition.vcpu_id, VCPU_ID);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    assert_int_equal(fault_on(w, vcpu, 0x77, 0, false, PG_LEVEL_4K, pfn_for(0x77), false), RET_PF_FIXED);
    read_events();
    for (unsigned i = 0, changes = 0; i < event_count; i++)
        if (events[i].id == TDPMMU_TRACE_SPTE_CHANGED) {
            assert_int_equal(events[i].spte_changed.as_id, 1);
            assert_int_equal(events[i].spte_changed.level, 4 - changes);
            changes++;
        }
    e = only(TDPMMU_TRACE_SET_SPTE);
    assert_int_equal(e->set_spte.spte, spte_at(vcpu, 0x77, 1));
    assert_true(e->set_spte.r && e->set_spte.x);
    assert_int_equal(e->set_spte.u, 1);
    assert_int_equal(e->set_spte.sptep & 4095, 8 * 0x77);
    assert_int_equal(tdpmmu_vcpu_set_as_id(vcpu, 0), 0);
    read_events();
    assert_false(only(TDPMMU_TRACE_SMM_TRANSITION)->smm_transition.entering);
    world_free(w);
}

static void unmaps_say_whether_they_owe_a_flush(void **state)
{
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT }, TDPMMU_TRACE_ALL, &vcpu);

    (void)state;
    for (int may_block = 0; may_block < 2; may_block++)
        for (int is_mapped = 0; is_mapped < 2; is_mapped++) {
            struct kvm_gfn_range range = {
                .slot = slot_by_id(w, 0, 0), .start = 0x123, .end = 0x127, .may_block = may_block,
            };

            if (is_mapped)
                assert_int_equal(map_page(w, 0x124, PG_LEVEL_4K), RET_PF_FIXED);
            read_events();
            write_lock(&w->kvm->mmu_lock);
            assert_int_equal(kvm_tdp_mmu_unmap_gfn_range(w->kvm, &range, false), is_mapped);
            if (is_mapped)
                kvm_flush_remote_tlbs(w->kvm);
            write_unlock(&w->kvm->mmu_lock);
            read_events();
            assert_int_equal(only(TDPMMU_TRACE_UNMAP_GFN_RANGE)->range.start, 0x123);
            assert_int_equal(only(TDPMMU_TRACE_UNMAP_GFN_RANGE)->range.end, 0x127);
            assert_int_equal(only(TDPMMU_TRACE_UNMAP_GFN_RANGE_RET)->ret.ret, is_mapped);
        }
    world_free(w);
}

/* A recording of flushed ranges alone has them; one of full flushes has none of them. */
static void flushes_are_told_apart(void **state)
{
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT },
                             TDPMMU_TRACE_BIT(TDPMMU_TRACE_FLUSH_RANGE), &vcpu);

    (void)state;
    kvm_flush_remote_tlbs_range(w->kvm, 0x1234, 0x56);
    kvm_flush_remote_tlbs(w->kvm);
    read_events();
    assert_int_equal(event_count, 1);
    assert_int_equal(only(TDPMMU_TRACE_FLUSH_RANGE)->gfn.gfn, 0x1234);
    assert_int_equal(only(TDPMMU_TRACE_FLUSH_RANGE)->gfn.n, 0x56);
    assert_int_equal(tdpmmu_trace_enable(w->kvm, TDPMMU_TRACE_BIT(TDPMMU_TRACE_FLUSH)), 0);
    kvm_flush_remote_tlbs_range(w->kvm, 0x1234, 0x56);
    kvm_flush_remote_tlbs(w->kvm);
    read_events();
    assert_int_equal(event_count, 1);
    only(TDPMMU_TRACE_FLUSH);
    world_free(w);
}

/* Where nobody but a recording wants to hear of changes, it hears of each. */
static void changes_are_told_to_a_recording_alone(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct tdpmmu_vm_config config = m->config;
        struct kvm *kvm;
        struct kvm_vcpu *vcpu;
        unsigned gone = 0, aged = 0;

        config.size = sizeof(config);
        kvm = tdpmmu_create_vm(&config);
        assert_non_null(kvm);
        vcpu = tdpmmu_create_vcpu(kvm, 0);
        assert_int_equal(add_slot(kvm, 0, 0, 0, 4096, WORLD_HVA), 0);
        assert_int_equal(kvm_mmu_load(vcpu), 0);
        for (gfn_t gfn = 0; gfn < 8; gfn++) {
            read_lock(&kvm->mmu_lock);
            assert_int_equal(kvm_tdp_mmu_map(vcpu, gfn << 12, PFERR_WRITE_MASK, true, 1, pfn_for(gfn), false), RET_PF_FIXED);
            read_unlock(&kvm->mmu_lock);
        }
        assert_int_equal(tdpmmu_trace_enable(kvm, TDPMMU_TRACE_BIT(TDPMMU_TRACE_SPTE_CHANGED)), 0);
        while (tdpmmu_trace_read(events, MOST, NULL) > 0)
            ;
        assert_true(kvm_mmu_notifier_clear_young(kvm, WORLD_HVA, WORLD_HVA + 0x8000));
        read_events();
        for (unsigned i = 0; i < event_count; i++)
            aged += is_shadow_present_pte(events[i].spte_changed.new_spte);
        write_lock(&kvm->mmu_lock);
        assert_true(kvm_tdp_mmu_zap_leafs(kvm, 0, 4096, false));
        kvm_flush_remote_tlbs(kvm);
        write_unlock(&kvm->mmu_lock);
        read_events();
        for (unsigned i = 0; i < event_count; i++)
            gone += events[i].spte_changed.gfn == i && !is_shadow_present_pte(events[i].spte_changed.new_spte);
        assert_int_equal(aged, 8);
        assert_int_equal(gone, 8);
        tdpmmu_destroy_vm(kvm);
    }
}

static unsigned heard[TDPMMU_TRACE_COUNT];

static void hear(void *ctx, struct kvm *kvm, const struct tdpmmu_trace_event *event)
{
    (void)ctx, (void)kvm;
    heard[event->id]++;
}

/* A rig's own callback hears of all events, whatever goes to rings. */
static void rings_do_not_silence_the_callback(void **state)
{
    static const uint64_t wanted[] = { TDPMMU_TRACE_BIT(TDPMMU_TRACE_MARK), 0, TDPMMU_TRACE_ALL, 0 };
    struct tdpmmu_ops ops = { .size = sizeof(ops), .trace = hear };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops };
    struct kvm *kvm = tdpmmu_create_vm(&config);

    (void)state;
    assert_non_null(kvm);
    memset(heard, 0, sizeof(heard));
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(tdpmmu_trace_enable(kvm, wanted[i]), 0);
        kvm_flush_remote_tlbs(kvm);
        assert_int_equal(tdpmmu_trace_mark(kvm, "here"), 0);
        assert_int_equal(heard[TDPMMU_TRACE_FLUSH], i + 1);
        assert_int_equal(heard[TDPMMU_TRACE_MARK], i + 1);
    }
    tdpmmu_destroy_vm(kvm);
    while (tdpmmu_trace_read(events, MOST, NULL) > 0)
        ;
}

/* ---- dirty logs ------------------------------------------------------------------------ */

static int enable_cap(struct kvm *kvm, uint32_t cap, uint64_t value)
{
    struct kvm_enable_cap wish = { .cap = cap, .args = { value } };

    return kvm_vm_ioctl_enable_cap(kvm, &wish);
}

/* The largest ring is one; twice that is too big. */
static void largest_ring(void **state)
{
    const uint64_t most = 65536 * sizeof(struct kvm_dirty_gfn);
    struct tdpmmu_vm_config config = { .size = sizeof(config), .vendor = TDPMMU_NPT };
    struct kvm *kvm = tdpmmu_create_vm(&config);
    struct kvm_vcpu *vcpu;
    uint32_t entries = 0;

    (void)state;
    assert_non_null(kvm);
    assert_int_equal(enable_cap(kvm, KVM_CAP_DIRTY_LOG_RING, 2 * most), -E2BIG);
    assert_int_equal(enable_cap(kvm, KVM_CAP_DIRTY_LOG_RING, most), 0);
    vcpu = tdpmmu_create_vcpu(kvm, 0);
    assert_non_null(vcpu);
    assert_non_null(tdpmmu_vcpu_dirty_ring(vcpu, &entries));
    assert_int_equal(entries, 65536);
    tdpmmu_destroy_vm(kvm);
}

/*
 * Ring entries are the rig's to write: those of a batch that would reach a page past its slot protect nothing, and
 * what lies behind the slot stays writable.
 */
static void forged_batches_stay_in_their_slot(void **state)
{
    struct tdpmmu_vm_config config = { .size = sizeof(config), .vendor = TDPMMU_NPT };
    struct kvm *kvm = tdpmmu_create_vm(&config);
    struct kvm_vcpu *vcpu;
    struct kvm_dirty_gfn *ring;
    uint32_t size;

    (void)state;
    assert_non_null(kvm);
    assert_int_equal(enable_cap(kvm, KVM_CAP_DIRTY_LOG_RING, 4096), 0);
    vcpu = tdpmmu_create_vcpu(kvm, 0);
    ring = tdpmmu_vcpu_dirty_ring(vcpu, &size);
    assert_int_equal(add_slot(kvm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, 100, 1ull << 40), 0);
    assert_int_equal(add_slot(kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, 100, 100, 1ull << 41), 0);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    for (gfn_t gfn = 98; gfn < 102; gfn++)
        assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_WRITE_MASK), RET_PF_FIXED);
    ring[0].offset = 99;
    ring[1].offset = 100; /* the first of the next slot */
    for (unsigned i = 0; i < 2; i++)
        __atomic_store_n(&ring[i].flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(kvm), 2);
    for (gfn_t gfn = 98; gfn < 102; gfn++)
        assert_true(is_writable_pte(spte_at(vcpu, gfn, 1)));
    tdpmmu_destroy_vm(kvm);
}

/* A vCPU with the smallest ring; what it writes first stands in its slot 0, of as many pages as it likes. */
struct ring {
    struct kvm *kvm;
    struct kvm_vcpu *vcpu;
    struct kvm_dirty_gfn *entries;
    uint32_t size;
};

static struct ring ring_of(int as_id)
{
    struct tdpmmu_vm_config config = { .size = sizeof(config), .vendor = TDPMMU_NPT };
    struct ring r = { .kvm = tdpmmu_create_vm(&config) };

    assert_non_null(r.kvm);
    assert_int_equal(enable_cap(r.kvm, KVM_CAP_DIRTY_LOG_RING, 4096), 0);
    r.vcpu = tdpmmu_create_vcpu(r.kvm, VCPU_ID);
    r.entries = tdpmmu_vcpu_dirty_ring(r.vcpu, &r.size);
    assert_int_equal(add_slot(r.kvm, (uint32_t)as_id << 16, KVM_MEM_LOG_DIRTY_PAGES, 0, 4096, 1ull << 40), 0);
    assert_int_equal(tdpmmu_vcpu_set_as_id(r.vcpu, as_id), 0);
    assert_int_equal(kvm_mmu_load(r.vcpu), 0);
    return r;
}

static int map_in(struct ring *r, gfn_t gfn, uint64_t error_code)
{
    int ret;

    read_lock(&r->kvm->mmu_lock);
    ret = kvm_tdp_mmu_map(r->vcpu, gfn << 12, error_code, true, PG_LEVEL_4K, gfn, false);
    read_unlock(&r->kvm->mmu_lock);
    return ret;
}

/* The rig takes the first entries and gives them back. */
static void give_back(struct ring *r, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        assert_int_equal(r->entries[i % r->size].flags, KVM_DIRTY_GFN_F_DIRTY);
        __atomic_store_n(&r->entries[i % r->size].flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    }
    assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(r->kvm), count);
}

/* What is pushed and what is given back is told, of which vCPU and how far it is. */
static void rings_are_told(void **state)
{
    struct ring r = ring_of(1);
    const struct tdpmmu_trace_event *e;

    (void)state;
    assert_int_equal(tdpmmu_trace_enable(r.kvm, TDPMMU_TRACE_BIT(TDPMMU_TRACE_RING_PUSH) |
                                                    TDPMMU_TRACE_BIT(TDPMMU_TRACE_RING_RESET)), 0);
    while (tdpmmu_trace_read(events, MOST, NULL) > 0)
        ;
    for (gfn_t gfn = 0; gfn < 5; gfn++) {
        assert_int_equal(map_in(&r, 0x77 + gfn, PFERR_WRITE_MASK), RET_PF_FIXED);
        read_events();
        e = only(TDPMMU_TRACE_RING_PUSH);
        assert_int_equal(e->dirty_ring.index, VCPU_ID);
        assert_int_equal(e->dirty_ring.slot, 1u << 16);
        assert_int_equal(e->dirty_ring.offset, 0x77 + gfn);
        assert_int_equal(e->dirty_ring.dirty_index, gfn + 1);
        assert_int_equal(e->dirty_ring.reset_index, gfn < 3 ? 0 : 3);
        if (gfn == 2) {
            give_back(&r, 0, 3);
            read_events();
            e = only(TDPMMU_TRACE_RING_RESET);
            assert_int_equal(e->dirty_ring.index, VCPU_ID);
            assert_int_equal(e->dirty_ring.dirty_index, 3);
            assert_int_equal(e->dirty_ring.reset_index, 3);
        }
    }
    tdpmmu_destroy_vm(r.kvm);
}

/* With a full ring nothing becomes writable: by no fast fault, and by no read of a page that may be written. */
static void nothing_becomes_writable_with_a_full_ring(void **state)
{
    const uint64_t code = PFERR_WRITE_MASK | PFERR_PRESENT_MASK;
    struct ring r = ring_of(0);

    (void)state;
    assert_int_equal(map_in(&r, 0, PFERR_WRITE_MASK), RET_PF_FIXED);
    give_back(&r, 0, 1);
    assert_false(is_writable_pte(spte_at(r.vcpu, 0, 1)));
    for (gfn_t gfn = 1; gfn <= r.size; gfn++)
        assert_int_equal(map_in(&r, gfn, PFERR_WRITE_MASK), RET_PF_FIXED);
    assert_int_equal(tdpmmu_fast_page_fault(r.vcpu, 0, code), RET_PF_INVALID);
    assert_false(is_writable_pte(spte_at(r.vcpu, 0, 1)));
    assert_int_equal(map_in(&r, r.size + 1, 0), -ENOBUFS);
    assert_false(mapped(r.vcpu, r.size + 1));
    give_back(&r, 1, r.size);
    assert_int_equal(tdpmmu_fast_page_fault(r.vcpu, 0, code), RET_PF_FIXED);
    assert_true(is_writable_pte(spte_at(r.vcpu, 0, 1)));
    tdpmmu_destroy_vm(r.kvm);
}

/* What SMM wrote is protected again in SMM. */
static void reset_in_smm(void **state)
{
    struct ring r = ring_of(1);

    (void)state;
    assert_int_equal(add_slot(r.kvm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, 4096, 1ull << 41), 0);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(map_in(&r, 5, PFERR_WRITE_MASK), RET_PF_FIXED);
        assert_true(is_writable_pte(spte_at(r.vcpu, 5, 1)));
        assert_int_equal(r.entries[round].slot, 1u << 16);
        give_back(&r, (unsigned)round, 1);
        assert_false(is_writable_pte(spte_at(r.vcpu, 5, 1)));
    }
    tdpmmu_destroy_vm(r.kvm);
}

/* A mask over the border of two tables, where the work is done by the row: just what it names, in both. */
static void masks_over_two_tables(void **state)
{
    static const unsigned long masks[] = { 1ul << 3 | 1ul << 20, 1ul << 20, 1ul << 11 | 1ul << 12, ~0ul, 0xf0f0f0f0f0f0f0f0 };
    const gfn_t first = 500;

    (void)state;
    for_each_machine(m) {
        struct tdpmmu_vm_config config = m->config;
        const struct kvm_memory_slot *slot;
        struct kvm_vcpu *vcpu;
        struct kvm *kvm;

        config.size = sizeof(config);
        kvm = tdpmmu_create_vm(&config);
        assert_non_null(kvm);
        vcpu = tdpmmu_create_vcpu(kvm, 0);
        assert_int_equal(add_slot(kvm, 0, 0, 0, 4096, WORLD_HVA), 0);
        assert_int_equal(kvm_mmu_load(vcpu), 0);
        rcu_read_lock();
        slot = tdpmmu_id_to_memslot(kvm, 0, 0);
        rcu_read_unlock();
        read_lock(&kvm->mmu_lock);
        for (gfn_t gfn = first; gfn < first + 70; gfn++)
            assert_int_equal(kvm_tdp_mmu_map(vcpu, gfn << 12, PFERR_WRITE_MASK, true, PG_LEVEL_4K, host_pfn(gfn), false),
                             RET_PF_FIXED);
        read_unlock(&kvm->mmu_lock);
        for (unsigned i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
            for (gfn_t gfn = first; gfn < first + 70; gfn++)
                guest_write(vcpu, gfn);
            write_lock(&kvm->mmu_lock);
            kvm_tdp_mmu_clear_dirty_pt_masked(kvm, slot, first, masks[i], false);
            kvm_flush_remote_tlbs(kvm);
            write_unlock(&kvm->mmu_lock);
            for (unsigned page = 0; page < 70; page++)
                assert_int_equal(is_dirty_spte(kvm, spte_at(vcpu, first + page, 1)), page >= 64 || !(masks[i] >> page & 1));
        }
        tdpmmu_destroy_vm(kvm);
    }
}

/* Of a huge page, a word of the log names only the first page: it is split all the same. */
static void huge_page_at_the_last_bit_is_split(void **state)
{
    uint64_t bits = UINT64_C(1) << 63;
    struct kvm_clear_dirty_log clear = { .slot = 1, .first_page = 448, .num_pages = 64, .dirty_bitmap = &bits };
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });

    (void)state;
    assert_int_equal(enable_cap(w->kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 3), 0);
    /* The slot begins one page behind a huge page's border: its page 511 begins the next. */
    assert_int_equal(add_slot(w->kvm, 1, 0, SIDE_BASE + 1, 2048, SIDE_HVA + 4096), 0);
    for (int huge = 1; huge < 3; huge++)
        assert_int_equal(fault_on(w, w->vcpu, SIDE_BASE + 512ull * huge, PFERR_WRITE_MASK, true, PG_LEVEL_2M,
                                  pfn_for(SIDE_BASE + 512ull * huge), false), RET_PF_FIXED);
    assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, SIDE_BASE + 1, 2048, SIDE_HVA + 4096), 0);
    assert_int_equal(stats_of(w->kvm).pages_2m, 2);
    assert_int_equal(kvm_vm_ioctl_clear_dirty_log(w->kvm, &clear), 0);
    assert_int_equal(stats_of(w->kvm).pages_2m, 1);
    assert_int_equal(stats_of(w->kvm).pages_4k, 512);
    world_free(w);
}

/* ---- faults and the host ------------------------------------------------------------------ */

/* MMIO of SMM has SMM's generation, and so is fresh as long as nothing changes there. */
static void mmio_of_smm_is_fresh(void **state)
{
    const gfn_t gfn = 0x111;
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT }, TDPMMU_TRACE_ALL, &vcpu);

    (void)state;
    assert_int_equal(tdpmmu_vcpu_set_as_id(vcpu, 1), 0);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, gfn << 12, 0), RET_PF_EMULATE);
    assert_int_equal(get_mmio_spte_generation(spte_at(vcpu, gfn, 1)), tdpmmu_memslots_generation(w->kvm, 1) & 0x7ffff);
    forget_mmio(vcpu, gfn + 1);
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_RSVD_MASK | PFERR_PRESENT_MASK), RET_PF_EMULATE);
    read_events();
    only(TDPMMU_TRACE_HANDLE_MMIO);
    none(TDPMMU_TRACE_MAP);
    world_free(w);
}

/* An invalidation gives mmu_lock away only if its caller may wait for it. */
static void invalidations_that_must_not_block(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        for (int may_block = 0; may_block < 2; may_block++) {
            uint64_t yields;

            map_pages(w, 0x200, 8, PG_LEVEL_4K);
            yields = stats_of(w->kvm).yields;
            atomic_store(&w->resched, true);
            kvm_mmu_notifier_invalidate_range_start(w->kvm, WORLD_HVA + 0x200000, WORLD_HVA + 0x208000, may_block);
            atomic_store(&w->resched, false);
            kvm_mmu_notifier_invalidate_range_end(w->kvm, WORLD_HVA + 0x200000, WORLD_HVA + 0x208000);
            assert_int_equal(stats_of(w->kvm).yields > yields, may_block);
            assert_false(mapped(w->vcpu, 0x204));
        }
        world_free(w);
    }
}

/* Of a range over several slots, a page that was used in any of them was used. */
static void use_of_any_slot_counts(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        assert_int_equal(add_slot(w->kvm, 1, 0, SIDE_BASE, 16, WORLD_HVA + (WORLD_SLOT_PAGES << 12)), 0);
        assert_int_equal(map_page(w, WORLD_SLOT_PAGES - 1, PG_LEVEL_4K), RET_PF_FIXED);
        assert_true(kvm_mmu_notifier_clear_young(w->kvm, WORLD_HVA, WORLD_HVA + ((WORLD_SLOT_PAGES + 16) << 12)));
        assert_false(kvm_mmu_notifier_clear_young(w->kvm, WORLD_HVA, WORLD_HVA + ((WORLD_SLOT_PAGES + 16) << 12)));
        assert_int_equal(map_page(w, SIDE_BASE, PG_LEVEL_4K), RET_PF_FIXED);
        assert_true(kvm_mmu_notifier_clear_young(w->kvm, WORLD_HVA, WORLD_HVA + ((WORLD_SLOT_PAGES + 16) << 12)));
        world_free(w);
    }
}

/* What could be a leaf and has bit 1 counts as dirtied already, as in Linux 6.12: a stale MMIO SPTE of EPT's. */
static void stale_mmio_counts_as_dirtied(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });

    (void)state;
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, SIDE_BASE << 12, PFERR_WRITE_MASK), RET_PF_EMULATE);
    assert_true(is_mmio_spte(w->kvm, spte_at(w->vcpu, SIDE_BASE, 1)));
    assert_int_equal(add_slot(w->kvm, 1, 0, SIDE_BASE, 16, SIDE_HVA), 0);
    for (gfn_t gfn = SIDE_BASE; gfn < SIDE_BASE + 2; gfn++) {
        assert_int_equal(fault_on(w, w->vcpu, gfn, PFERR_WRITE_MASK, true, 1, pfn_for(gfn), false), RET_PF_FIXED);
        assert_int_equal(is_dirty_spte(w->kvm, spte_at(w->vcpu, gfn, 1)), gfn != SIDE_BASE);
    }
    world_free(w);
}

/* On a CPU that leaks through them, these address bits of an MMIO SPTE stand inverted: the five below the cached ones. */
static void leaking_bits_of_mmio(void **state)
{
    (void)state;
    for (unsigned bits = 36; bits <= 46; bits += 5) {
        const uint64_t mask = UINT64_C(31) << (bits - 5);
        struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT, .l1tf_cache_bits = bits });
        const gfn_t gfns[] = { WORLD_SLOT_PAGES + 0x111, UINT64_C(1) << (bits - 1 - 12) };

        for (unsigned i = 0; i < 2; i++) {
            uint64_t spte;

            assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gfns[i] << 12, 0), RET_PF_EMULATE);
            spte = spte_at(w->vcpu, gfns[i], 1);
            assert_int_equal(get_mmio_spte_gfn(w->kvm, spte), gfns[i]);
            assert_int_equal(spte & mask, mask);
            assert_int_equal(spte >> bits & 31, (gfns[i] << 12 & mask) >> (bits - 5));
        }
        world_free(w);
    }
}

/* Of a VM that was made so, a slot's end zaps that slot alone. */
static void zap_slot_only_from_the_beginning(void **state)
{
    (void)state;
    for (unsigned only_it = 0; only_it < 2; only_it++) {
        struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT, .zap_slot_only = only_it });

        assert_int_equal(add_slot(w->kvm, 1, 0, SIDE_BASE, 16, SIDE_HVA), 0);
        assert_int_equal(map_page(w, 3, PG_LEVEL_4K), RET_PF_FIXED);
        assert_int_equal(map_page(w, SIDE_BASE + 3, PG_LEVEL_4K), RET_PF_FIXED);
        assert_int_equal(delete_slot(w->kvm, 1), 0);
        assert_int_equal(stats_of(w->kvm).pages_4k, only_it);
        assert_int_equal(tdpmmu_vcpu_root(w->vcpu)->role.invalid, !only_it);
        world_free(w);
    }
}

/* Pages that follow each other, but do not begin where a huge page may, are not put together. */
static void misaligned_rows_stay_small(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        for (gfn_t gfn = 512; gfn < 1024; gfn++)
            assert_int_equal(fault_on(w, w->vcpu, gfn, PFERR_WRITE_MASK, true, PG_LEVEL_4K, pfn_for(gfn) + 1, false),
                             RET_PF_FIXED);
        map_pages(w, 1024, 512, PG_LEVEL_4K);
        read_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_recover_huge_pages(w->kvm, slot_by_id(w, 0, 0));
        read_unlock(&w->kvm->mmu_lock);
        assert_int_equal(stats_of(w->kvm).pages_2m, 1);
        assert_spte(w->vcpu, 777, 1, m->leaf, pfn_for(777) + 1);
        assert_spte(w->vcpu, 1024, 2, m->leaf | PSE_BIT, pfn_for(1024));
        world_free(w);
    }
}

static unsigned times_asked;

/* The host gives a page, takes it away at once, and is about to take another. */
static kvm_pfn_t gives_and_takes(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                                 bool *writable, int *max_level)
{
    (void)ctx, (void)slot, (void)write;
    *writable = true;
    *max_level = PG_LEVEL_4K;
    if (times_asked++ == 0) {
        kvm_mmu_notifier_invalidate_range_start(kvm, WORLD_HVA + (gfn << 12), WORLD_HVA + ((gfn + 1) << 12), true);
        kvm_mmu_notifier_invalidate_range_end(kvm, WORLD_HVA + (gfn << 12), WORLD_HVA + ((gfn + 1) << 12));
        kvm_mmu_notifier_invalidate_range_start(kvm, WORLD_HVA + 0x700000, WORLD_HVA + 0x701000, true);
    }
    return pfn_for(gfn) + times_asked;
}

/* A fault whose page was taken meanwhile asks again, though the invalidation that still runs is of another. */
static void stale_beside_another_invalidation(void **state)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .gfn_to_pfn = gives_and_takes };

    (void)state;
    for_each_machine(m) {
        struct tdpmmu_vm_config config = m->config;
        struct world *w;

        config.ops = &ops;
        w = world_from(config);
        times_asked = 0;
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, 0x123000, PFERR_WRITE_MASK), RET_PF_RETRY);
        assert_false(mapped(w->vcpu, 0x123));
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, 0x123000, PFERR_WRITE_MASK), RET_PF_FIXED);
        assert_spte(w->vcpu, 0x123, 1, m->leaf, pfn_for(0x123) + 2);
        kvm_mmu_notifier_invalidate_range_end(w->kvm, WORLD_HVA + 0x700000, WORLD_HVA + 0x701000);
        world_free(w);
    }
}

/* A vCPU goes to SMM: what it remembers of the tables above its last fault is not good there. */
static void tables_above_are_of_one_space(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        assert_int_equal(add_slot(w->kvm, 1u << 16, 0, 0, 4096, WORLD_HVA), 0);
        map_pages(w, 0, 1, PG_LEVEL_4K);
        map_pages(w, 512, 1, PG_LEVEL_4K);
        assert_int_equal(map_page(w, 1, PG_LEVEL_4K), RET_PF_FIXED);
        assert_int_equal(tdpmmu_vcpu_set_as_id(w->vcpu, 1), 0);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        assert_int_equal(map_page(w, 513, PG_LEVEL_4K), RET_PF_FIXED);
        assert_true(mapped(w->vcpu, 513));
        assert_int_equal(tdpmmu_vcpu_set_as_id(w->vcpu, 0), 0);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        assert_false(mapped(w->vcpu, 513));
        world_free(w);
    }
}

/* A slot that moves while the host takes pages away waits for the end of that, as a new one does. */
static void moved_slot_waits_for_invalidations(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        assert_int_equal(add_slot(w->kvm, 1, 0, SIDE_BASE, 16, SIDE_HVA), 0);
        kvm_mmu_notifier_invalidate_range_start(w->kvm, WORLD_HVA, WORLD_HVA + 4096, true);
        assert_int_equal(add_slot(w->kvm, 1, 0, SIDE_BASE + 64, 16, SIDE_HVA), 0);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (SIDE_BASE + 65) << 12, PFERR_WRITE_MASK), RET_PF_RETRY);
        kvm_mmu_notifier_invalidate_range_end(w->kvm, WORLD_HVA, WORLD_HVA + 4096);
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (SIDE_BASE + 65) << 12, PFERR_WRITE_MASK), RET_PF_FIXED);
        world_free(w);
    }
}

/* To log a slot that nobody can write takes no walk and no flush. */
static void logging_of_a_read_only_slot(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        struct tdpmmu_stats before;

        assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_READONLY, SIDE_BASE, 1024, SIDE_HVA), 0);
        assert_int_equal(fault_on(w, w->vcpu, SIDE_BASE, 0, true, PG_LEVEL_2M, pfn_for(SIDE_BASE), false), RET_PF_FIXED);
        before = stats_of(w->kvm);
        assert_int_equal(before.pages_2m, 1);
        assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES, SIDE_BASE, 1024, SIDE_HVA), 0);
        assert_int_equal(stats_of(w->kvm).tlb_flushes, before.tlb_flushes);
        assert_int_equal(stats_of(w->kvm).pages_2m, 1);
        assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_READONLY, SIDE_BASE, 1024, SIDE_HVA), 0);
        assert_int_equal(stats_of(w->kvm).tlb_flushes, before.tlb_flushes);
        world_free(w);
    }
}

/* Tables that stand in for huge pages, of which those in the middle, at the end and at the beginning go first. */
static void nx_splits_go_in_any_order(void **state)
{
    static const unsigned orders[][2] = { { 1, 2 }, { 2, 1 }, { 3, 1 }, { 3, 2 }, { 0, 1 }, { 0, 3 }, { 1, 0 } };

    (void)state;
    for (unsigned i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT, .nx_huge_pages = 1 });

        for (gfn_t gfn = 0; gfn < 4 * 512; gfn += 512)
            assert_int_equal(fault_on(w, w->vcpu, gfn, PFERR_FETCH_MASK, true, PG_LEVEL_2M, pfn_for(gfn), false),
                             RET_PF_FIXED);
        for (unsigned j = 0; j < 2; j++) {
            struct kvm_mmu_page *sp = table_holding(w->vcpu, orders[i][j] * 512, 1);

            write_lock(&w->kvm->mmu_lock);
            assert_true(kvm_tdp_mmu_zap_sp(w->kvm, sp));
            write_unlock(&w->kvm->mmu_lock);
        }
        assert_int_equal(stats_of(w->kvm).nx_splits, 2);
        assert_int_equal(fault_on(w, w->vcpu, 9 * 512, PFERR_FETCH_MASK, true, PG_LEVEL_2M, pfn_for(9 * 512), false),
                         RET_PF_FIXED);
        assert_int_equal(tdpmmu_nx_recover(w->kvm, 1), 3);
        assert_int_equal(stats_of(w->kvm).nx_splits, 0);
        for (gfn_t gfn = 0; gfn < 10 * 512; gfn += 512)
            assert_false(mapped(w->vcpu, gfn));
        world_free(w);
    }
}

static kvm_pfn_t never_asked(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                             bool *writable, int *max_level)
{
    (void)ctx, (void)kvm, (void)slot, (void)write, (void)writable, (void)max_level;
    times_asked++;
    return pfn_for(gfn);
}

/* The host is not asked for a page to be written in a slot that is not. */
static void host_is_not_asked_to_write_read_only(void **state)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .gfn_to_pfn = never_asked };

    (void)state;
    for_each_machine(m) {
        struct tdpmmu_vm_config config = m->config;
        struct world *w;

        config.ops = &ops;
        w = world_from(config);
        times_asked = 0;
        assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_READONLY, SIDE_BASE, 16, SIDE_HVA), 0);
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, SIDE_BASE << 12, PFERR_WRITE_MASK), RET_PF_EMULATE);
        assert_int_equal(times_asked, 0);
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, SIDE_BASE << 12, 0), RET_PF_FIXED);
        assert_int_equal(times_asked, 1);
        world_free(w);
    }
}

/* Mapping ahead from inside a huge page leaves nothing out behind it. */
static void prefault_from_inside_a_huge_page(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        struct kvm_pre_fault_memory range = { .gpa = (SIDE_BASE + 612) << 12, .size = 1024 << 12 };

        assert_int_equal(add_slot(w->kvm, 1, 0, SIDE_BASE, 2048, SIDE_HVA), 0);
        assert_int_equal(kvm_vcpu_pre_fault_memory(w->vcpu, &range), 0);
        assert_int_equal(range.size, 0);
        assert_int_equal(range.gpa, (SIDE_BASE + 1636) << 12);
        assert_int_equal(stats_of(w->kvm).pages_2m, 3);
        for (gfn_t gfn = 612; gfn < 1636; gfn++)
            assert_true(mapped(w->vcpu, SIDE_BASE + gfn));
        world_free(w);
    }
}

/* And one that meets a host that is just taking a page tries again. */
static void prefault_beside_the_host(void **state)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .gfn_to_pfn = gives_and_takes };

    (void)state;
    for_each_machine(m) {
        struct tdpmmu_vm_config config = m->config;
        struct kvm_pre_fault_memory range = { .gpa = 0x123000, .size = 0x1000 };
        struct world *w;

        config.ops = &ops;
        w = world_from(config);
        times_asked = 0;
        assert_int_equal(kvm_vcpu_pre_fault_memory(w->vcpu, &range), 0);
        assert_int_equal(times_asked, 2);
        assert_true(mapped(w->vcpu, 0x123));
        kvm_mmu_notifier_invalidate_range_end(w->kvm, WORLD_HVA + 0x700000, WORLD_HVA + 0x701000);
        world_free(w);
    }
}

/* What goes with the table above it is told by its own gfn. */
static void huge_leaves_below_a_table_are_told(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        unsigned gone[4] = { 0 };

        for (gfn_t gfn = 0; gfn < 4 * 512; gfn += 512)
            assert_int_equal(map_page(w, gfn, PG_LEVEL_2M), RET_PF_FIXED);
        world_forget(w);
        write_lock(&w->kvm->mmu_lock);
        assert_true(kvm_tdp_mmu_zap_gfn_range(w->kvm, 0, GIB_PAGES));
        kvm_flush_remote_tlbs(w->kvm);
        write_unlock(&w->kvm->mmu_lock);
        for (unsigned i = 0; i < atomic_load(&w->change_count); i++)
            if (w->change[i].level == PG_LEVEL_2M && is_shadow_present_pte(w->change[i].old_spte)) {
                assert_int_equal(w->change[i].gfn % 512, 0);
                assert_in_range(w->change[i].gfn, 0, 3 * 512);
                assert_int_equal(spte_to_pfn(w->change[i].old_spte), pfn_for(w->change[i].gfn));
                gone[w->change[i].gfn / 512]++;
            }
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(gone[i], 1);
        world_free(w);
    }
}

/* Roots that are invalidated while somebody still has them: each loses the MMU's reference once, and each its own place. */
static void roots_that_are_kept(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        struct kvm_vcpu *second = tdpmmu_create_vcpu(w->kvm, 1), *third = tdpmmu_create_vcpu(w->kvm, 2);

        for (unsigned i = 0; i < 3; i++) {
            write_lock(&w->kvm->mmu_lock);
            kvm_tdp_mmu_invalidate_all_roots(w->kvm);
            write_unlock(&w->kvm->mmu_lock);
            kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
            assert_int_equal(stats_of(w->kvm).roots, 1);
            assert_int_equal(tdpmmu_vcpu_root(w->vcpu)->tdp_mmu_root_count, 1);
        }
        assert_int_equal(kvm_mmu_load(second), 0);
        assert_int_equal(tdpmmu_vcpu_set_as_id(third, 1), 0);
        assert_int_equal(kvm_mmu_load(third), 0);
        assert_int_equal(stats_of(w->kvm).roots, 3);
        write_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_invalidate_all_roots(w->kvm);
        write_unlock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
        kvm_mmu_unload(second); /* in the middle of the list */
        assert_int_equal(stats_of(w->kvm).roots, 2);
        kvm_mmu_unload(third);
        assert_int_equal(stats_of(w->kvm).roots, 1);
        kvm_mmu_unload(w->vcpu);
        assert_int_equal(stats_of(w->kvm).roots, 0);
        world_free(w);
    }
}

/* A slot that moves over a part of itself may not move over its neighbour as well, on either side. */
static void moves_over_itself_and_a_neighbour(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });

    (void)state;
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(add_slot(w->kvm, 1 + i, 0, SIDE_BASE + 32 * i, 16, SIDE_HVA + (i << 20)), 0);
    assert_int_equal(add_slot(w->kvm, 2, 0, SIDE_BASE + 15, 16, SIDE_HVA + (1 << 20)), -EEXIST);
    assert_int_equal(add_slot(w->kvm, 2, 0, SIDE_BASE + 49, 16, SIDE_HVA + (1 << 20)), -EEXIST);
    assert_int_equal(slot_by_id(w, 0, 2)->base_gfn, SIDE_BASE + 32);
    assert_int_equal(add_slot(w->kvm, 2, 0, SIDE_BASE + 31, 16, SIDE_HVA + (1 << 20)), 0);
    assert_int_equal(add_slot(w->kvm, 2, 0, SIDE_BASE + 16, 16, SIDE_HVA + (1 << 20)), 0);
    assert_int_equal(add_slot(w->kvm, 2, 0, SIDE_BASE + 15, 16, SIDE_HVA + (1 << 20)), -EEXIST);
    assert_int_equal(add_slot(w->kvm, 2, 0, SIDE_BASE + 48, 16, SIDE_HVA + (1 << 20)), 0);
    assert_int_equal(add_slot(w->kvm, 2, 0, SIDE_BASE + 49, 16, SIDE_HVA + (1 << 20)), -EEXIST);
    assert_int_equal(slot_by_id(w, 0, 2)->base_gfn, SIDE_BASE + 48);
    world_free(w);
}

/* A table that begins before a range, or ends behind it, stays, with what of it is not in the range. */
static void zap_from_inside_a_table(void **state)
{
    static const gfn_t pages[] = { 50, 99, 100, 511, 512, 1023, 1024, 1099, 1100, 1500 };

    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
            assert_int_equal(map_page(w, pages[i], PG_LEVEL_4K), RET_PF_FIXED);
        write_lock(&w->kvm->mmu_lock);
        assert_true(kvm_tdp_mmu_zap_gfn_range(w->kvm, 100, 1100));
        kvm_flush_remote_tlbs(w->kvm);
        write_unlock(&w->kvm->mmu_lock);
        for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
            assert_int_equal(mapped(w->vcpu, pages[i]), pages[i] < 100 || pages[i] >= 1100);
        assert_int_equal(stats_of(w->kvm).pages_4k, 4);
        world_free(w);
    }
}

/* Tables are paid for once: as the walk gives way, or at its end. */
static void tables_are_paid_for_once(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        for (int yields = 0; yields < 2; yields++) {
            map_pages(w, 0, 4, PG_LEVEL_4K);
            world_forget(w);
            atomic_store(&w->resched, yields);
            write_lock(&w->kvm->mmu_lock);
            assert_int_equal(kvm_tdp_mmu_zap_gfn_range(w->kvm, 0, 2ull * GIB_PAGES), !yields);
            write_unlock(&w->kvm->mmu_lock);
            atomic_store(&w->resched, false);
            assert_int_equal(atomic_load(&w->flush_count), 1);
            assert_int_equal(w->flush[0].npages, yields ? UINT64_MAX : 2ull * GIB_PAGES);
            kvm_flush_remote_tlbs(w->kvm);
        }
        world_free(w);
    }
}

/* Tables of several blocks of memory, of which some go and as many come, again and again. */
static void tables_in_many_blocks(void **state)
{
    const gfn_t count = 2000;
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });

    (void)state;
    for (gfn_t stride = 2; stride < 6; stride++) {
        for (gfn_t i = 0; i < count; i++)
            if (!mapped(w->vcpu, i * 512))
                assert_int_equal(map_page(w, i * 512, PG_LEVEL_4K), RET_PF_FIXED);
        assert_int_equal(stats_of(w->kvm).pages_4k, count);
        write_lock(&w->kvm->mmu_lock);
        for (gfn_t i = 0; i < count; i += stride)
            (void)kvm_tdp_mmu_zap_gfn_range(w->kvm, i * 512, (i + 1) * 512);
        kvm_flush_remote_tlbs(w->kvm);
        write_unlock(&w->kvm->mmu_lock);
        rcu_barrier();
        assert_int_equal(stats_of(w->kvm).tables_stray, 0);
    }
    world_free(w);
}

/* What begins inside a table and ends inside another is done by the row in both, and in nothing else. */
static void rows_from_inside_a_table(void **state)
{
    static const gfn_t ranges[][2] = { { 500, 600 }, { 511, 513 }, { 1, 1023 }, { 300, 1200 }, { 512, 1024 }, { 767, 768 } };

    (void)state;
    for_each_machine(m) {
        struct tdpmmu_vm_config config = m->config;
        struct kvm_vcpu *vcpu;
        struct kvm *kvm;

        config.size = sizeof(config);
        kvm = tdpmmu_create_vm(&config);
        assert_non_null(kvm);
        vcpu = tdpmmu_create_vcpu(kvm, 0);
        assert_int_equal(add_slot(kvm, 0, 0, 0, 4096, WORLD_HVA), 0);
        assert_int_equal(kvm_mmu_load(vcpu), 0);
        for (unsigned i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
            for (gfn_t gfn = 0; gfn < 1300; gfn++)
                if (!mapped(vcpu, gfn)) {
                    read_lock(&kvm->mmu_lock);
                    assert_int_equal(kvm_tdp_mmu_map(vcpu, gfn << 12, PFERR_WRITE_MASK, true, 1, host_pfn(gfn), false),
                                     RET_PF_FIXED);
                    read_unlock(&kvm->mmu_lock);
                }
            write_lock(&kvm->mmu_lock);
            assert_true(kvm_tdp_mmu_zap_leafs(kvm, ranges[i][0], ranges[i][1], false));
            kvm_flush_remote_tlbs(kvm);
            write_unlock(&kvm->mmu_lock);
            for (gfn_t gfn = 0; gfn < 1300; gfn++)
                assert_int_equal(mapped(vcpu, gfn), gfn < ranges[i][0] || gfn >= ranges[i][1]);
        }
        tdpmmu_destroy_vm(kvm);
    }
}

/* A node that was replaced says so, as one that was deleted does. */
static void replaced_nodes_are_poisoned(void **state)
{
    struct hlist_head head = HLIST_HEAD_INIT;
    struct hlist_node nodes[3], deleted;

    (void)state;
    hlist_add_head_rcu(&nodes[1], &head);
    hlist_add_head_rcu(&nodes[0], &head);
    hlist_add_head_rcu(&deleted, &head);
    hlist_del_rcu(&deleted);
    hlist_replace_rcu(&nodes[0], &nodes[2]);
    assert_ptr_equal(head.first, &nodes[2]);
    assert_ptr_equal(nodes[2].next, &nodes[1]);
    assert_ptr_equal(nodes[0].next, &nodes[1]); /* the way on, for readers */
    assert_ptr_equal(nodes[0].pprev, deleted.pprev);
    assert_ptr_equal(nodes[1].pprev, &nodes[2].next);
}

/* ---- VMs and vCPUs ------------------------------------------------------------------------ */

/* Only where a header begins is one. */
static void headers_begin_where_they_do(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });

    (void)state;
    map_pages(w, 0, 2, PG_LEVEL_4K);
    for (int level = 1; level <= 4; level++) {
        char *header = (char *)table_holding(w->vcpu, 0, level);

        assert_int_not_equal(tdpmmu_table_hpa((struct kvm_mmu_page *)header), UINT64_MAX);
        for (int offset = 8; offset < 128; offset += 8)
            assert_int_equal(tdpmmu_table_hpa((struct kvm_mmu_page *)(header + offset)), UINT64_MAX);
    }
    world_free(w);
}

static void warnings_are_counted(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });
    uint64_t before = stats_of(w->kvm).warnings;

    (void)state;
    for (unsigned i = 1; i < 4; i++) {
        assert_false(kvm_tdp_mmu_zap_leafs(w->kvm, 0, 1, false)); /* without mmu_lock */
        assert_int_equal(atomic_load(&w->warnings), i);
        assert_int_equal(stats_of(w->kvm).warnings, before + i);
    }
    world_forget(w);
    world_free(w);
}

/* A vCPU goes that others were made before and behind: those are there as before. */
static void vcpu_of_the_middle_goes(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });
    struct kvm_vcpu *second = tdpmmu_create_vcpu(w->kvm, 1), *third = tdpmmu_create_vcpu(w->kvm, 2);

    (void)state;
    assert_int_equal(kvm_mmu_load(third), 0);
    assert_int_equal(kvm_tdp_mmu_page_fault(third, 0x5000, PFERR_WRITE_MASK), RET_PF_FIXED);
    assert_int_equal(stats_of(w->kvm).faults_fixed, 1);
    tdpmmu_destroy_vcpu(second);
    assert_int_equal(stats_of(w->kvm).faults_fixed, 1);
    assert_null(tdpmmu_create_vcpu(w->kvm, 2));
    assert_int_equal(errno, EEXIST);
    tdpmmu_destroy_vcpu(third);
    assert_int_equal(stats_of(w->kvm).faults_fixed, 1);
    world_free(w);
}

/* Four levels name 48 bits, however many the CPU has: what lies beyond is refused, and does not wrap. */
static void beyond_four_levels(void **state)
{
    const gfn_t limit = UINT64_C(1) << 36;
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT, .root_level = 4, .maxphyaddr = 52 });

    (void)state;
    assert_int_equal(add_slot(w->kvm, 1, 0, limit - 16, 16, SIDE_HVA), 0);
    assert_int_equal(add_slot(w->kvm, 2, 0, limit, 16, SIDE_HVA), -EINVAL);
    assert_int_equal(fault_on(w, w->vcpu, limit - 1, PFERR_WRITE_MASK, true, 1, pfn_for(1), false), RET_PF_FIXED);
    assert_no_warning(w);
    assert_int_equal(fault_on(w, w->vcpu, limit + 5, PFERR_WRITE_MASK, true, 1, pfn_for(5), false), -EINVAL);
    assert_int_equal(warnings(w), 1);
    assert_false(mapped(w->vcpu, 5));
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (limit + 5) << 12, PFERR_WRITE_MASK), RET_PF_EMULATE);
    world_forget(w);
    world_free(w);
}

/* ---- locks --------------------------------------------------------------------------------- */

/* Who holds mmu_lock may not wait for a grace period, however the library remembers that he holds it. */
static void no_wait_under_a_noted_lock(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });

    (void)state;
    tdpmmu_check_always(w->kvm, 0); /* it takes the lock, too */
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < 3000; j++) { /* readers come often enough to be noted in their own memory */
            read_lock(&w->kvm->mmu_lock);
            read_unlock(&w->kvm->mmu_lock);
        }
        read_lock(&w->kvm->mmu_lock);
        synchronize_rcu();
        assert_int_equal(warnings(w), i + 1);
        read_unlock(&w->kvm->mmu_lock);
    }
    assert_true(w->kvm->mmu_lock.state & 1u << 29);
    world_forget(w);
    world_free(w);
}

#define LOCKS 80 /* more than the library has queues: some share one */

static struct tdpmmu_rwlock locks[LOCKS];

static void *take_and_leave(void *lock)
{
    write_lock(lock);
    write_unlock(lock);
    return NULL;
}

/* Threads that wait for several locks in one queue get each his own, in whatever order those are let go. */
static void waiters_of_many_locks(void **state)
{
    pthread_t threads[LOCKS];

    (void)state;
    for (int round = 0; round < 3; round++) {
        struct timespec end;

        for (int i = 0; i < LOCKS; i++) {
            tdpmmu_rwlock_init(&locks[i]);
            write_lock(&locks[i]);
        }
        for (int i = 0; i < LOCKS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, take_and_leave, &locks[i]), 0);
            while (!__atomic_load_n(&locks[i].sleepers, __ATOMIC_ACQUIRE))
                sleep_ms(1);
        }
        for (int i = 0; i < LOCKS; i++)
            write_unlock(&locks[round == 0 ? i : round == 1 ? LOCKS - 1 - i : (i * 7) % LOCKS]);
        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_sec += 60;
        for (int i = 0; i < LOCKS; i++)
            assert_int_equal(pthread_timedjoin_np(threads[i], NULL, &end), 0);
    }
}

/* A thread lets locks go in another order than it took them: it has none of them any more. */
static void locks_go_in_any_order(void **state)
{
    (void)state;
    for (int first = 0; first < 3; first++) {
        for (int i = 0; i < 3; i++) {
            tdpmmu_rwlock_init(&locks[i]);
            write_lock(&locks[i]);
        }
        for (int i = 0; i < 3; i++)
            write_unlock(&locks[(first + i) % 3]);
        for (int i = 0; i < 3; i++) {
            write_lock(&locks[i]); /* a warning, if it were held */
            assert_true(tdpmmu_write_lock_held(&locks[i]));
            write_unlock(&locks[i]);
            assert_false(tdpmmu_write_lock_held(&locks[i]));
        }
    }
}

/* ---- RCU ----------------------------------------------------------------------------------- */

static void *given_back;

static void give_object_back(void *object)
{
    given_back = object;
}

/* A head may stand in its object's first 4096 bytes, and not behind them. */
static void heads_at_the_end_of_what_may_be(void **state)
{
    static _Alignas(8) char object[8192];

    (void)state;
    tdpmmu_set_warn_handler(world_warn, &process_world);
    atomic_store(&process_world.warnings, 0);
    tdpmmu_kfree_rcu(object, (struct rcu_head *)(object + 4088), give_object_back);
    rcu_barrier();
    assert_ptr_equal(given_back, object);
    assert_int_equal(atomic_load(&process_world.warnings), 0);
    given_back = NULL;
    tdpmmu_kfree_rcu(object, (struct rcu_head *)(object + 4096), give_object_back);
    rcu_barrier();
    assert_null(given_back);
    assert_int_equal(atomic_exchange(&process_world.warnings, 0), 1);
    tdpmmu_set_warn_handler(NULL, NULL);
}

/* The exported reader functions, which a program has that takes their addresses, nest as deep as the inlines. */
static void deepest_nesting_without_inlines(void **state)
{
    void (*const volatile lock)(void) = rcu_read_lock, (*const volatile unlock)(void) = rcu_read_unlock;

    (void)state;
    tdpmmu_set_warn_handler(world_warn, &process_world);
    atomic_store(&process_world.warnings, 0);
    for (unsigned i = 0; i < 32767; i++)
        lock();
    assert_int_equal(atomic_load(&process_world.warnings), 0);
    lock(); /* a warning, and no effect */
    assert_int_equal(atomic_exchange(&process_world.warnings, 0), 1);
    assert_true(rcu_read_lock_held());
    for (unsigned i = 0; i < 32767; i++)
        unlock();
    assert_false(rcu_read_lock_held());
    assert_int_equal(atomic_load(&process_world.warnings), 0);
    tdpmmu_set_warn_handler(NULL, NULL);
}

/* Does a polled grace period end that nobody holds up? */
static bool ends(struct srcu_struct *domain, unsigned long cookie)
{
    for (int i = 0; i < 100; i++)
        if (poll_state_synchronize_srcu(domain, cookie))
            return true;
    return false;
}

/* A thread that is inside by both indexes leaves them one by one, whichever first. */
static void inside_by_both_indexes(void **state)
{
    static struct srcu_struct domain;

    (void)state;
    tdpmmu_set_warn_handler(world_warn, &process_world);
    atomic_store(&process_world.warnings, 0);
    assert_int_equal(init_srcu_struct(&domain), 0);
    for (int round = 0; round < 4; round++) {
        int first = srcu_read_lock(&domain), second;
        unsigned long cookie = start_poll_synchronize_srcu(&domain);

        assert_false(ends(&domain, cookie)); /* but it has turned to the other index */
        second = srcu_read_lock(&domain);
        assert_int_not_equal(first, second);
        srcu_read_unlock(&domain, round & 1 ? first : second);
        assert_true(srcu_read_lock_held(&domain));
        assert_int_equal(ends(&domain, cookie), round & 1);
        srcu_read_unlock(&domain, round & 1 ? second : first);
        assert_false(srcu_read_lock_held(&domain));
        assert_true(ends(&domain, cookie));
    }
    assert_int_equal(atomic_load(&process_world.warnings), 0);
    cleanup_srcu_struct(&domain);
    assert_int_equal(atomic_load(&process_world.warnings), 0);
    tdpmmu_set_warn_handler(NULL, NULL);
}

static void *exit_inside(void *domain)
{
    (void)srcu_read_lock(domain);
    (void)srcu_read_lock(domain);
    return NULL;
}

/* A thread that exits inside, by whichever index, holds up nobody. */
static void exits_inside_by_either_index(void **state)
{
    static struct srcu_struct domain;

    (void)state;
    tdpmmu_set_warn_handler(world_warn, &process_world);
    assert_int_equal(init_srcu_struct(&domain), 0);
    for (int round = 0; round < 3; round++) {
        pthread_t thread;

        atomic_store(&process_world.warnings, 0);
        assert_int_equal(pthread_create(&thread, NULL, exit_inside, &domain), 0);
        pthread_join(thread, NULL);
        assert_int_equal(atomic_exchange(&process_world.warnings, 0), 1);
        assert_true(ends(&domain, start_poll_synchronize_srcu(&domain))); /* and the index is the other one */
    }
    cleanup_srcu_struct(&domain);
    assert_int_equal(atomic_load(&process_world.warnings), 0);
    tdpmmu_set_warn_handler(NULL, NULL);
}

static struct srcu_struct waited_for;
static atomic_uint callbacks_run;

static void count_callback(struct rcu_head *head)
{
    (void)head;
    atomic_fetch_add(&callbacks_run, 1);
}

static void *read_for_a_moment(void *inside)
{
    int index = srcu_read_lock(&waited_for);

    atomic_store((atomic_bool *)inside, true);
    sleep_ms(30);
    srcu_read_unlock(&waited_for, index);
    return NULL;
}

/* srcu_barrier() waits for the last callback, however few there are. */
static void srcu_barrier_waits_for_the_last(void **state)
{
    struct rcu_head heads[3];

    (void)state;
    assert_int_equal(init_srcu_struct(&waited_for), 0);
    for (unsigned count = 1; count <= 3; count++) {
        atomic_bool inside = false;
        pthread_t thread;

        atomic_store(&callbacks_run, 0);
        memset(heads, 0, sizeof(heads));
        assert_int_equal(pthread_create(&thread, NULL, read_for_a_moment, &inside), 0);
        while (!atomic_load(&inside))
            sched_yield();
        for (unsigned i = 0; i < count; i++)
            call_srcu(&waited_for, &heads[i], count_callback);
        srcu_barrier(&waited_for);
        assert_int_equal(atomic_load(&callbacks_run), count);
        pthread_join(thread, NULL);
    }
    cleanup_srcu_struct(&waited_for);
}

static char said[512];

/* What a child says at its exit is the library's alone. */
static void need_silent_exits(void)
{
    if (getenv("TDPMMU_TEST_MODE") && !mode_is("plain")) {
        print_message("sanitizers and valgrind have something of their own to say at a child's exit\n");
        skip();
    }
}

/* What a forked child says at its exit, after `body`. */
static void let_child_exit(void (*body)(void *), void *argument)
{
    size_t length = 0;
    int pipes[2], status;
    pid_t child;

    assert_int_equal(pipe(pipes), 0);
    fflush(stdout);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        body(argument);
        exit(0);
    }
    close(pipes[1]);
    for (ssize_t n; length < sizeof(said) - 1 && (n = read(pipes[0], said + length, sizeof(said) - 1 - length)) > 0;)
        length += (size_t)n;
    said[length] = 0;
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void do_nothing(void *unused)
{
    (void)unused;
}

static void leave_callbacks_of_srcu(void *heads)
{
    static struct srcu_struct domain;

    init_srcu_struct(&domain);
    (void)srcu_down_read(&domain);
    for (int i = 0; i < 5; i++)
        call_srcu(&domain, (struct rcu_head *)heads + i, count_callback);
}

/* Frees what is the library's own first, and then leaves callbacks of its own. */
static void leave_callbacks_of_rcu(void *heads)
{
    rcu_read_unlock();
    rcu_barrier();
    rcu_read_lock();
    for (int i = 0; i < 5; i++)
        call_rcu((struct rcu_head *)heads + i, count_callback);
}

static struct rcu_head the_end, others[4];
static int variant;

static void *queue_one(void *head)
{
    call_rcu(head, count_callback);
    return NULL;
}

/* A callback that ends the thread that runs it, when there is one more to be run than those behind it. */
static void end_the_thread(struct rcu_head *head)
{
    pthread_t thread;

    (void)head;
    if (variant & 1)
        call_rcu(&others[2], count_callback);
    if (variant & 2) {
        pthread_create(&thread, NULL, queue_one, &others[3]); /* and the thread goes, and leaves it */
        pthread_join(thread, NULL);
    }
    pthread_exit(NULL);
}

/* What is behind a callback that ends its thread runs, and so does all that was queued meanwhile. */
static void callbacks_around_an_end(void **state)
{
    (void)state;
    tdpmmu_set_warn_handler(world_warn, &process_world);
    rcu_barrier();
    for (variant = 0; variant < 4; variant++) {
        atomic_store(&process_world.warnings, 0);
        atomic_store(&callbacks_run, 0);
        memset(&the_end, 0, sizeof(the_end));
        memset(others, 0, sizeof(others));
        rcu_read_lock();
        call_rcu(&the_end, end_the_thread);
        call_rcu(&others[0], count_callback);
        call_rcu(&others[1], count_callback);
        rcu_read_unlock();
        rcu_barrier();
        rcu_barrier(); /* for what the callback has queued */
        assert_int_equal(atomic_load(&callbacks_run), 2 + (variant & 1) + (variant >> 1));
        assert_int_equal(atomic_exchange(&process_world.warnings, 0), 1);
    }
    tdpmmu_set_warn_handler(NULL, NULL);
}

static pthread_key_t last_key;
static int times_destroyed;

/* Of a thread's memory: the last time that it is called, the library's own handler has run. */
static void call_at_the_very_end(void *head)
{
    if (++times_destroyed < PTHREAD_DESTRUCTOR_ITERATIONS)
        pthread_setspecific(last_key, head);
    else
        call_rcu(head, count_callback);
}

static void *end_with_a_callback(void *head)
{
    rcu_read_lock();
    rcu_read_unlock();
    pthread_setspecific(last_key, head);
    return NULL;
}

/* One callback of a thread that was past its exit handler has run; one of another has not. */
static void leave_one_beside_a_late_one(void *heads)
{
    pthread_t thread;

    times_destroyed = 0;
    pthread_key_create(&last_key, call_at_the_very_end);
    pthread_create(&thread, NULL, end_with_a_callback, heads);
    pthread_join(thread, NULL);
    rcu_barrier();
    rcu_read_lock();
    call_rcu((struct rcu_head *)heads + 1, count_callback);
}

static atomic_bool stalled;
static uint64_t stalled_by;
static atomic_uint other_warnings;

static void hear_of_a_stall(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm;
    if (strstr(warning->text, "reader") || strstr(warning->text, "grace period")) {
        stalled_by = warning->value[0];
        atomic_store(&stalled, true);
    } else {
        atomic_fetch_add(&other_warnings, 1);
    }
}

static atomic_uint waits_done;

static void *wait_once(void *unused)
{
    (void)unused;
    synchronize_rcu();
    return NULL;
}

/* What is wrong with what is told of a grace period that this thread holds up, or NULL. */
static const char *hold_up(void)
{
    const char *wrong = NULL;
    pthread_t thread;

    atomic_store(&stalled, false);
    tdpmmu_set_warn_handler(hear_of_a_stall, NULL);
    tdpmmu_rcu_set_stall_timeout_ms(5);
    rcu_read_lock();
    pthread_create(&thread, NULL, wait_once, NULL);
    while (!atomic_load(&stalled))
        sleep_ms(1);
    if (stalled_by != (uint64_t)gettid())
        wrong = "another thread is told";
    rcu_read_unlock();
    pthread_join(thread, NULL);
    tdpmmu_rcu_set_stall_timeout_ms(21000);
    tdpmmu_set_warn_handler(NULL, NULL);
    return wrong;
}

static void hold_up_in_a_child(void *unused)
{
    const char *wrong = hold_up();

    (void)unused;
    if (wrong)
        fprintf(stderr, "%s", wrong);
}

/* A stall is told with the thread that is the reader, in a forked child, too. */
static void stalls_name_the_reader(void **state)
{
    (void)state;
    need_silent_exits();
    assert_null(hold_up());
    let_child_exit(hold_up_in_a_child, NULL);
    assert_string_equal(said, "");
}

static atomic_bool inside_again;

static void *wait_again(void *unused)
{
    (void)unused;
    synchronize_rcu(); /* is told to stall */
    while (!atomic_load(&inside_again))
        sleep_ms(1);
    synchronize_rcu();
    atomic_store(&waits_done, 1);
    return NULL;
}

/* A thread that has told of a stall waits as before. */
static void waits_after_a_stall(void **state)
{
    pthread_t thread;

    (void)state;
    atomic_store(&stalled, false);
    atomic_store(&other_warnings, 0);
    atomic_store(&waits_done, 0);
    atomic_store(&inside_again, false);
    tdpmmu_set_warn_handler(hear_of_a_stall, NULL);
    tdpmmu_rcu_set_stall_timeout_ms(5);
    rcu_read_lock();
    assert_int_equal(pthread_create(&thread, NULL, wait_again, NULL), 0);
    while (!atomic_load(&stalled))
        sleep_ms(1);
    rcu_read_unlock();
    tdpmmu_rcu_set_stall_timeout_ms(21000);
    rcu_read_lock();
    atomic_store(&inside_again, true);
    sleep_ms(30);
    assert_int_equal(atomic_load(&waits_done), 0);
    rcu_read_unlock();
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&other_warnings), 0);
    tdpmmu_set_warn_handler(NULL, NULL);
}

/* Callbacks that are lost at exit are told: SRCU's as well, and a child's own, neither more nor fewer. */
static void lost_callbacks_are_told(void **state)
{
    static struct rcu_head heads[6];
    struct world *w;
    int index;

    (void)state;
    need_silent_exits();
    w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });
    let_child_exit(do_nothing, NULL);
    assert_string_equal(said, "");
    let_child_exit(leave_callbacks_of_srcu, heads);
    assert_non_null(strstr(said, "callbacks have not run"));
    assert_non_null(strstr(said, "0x5"));
    memset(heads, 0, sizeof(heads));
    let_child_exit(leave_one_beside_a_late_one, heads);
    assert_non_null(strstr(said, "callbacks have not run"));
    assert_non_null(strstr(said, "0x1"));
    assert_int_equal(init_srcu_struct(&waited_for), 0);
    index = srcu_read_lock(&waited_for);
    call_srcu(&waited_for, &heads[5], count_callback);
    let_child_exit(do_nothing, NULL);
    assert_string_equal(said, ""); /* it is the parent's */
    srcu_read_unlock(&waited_for, index);
    srcu_barrier(&waited_for);
    cleanup_srcu_struct(&waited_for);
    for (gfn_t gfn = 0; gfn < 16 * 512; gfn += 512)
        map_pages(w, gfn, 1, PG_LEVEL_4K);
    rcu_read_lock();
    write_lock(&w->kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_zap_gfn_range(w->kvm, 0, GIB_PAGES));
    write_unlock(&w->kvm->mmu_lock);
    memset(heads, 0, sizeof(heads));
    let_child_exit(leave_callbacks_of_rcu, heads);
    assert_non_null(strstr(said, "callbacks have not run"));
    assert_non_null(strstr(said, "0x5"));
    rcu_read_unlock();
    kvm_flush_remote_tlbs(w->kvm);
    world_free(w);
}

/* ---- borders of arguments -------------------------------------------------------------------- */

/* The last page that the host can have is one, and the next is none. */
static void last_page_of_the_host(void **state)
{
    const kvm_pfn_t last = (UINT64_C(1) << 34) - 1;

    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        assert_int_equal(fault_on(w, w->vcpu, 7, PFERR_WRITE_MASK, true, 1, last, false), RET_PF_FIXED);
        assert_spte(w->vcpu, 7, 1, m->leaf, last);
        assert_no_warning(w);
        assert_int_equal(fault_on(w, w->vcpu, 8, PFERR_WRITE_MASK, true, 1, last + 1, false), -EINVAL);
        assert_int_equal(warnings(w), 1);
        world_forget(w);
        world_free(w);
    }
}

/* A mask reaches as far as its slot: to the 64th page of one that has so many, and not to the next slot. */
static void masks_end_with_their_slot(void **state)
{
    (void)state;
    for_each_machine(m) {
        static const unsigned sizes[] = { 1, 16, 63, 64 };
        struct world *w = world_from(m->config);

        for (unsigned i = 0; i < 4; i++) {
            assert_int_equal(add_slot(w->kvm, 1, 0, SIDE_BASE, sizes[i], SIDE_HVA), 0);
            assert_int_equal(add_slot(w->kvm, 2, 0, SIDE_BASE + sizes[i], 64, SIDE_HVA + (1 << 30)), 0);
            assert_int_equal(kvm_mmu_load(w->vcpu), 0);
            map_pages(w, SIDE_BASE, sizes[i] + 64, PG_LEVEL_4K);
            write_lock(&w->kvm->mmu_lock);
            kvm_tdp_mmu_clear_dirty_pt_masked(w->kvm, slot_by_id(w, 0, 1), SIDE_BASE, ~0ul, false);
            kvm_flush_remote_tlbs(w->kvm);
            write_unlock(&w->kvm->mmu_lock);
            for (unsigned page = 0; page < sizes[i] + 64; page++)
                assert_int_equal(is_dirty_spte(w->kvm, spte_at(w->vcpu, SIDE_BASE + page, 1)), page >= sizes[i]);
            assert_int_equal(delete_slot(w->kvm, 1), 0);
            assert_int_equal(delete_slot(w->kvm, 2), 0);
            assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        }
        world_free(w);
    }
}

static void highest_vcpu_and_largest_slot(void **state)
{
    struct tdpmmu_vm_config config = { .size = sizeof(config) };
    struct kvm *kvm = tdpmmu_create_vm(&config);

    (void)state;
    assert_non_null(kvm);
    assert_non_null(tdpmmu_create_vcpu(kvm, 4095));
    assert_null(tdpmmu_create_vcpu(kvm, 4096));
    assert_int_equal(errno, EINVAL);
    assert_int_equal(add_slot(kvm, 0, 0, 0, UINT64_C(1) << 31, UINT64_C(1) << 44), -EINVAL);
    assert_int_equal(add_slot(kvm, 0, 0, 0, (UINT64_C(1) << 31) - 1, UINT64_C(1) << 44), 0);
    tdpmmu_destroy_vm(kvm);
}

/* Splits of a log are counted as such, and tables in the place of huge pages as those. */
static void splits_are_counted_apart(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT, .nx_huge_pages = 1 });

    (void)state;
    for (gfn_t gfn = 0; gfn < 2 * 512; gfn += 512)
        assert_int_equal(fault_on(w, w->vcpu, gfn, PFERR_FETCH_MASK, true, PG_LEVEL_2M, pfn_for(gfn), false), RET_PF_FIXED);
    assert_int_equal(map_page(w, 4 * 512, PG_LEVEL_2M), RET_PF_FIXED);
    assert_int_equal(stats_of(w->kvm).splits, 0);
    assert_int_equal(stats_of(w->kvm).nx_splits, 2);
    read_lock(&w->kvm->mmu_lock);
    assert_int_equal(kvm_tdp_mmu_try_split_huge_pages(w->kvm, slot_by_id(w, 0, 0), 0, 8 * 512, PG_LEVEL_1G, true), -EINVAL);
    assert_int_equal(warnings(w), 1);
    world_forget(w);
    assert_int_equal(kvm_tdp_mmu_try_split_huge_pages(w->kvm, slot_by_id(w, 0, 0), 0, 8 * 512, PG_LEVEL_4K, true), 0);
    read_unlock(&w->kvm->mmu_lock);
    assert_int_equal(stats_of(w->kvm).splits, 1);
    assert_int_equal(stats_of(w->kvm).nx_splits, 2);
    world_free(w);
}

/* Addresses that are near a table's, and entries that are near a table's entry, name none. */
static void what_names_no_table(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });
    uint64_t sptes[6], entry;
    int root_level = 0;
    hpa_t hpa;

    (void)state;
    map_pages(w, 0, 1, PG_LEVEL_4K);
    hpa = tdpmmu_table_hpa(table_holding(w->vcpu, 0, 1));
    rcu_read_lock();
    assert_int_equal(kvm_tdp_mmu_get_walk(w->vcpu, 0, sptes, &root_level), 1);
    assert_int_equal(root_level, 4);
    assert_non_null(to_shadow_page(hpa));
    for (unsigned offset = 1; offset < 4096; offset *= 2)
        assert_null(to_shadow_page(hpa + offset));
    entry = sptes[2];
    assert_non_null(spte_to_child_pt(entry, 2));
    assert_null(spte_to_child_pt(entry | PSE_BIT, 2));
    assert_null(spte_to_child_pt(entry, 1));
    rcu_read_unlock();
    world_free(w);
}

/* What the CPU model reports of an access that it cannot make. */
static void error_codes_of_the_cpu(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });
    const gpa_t mmio = SIDE_BASE << 12;
    uint64_t code = 0x5555;

    (void)state;
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, mmio, PFERR_WRITE_MASK), RET_PF_EMULATE);
    assert_int_equal(tdpmmu_cpu_access(w->vcpu, mmio, PFERR_WRITE_MASK, &code), 0);
    assert_int_equal(code, PFERR_WRITE_MASK | PFERR_RSVD_MASK | PFERR_PRESENT_MASK);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    code = 0x5555;
    assert_int_equal(tdpmmu_cpu_access(w->vcpu, 0x5000, PFERR_FETCH_MASK, &code), 0);
    assert_int_equal(code, PFERR_FETCH_MASK);
    world_free(w);
}

/* Of what the operations say and do: a flush where they are to flush, true where something has changed. */
static void answers_of_operations(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        const uint64_t end = WORLD_HVA + 0x8000;

        map_pages(w, 0, 8, PG_LEVEL_4K);
        world_forget(w);
        assert_true(kvm_mmu_notifier_clear_flush_young(w->kvm, WORLD_HVA, end));
        assert_int_equal(atomic_load(&w->flush_count), 1);
        assert_false(kvm_mmu_notifier_clear_flush_young(w->kvm, WORLD_HVA, end));
        assert_int_equal(atomic_load(&w->flush_count), 1);
        map_pages(w, 8, 8, PG_LEVEL_4K);
        assert_true(kvm_mmu_notifier_clear_young(w->kvm, WORLD_HVA + 0x8000, WORLD_HVA + 0x10000));
        assert_int_equal(atomic_load(&w->flush_count), 1);
        write_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_clear_dirty_pt_masked(w->kvm, slot_by_id(w, 0, 0), 0, 0xff, false);
        assert_int_equal(kvm_tdp_mmu_slot_set_dirty(w->kvm, slot_by_id(w, 0, 0)), m->dirty != 0);
        assert_false(kvm_tdp_mmu_slot_set_dirty(w->kvm, slot_by_id(w, 0, 0)));
        write_unlock(&w->kvm->mmu_lock);
        assert_true(kvm_tdp_mmu_zap_leafs(w->kvm, 0, 1, true)); /* refused, and owed as before */
        assert_int_equal(warnings(w), 1);
        world_forget(w);
        world_free(w);
    }
}

/* Of another VM no table is zapped under this one's lock. */
static void tables_of_another_vm(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });
    struct world *other = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });

    (void)state;
    map_pages(other, 0, 1, PG_LEVEL_4K);
    write_lock(&w->kvm->mmu_lock);
    assert_false(kvm_tdp_mmu_zap_sp(w->kvm, table_holding(other->vcpu, 0, 1)));
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(warnings(w), 1);
    assert_true(mapped(other->vcpu, 0));
    world_forget(w);
    world_free(other);
    tdpmmu_set_warn_handler(world_warn, &process_world);
    world_free(w);
}

/* Options and flags that nobody knows yet are refused, from their first bit on; a first version's config is not. */
static void versions_of_structs(void **state)
{
    struct {
        struct tdpmmu_vm_config config;
        unsigned char more[16];
    } given = { .config = { .size = sizeof(given), .vendor = TDPMMU_EPT } };
    struct kvm_pre_fault_memory range = { .gpa = 0x3000, .size = 0x1000 };
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });
    struct kvm *kvm = tdpmmu_create_vm(&given.config);

    (void)state;
    assert_non_null(kvm);
    tdpmmu_destroy_vm(kvm);
    for (unsigned i = 0; i < sizeof(given.more); i++) {
        given.more[i] = 1;
        assert_null(tdpmmu_create_vm(&given.config));
        assert_int_equal(errno, E2BIG);
        given.more[i] = 0;
    }
    given.config.size = 48;
    kvm = tdpmmu_create_vm(&given.config);
    assert_non_null(kvm);
    tdpmmu_destroy_vm(kvm);
    given.config.size = 47;
    assert_null(tdpmmu_create_vm(&given.config));
    assert_int_equal(errno, EINVAL);
    world_forget(w);
    for (unsigned bit = 0; bit < 64; bit++) {
        range.flags = UINT64_C(1) << bit;
        assert_int_equal(kvm_vcpu_pre_fault_memory(w->vcpu, &range), -EINVAL);
    }
    range.flags = 0;
    assert_int_equal(kvm_vcpu_pre_fault_memory(w->vcpu, &range), 0);
    world_free(w);
}

/* Borders of what can be recorded: sizes of rings, bits of events, bytes of a mark. */
static void borders_of_recording(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT });

    (void)state;
    assert_int_equal(tdpmmu_trace_ring_size(1 << 24), 0);
    assert_int_equal(tdpmmu_trace_ring_size(64), 0);
    assert_int_equal(tdpmmu_trace_ring_size(4096), 0);
    assert_int_equal(tdpmmu_trace_mark(w->kvm, " ~"), 0);
    assert_no_warning(w);
    assert_int_equal(tdpmmu_trace_ring_size(32), -EINVAL);
    assert_int_equal(tdpmmu_trace_ring_size(1 << 25), -EINVAL);
    assert_int_equal(tdpmmu_trace_enable(w->kvm, TDPMMU_TRACE_BIT(TDPMMU_TRACE_COUNT)), -EINVAL);
    assert_int_equal(tdpmmu_trace_mark(w->kvm, "\x7f"), -EINVAL);
    assert_int_equal(tdpmmu_trace_mark(w->kvm, "\x1f"), -EINVAL);
    assert_int_equal(warnings(w), 5);
    world_forget(w);
    world_free(w);
}

static void *mark_often(void *world)
{
    for (int i = 0; i < 200; i++)
        tdpmmu_trace_mark(((struct world *)world)->kvm, "x");
    return NULL;
}

/* A thread gets a ring of today's size, whatever rings there are of threads that have gone. */
static void rings_of_todays_size(void **state)
{
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT }, TDPMMU_TRACE_BIT(TDPMMU_TRACE_MARK), &vcpu);

    (void)state;
    for (size_t size = 64; size <= 1024; size *= 16) {
        pthread_t thread;
        uint64_t lost = 0;
        size_t got;

        assert_int_equal(tdpmmu_trace_ring_size(size), 0);
        assert_int_equal(pthread_create(&thread, NULL, mark_often, w), 0);
        pthread_join(thread, NULL);
        got = tdpmmu_trace_read(events, MOST, &lost);
        assert_int_equal(got + lost, 200);
        assert_int_equal(lost != 0, size < 200);
    }
    assert_int_equal(tdpmmu_trace_ring_size(4096), 0);
    world_free(w);
}

struct echo {
    struct world *w;
    int fd;
};

/* Notes an event for all that it reads. */
static void *mark_what_comes(void *argument)
{
    struct echo *echo = argument;
    char bytes[1024];

    while (read(echo->fd, bytes, sizeof(bytes)) > 0)
        tdpmmu_trace_mark(echo->w->kvm, "y");
    return NULL;
}

/* A recording has what there was when it began, though others go on. */
static void recordings_end(void **state)
{
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT }, TDPMMU_TRACE_BIT(TDPMMU_TRACE_MARK), &vcpu);
    pthread_t thread;
    int pipes[2];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    assert_true(fcntl(pipes[1], F_SETPIPE_SZ, 4096) >= 4096);
    for (int i = 0; i < 5; i++)
        mark_often(w);
    assert_int_equal(pthread_create(&thread, NULL, mark_what_comes, &(struct echo){ w, pipes[0] }), 0);
    assert_int_equal(tdpmmu_trace_write(pipes[1]), 1000);
    close(pipes[1]);
    pthread_join(thread, NULL);
    close(pipes[0]);
    while (tdpmmu_trace_read(events, MOST, NULL) > 0)
        ;
    world_free(w);
}

/* Who reads several times has the sum of what was lost. */
static void lost_events_add_up(void **state)
{
    struct kvm_vcpu *vcpu;
    struct world *w = traced((struct tdpmmu_vm_config){ .vendor = TDPMMU_EPT }, TDPMMU_TRACE_BIT(TDPMMU_TRACE_MARK), &vcpu);
    uint64_t lost = 1000;
    size_t got = 0;

    (void)state;
    assert_int_equal(tdpmmu_trace_ring_size(64), 0);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, mark_often, w), 0);
        pthread_join(thread, NULL);
        for (size_t n; (n = tdpmmu_trace_read(events, MOST, &lost)) > 0;)
            got += n;
        assert_int_equal(got + lost, 1000 + 200 * (i + 1));
    }
    assert_int_equal(tdpmmu_trace_ring_size(4096), 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aging_is_told_as_what_it_is),
        cmocka_unit_test(masks_are_told),
        cmocka_unit_test(fast_faults_are_told),
        cmocka_unit_test(requested_levels_are_told),
        cmocka_unit_test(mmio_is_told_with_its_access_and_generations),
        cmocka_unit_test(smm_is_told),
        cmocka_unit_test(unmaps_say_whether_they_owe_a_flush),
        cmocka_unit_test(flushes_are_told_apart),
        cmocka_unit_test(changes_are_told_to_a_recording_alone),
        cmocka_unit_test(rings_do_not_silence_the_callback),
        cmocka_unit_test(rings_are_told),
        cmocka_unit_test(largest_ring),
        cmocka_unit_test(forged_batches_stay_in_their_slot),
        cmocka_unit_test(huge_page_at_the_last_bit_is_split),
        cmocka_unit_test(nothing_becomes_writable_with_a_full_ring),
        cmocka_unit_test(reset_in_smm),
        cmocka_unit_test(mmio_of_smm_is_fresh),
        cmocka_unit_test(invalidations_that_must_not_block),
        cmocka_unit_test(use_of_any_slot_counts),
        cmocka_unit_test(misaligned_rows_stay_small),
        cmocka_unit_test(stale_beside_another_invalidation),
        cmocka_unit_test(tables_above_are_of_one_space),
        cmocka_unit_test(moved_slot_waits_for_invalidations),
        cmocka_unit_test(logging_of_a_read_only_slot),
        cmocka_unit_test(nx_splits_go_in_any_order),
        cmocka_unit_test(host_is_not_asked_to_write_read_only),
        cmocka_unit_test(prefault_from_inside_a_huge_page),
        cmocka_unit_test(prefault_beside_the_host),
        cmocka_unit_test(huge_leaves_below_a_table_are_told),
        cmocka_unit_test(roots_that_are_kept),
        cmocka_unit_test(moves_over_itself_and_a_neighbour),
        cmocka_unit_test(zap_from_inside_a_table),
        cmocka_unit_test(tables_are_paid_for_once),
        cmocka_unit_test(stale_mmio_counts_as_dirtied),
        cmocka_unit_test(leaking_bits_of_mmio),
        cmocka_unit_test(zap_slot_only_from_the_beginning),
        cmocka_unit_test(masks_over_two_tables),
        cmocka_unit_test(tables_in_many_blocks),
        cmocka_unit_test(rows_from_inside_a_table),
        cmocka_unit_test(replaced_nodes_are_poisoned),
        cmocka_unit_test(headers_begin_where_they_do),
        cmocka_unit_test(no_wait_under_a_noted_lock),
        cmocka_unit_test(heads_at_the_end_of_what_may_be),
        cmocka_unit_test(waiters_of_many_locks),
        cmocka_unit_test(locks_go_in_any_order),
        cmocka_unit_test(deepest_nesting_without_inlines),
        cmocka_unit_test(inside_by_both_indexes),
        cmocka_unit_test(exits_inside_by_either_index),
        cmocka_unit_test(srcu_barrier_waits_for_the_last),
        cmocka_unit_test(callbacks_around_an_end),
        cmocka_unit_test(lost_callbacks_are_told),
        cmocka_unit_test(stalls_name_the_reader),
        cmocka_unit_test(waits_after_a_stall),
        cmocka_unit_test(rings_of_todays_size),
        cmocka_unit_test(recordings_end),
        cmocka_unit_test(last_page_of_the_host),
        cmocka_unit_test(masks_end_with_their_slot),
        cmocka_unit_test(highest_vcpu_and_largest_slot),
        cmocka_unit_test(splits_are_counted_apart),
        cmocka_unit_test(what_names_no_table),
        cmocka_unit_test(error_codes_of_the_cpu),
        cmocka_unit_test(answers_of_operations),
        cmocka_unit_test(tables_of_another_vm),
        cmocka_unit_test(versions_of_structs),
        cmocka_unit_test(borders_of_recording),
        cmocka_unit_test(lost_events_add_up),
        cmocka_unit_test(warnings_are_counted),
        cmocka_unit_test(beyond_four_levels),
        cmocka_unit_test(vcpu_of_the_middle_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
