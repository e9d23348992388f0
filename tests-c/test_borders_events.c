/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every field of every event: each operation is made with values that differ from each other and from 0, and the
 * whole of what is told is compared, also the fields that have to stay 0.
 */
#include "test_helpers.h"

#define MOST 20000u

struct heard {
    struct tdpmmu_trace_event events[MOST];
    unsigned count;
    unsigned flags_of_warning;
};

static struct heard heard;
static pthread_mutex_t hearing = PTHREAD_MUTEX_INITIALIZER;
static uint64_t all_told; /* ids that a test has looked at */

static void hear(void *ctx, struct kvm *kvm, const struct tdpmmu_trace_event *event)
{
    (void)ctx, (void)kvm;
    pthread_mutex_lock(&hearing); /* tables are freed by a thread of the library's */
    if (heard.count < MOST)
        heard.events[heard.count++] = *event;
    pthread_mutex_unlock(&hearing);
}

static void hear_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)kvm;
    print_error("%s: %s\n", warning->function, warning->text);
    heard.flags_of_warning++;
}

static kvm_pfn_t told_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                          bool *writable, int *max_level)
{
    (void)ctx, (void)kvm, (void)write, (void)writable;
    *max_level = 3;
    return ((slot->userspace_addr >> 12) + (gfn - slot->base_gfn)) & 0x3ffffffff;
}

/* In SMM, at odd places, so that no number is another's by chance. */
#define ID 0x2au
#define AS 1
#define BASE 0x13200ull
#define PAGES 0x2400ull
#define HVA ((BASE + 0x6e00000) << 12)
#define VCPU 9

static struct kvm *kvm;
static struct kvm_vcpu *vcpu;
static struct kvm_mmu_page *root;

static kvm_pfn_t pfn_of(gfn_t gfn) { return BASE + 0x6e00000 + (gfn - BASE); }

static const struct kvm_memory_slot *the_slot(void)
{
    const struct kvm_memory_slot *slot;

    rcu_read_lock();
    slot = tdpmmu_id_to_memslot(kvm, AS, ID);
    rcu_read_unlock();
    return slot;
}

static void begin(void);

static void open_vm(struct tdpmmu_vm_config config, uint32_t flags)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .warn = hear_warning, .trace = hear, .gfn_to_pfn = told_pfn };

    config.size = sizeof(config);
    config.ops = &ops;
    tdpmmu_set_warn_handler(hear_warning, NULL);
    kvm = tdpmmu_create_vm(&config);
    assert_non_null(kvm);
    vcpu = tdpmmu_create_vcpu(kvm, VCPU);
    assert_int_equal(tdpmmu_vcpu_set_as_id(vcpu, AS), 0);
    assert_int_equal(add_slot(kvm, AS << 16 | ID, flags, BASE, PAGES, HVA), 0);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    root = tdpmmu_vcpu_root(vcpu);
    begin();
}

static void close_vm(void)
{
    tdpmmu_destroy_vm(kvm);
    assert_int_equal(heard.flags_of_warning, 0);
    tdpmmu_set_warn_handler(NULL, NULL);
}

static void begin(void)
{
    pthread_mutex_lock(&hearing);
    heard.count = 0;
    pthread_mutex_unlock(&hearing);
}

static unsigned count_heard(void)
{
    unsigned count;

    pthread_mutex_lock(&hearing);
    count = heard.count;
    pthread_mutex_unlock(&hearing);
    return count;
}

static const struct tdpmmu_trace_event *nth(int id, unsigned n)
{
    for (unsigned i = 0, count = count_heard(); i < count; i++)
        if (heard.events[i].id == id && n-- == 0)
            return &heard.events[i];
    fail_msg("%s was not told", tdpmmu_trace_name(id));
    return NULL;
}

static unsigned told(int id)
{
    unsigned count = 0;

    for (unsigned i = 0, all = count_heard(); i < all; i++)
        count += heard.events[i].id == id;
    return count;
}

/* Which bytes of a word are fields: a struct's last word may end in nothing, and what stands there nobody says. */
static uint64_t fields_of(int id, int word)
{
#define ENDS(type, last) { sizeof(struct tdpmmu_trace_##type), offsetof(struct tdpmmu_trace_##type, last) + \
                           sizeof(((struct tdpmmu_trace_##type *)0)->last) }
    static const struct { uint8_t size, used; } ends[TDPMMU_TRACE_COUNT] = {
        [TDPMMU_TRACE_GET_PAGE] = ENDS(page, created), [TDPMMU_TRACE_PREPARE_ZAP_PAGE] = ENDS(page, created),
        [TDPMMU_TRACE_SET_SPTE] = ENDS(set_spte, u), [TDPMMU_TRACE_SPTE_REQUESTED] = ENDS(spte_requested, level),
        [TDPMMU_TRACE_SPTE_CHANGED] = ENDS(spte_changed, as_id), [TDPMMU_TRACE_PAGE_FAULT] = ENDS(page_fault, vcpu_id),
        [TDPMMU_TRACE_SMM_TRANSITION] = ENDS(smm_transition, entering), [TDPMMU_TRACE_MAP] = ENDS(map, map_writable),
        [TDPMMU_TRACE_ALLOC_ROOT] = ENDS(vcpu, root_level), [TDPMMU_TRACE_LOAD_PGD] = ENDS(vcpu, root_level),
        [TDPMMU_TRACE_PUT_ROOT] = ENDS(root, shared), [TDPMMU_TRACE_ITER_START] = ENDS(root, shared),
        [TDPMMU_TRACE_ZAP_LEAFS] = ENDS(root, shared), [TDPMMU_TRACE_ZAP_ROOT] = ENDS(root, shared),
        [TDPMMU_TRACE_ZAP_ROOT_LEVEL] = ENDS(root, shared), [TDPMMU_TRACE_KVM_ZAP_LEAFS] = ENDS(range, shared),
        [TDPMMU_TRACE_UNMAP_GFN_RANGE] = ENDS(range, shared), [TDPMMU_TRACE_AGE] = ENDS(range, shared),
        [TDPMMU_TRACE_TEST_AGE] = ENDS(range, shared), [TDPMMU_TRACE_SPLIT] = ENDS(range, shared),
        [TDPMMU_TRACE_INV_RANGE] = ENDS(range, shared), [TDPMMU_TRACE_WRPROT_SLOT] = ENDS(slot, min_level),
        [TDPMMU_TRACE_CLEAR_DIRTY_SLOT] = ENDS(slot, min_level), [TDPMMU_TRACE_ZAP_COLLAPSIBLE] = ENDS(slot, min_level),
        [TDPMMU_TRACE_CLEAR_DIRTY_PT_MASKED] = ENDS(gfn, wrprot), [TDPMMU_TRACE_WRITE_PROTECT_GFN] = ENDS(gfn, wrprot),
        [TDPMMU_TRACE_FLUSH_RANGE] = ENDS(gfn, wrprot), [TDPMMU_TRACE_MARK] = ENDS(text, text),
    };
    int used = ends[id].used - 8 * word;

    return ends[id].size > 8 * word && used < 8 ? used <= 0 ? 0 : (1ull << (8 * used)) - 1 : UINT64_MAX;
}

static void assert_told(int id, unsigned n, struct tdpmmu_trace_event expected, int line)
{
    const struct tdpmmu_trace_event *event = nth(id, n);

    all_told |= TDPMMU_TRACE_BIT(id);
    for (int word = 0; word < 8; word++)
        if ((event->word[word] ^ expected.word[word]) & fields_of(id, word))
            fail_msg("line %d: %s number %u: word %d is 0x%llx, not 0x%llx", line, tdpmmu_trace_name(id), n, word,
                     (unsigned long long)event->word[word], (unsigned long long)expected.word[word]);
    assert_int_equal(event->kvm, (uintptr_t)kvm);
}

/* The n-th event of an id since begin() has these fields and no others. */
#define TOLD(id, n, ...) do { \
        struct tdpmmu_trace_event expected_; \
        memset(&expected_, 0, sizeof(expected_)); \
        __VA_ARGS__ \
        assert_told(TDPMMU_TRACE_##id, n, expected_, __LINE__); \
    } while (0)
#define F(field, value) expected_.field = (value);
#define TOLD_RET(id, value) TOLD(id, told(TDPMMU_TRACE_##id) - 1, F(ret.ret, value))

static void mapped_by(gfn_t gfn, uint64_t access, int level)
{
    int ret;

    read_lock(&kvm->mmu_lock);
    ret = kvm_tdp_mmu_map(vcpu, (gfn << 12) + 0x123, access, true, level, pfn_of(gfn), false);
    read_unlock(&kvm->mmu_lock);
    assert_int_equal(ret, RET_PF_FIXED);
}

static uint64_t address_of(gfn_t gfn, int level)
{
    struct kvm_mmu_page *sp = table_holding(vcpu, gfn, level);

    return tdpmmu_table_hpa(sp) + 8 * (gfn >> (9 * (level - 1)) & 511);
}

/* ---- faults -------------------------------------------------------------------------- */

static void a_fault(void **state)
{
    static const enum tdpmmu_vendor vendors[] = { TDPMMU_EPT, TDPMMU_NPT };

    (void)state;
    for (int v = 0; v < 2; v++) {
        const gfn_t gfn = BASE + 0x777;
        uint64_t spte;

        open_vm((struct tdpmmu_vm_config){ .vendor = vendors[v] }, 0);
        begin();
        mapped_by(gfn, PFERR_WRITE_MASK | PFERR_USER_MASK, 1);
        spte = spte_at(vcpu, gfn, 1);
        TOLD(MAP, 0, F(map.vcpu, (uintptr_t)vcpu) F(map.addr, (gfn << 12) + 0x123)
             F(map.ec, PFERR_WRITE_MASK | PFERR_USER_MASK) F(map.gfn, gfn) F(map.pfn, pfn_of(gfn))
             F(map.slot, (uintptr_t)the_slot()) F(map.write, true) F(map.map_writable, true));
        TOLD(SPTE_REQUESTED, 0, F(spte_requested.gfn, gfn) F(spte_requested.pfn, pfn_of(gfn)) F(spte_requested.level, 1));
        TOLD(ITER_START, 0, F(root.root, (uintptr_t)root) F(root.spt, tdpmmu_table_hpa(root)) F(root.start, gfn)
             F(root.role, root->role.word) F(root.level, 1));
        TOLD(ITER_RESTART, 0, F(iter_restart.next_gfn, gfn));
        for (int level = 3; level >= 1; level--) {
            struct kvm_mmu_page *sp = table_holding(vcpu, gfn, level);
            gfn_t first = gfn & ~(KVM_PAGES_PER_HPAGE(level + 1) - 1);
            uint64_t link = spte_on_way(vcpu, gfn, level + 1);

            TOLD(GET_PAGE, 3 - level, F(page.gfn, first) F(page.role, sp->role.word) F(page.created, true));
            TOLD(SPTE_CHANGED, 3 - level, F(spte_changed.gfn, first) F(spte_changed.old_spte, SHADOW_NONPRESENT_VALUE)
                 F(spte_changed.new_spte, link) F(spte_changed.level, (uint8_t)(level + 1)) F(spte_changed.as_id, AS));
            assert_int_equal(sp->role.smm, AS);
            assert_int_equal(sp->role.level, level);
        }
        TOLD(SPTE_CHANGED, 3, F(spte_changed.gfn, gfn) F(spte_changed.old_spte, SHADOW_NONPRESENT_VALUE)
             F(spte_changed.new_spte, spte) F(spte_changed.level, 1) F(spte_changed.as_id, AS));
        TOLD(SET_SPTE, 0, F(set_spte.gfn, gfn) F(set_spte.spte, spte) F(set_spte.sptep, address_of(gfn, 1))
             F(set_spte.level, 1) F(set_spte.r, true) F(set_spte.x, true) F(set_spte.u, 1));
        TOLD_RET(MAP_RET, RET_PF_FIXED);
        /* A read, a fetch, a present entry, in advance; what is there already. */
        begin();
        read_lock(&kvm->mmu_lock);
        assert_int_equal(kvm_tdp_mmu_map(vcpu, (gfn + 1) << 12, PFERR_FETCH_MASK | PFERR_PRESENT_MASK, false, 2, pfn_of(gfn + 1), true), RET_PF_FIXED);
        read_unlock(&kvm->mmu_lock);
        TOLD(MAP, 0, F(map.vcpu, (uintptr_t)vcpu) F(map.addr, (gfn + 1) << 12) F(map.ec, PFERR_FETCH_MASK | PFERR_PRESENT_MASK)
             F(map.gfn, gfn + 1) F(map.pfn, pfn_of(gfn + 1)) F(map.slot, (uintptr_t)the_slot()) F(map.prefetch, true)
             F(map.exec, true) F(map.present, true));
        TOLD(SPTE_REQUESTED, 0, F(spte_requested.gfn, gfn + 1) F(spte_requested.pfn, pfn_of(gfn + 1)) F(spte_requested.level, 2));
        begin();
        assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, (gfn << 12) + 0x45, PFERR_WRITE_MASK), RET_PF_FIXED);
        TOLD(PAGE_FAULT, 0, F(page_fault.fault_address, (gfn << 12) + 0x45) F(page_fault.error_code, PFERR_WRITE_MASK)
             F(page_fault.vcpu_id, VCPU));
        TOLD_RET(PF_RET, RET_PF_FIXED);
        close_vm();
    }
}

static void a_huge_fault_without_execution(void **state)
{
    const gfn_t gfn = BASE + 0x1e00; /* of 2M */

    (void)state;
    open_vm((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .nx_huge_pages = 1 }, 0);
    mapped_by(gfn + 5, PFERR_WRITE_MASK, 2);
    TOLD(MAP, 0, F(map.vcpu, (uintptr_t)vcpu) F(map.addr, ((gfn + 5) << 12) + 0x123) F(map.ec, PFERR_WRITE_MASK)
         F(map.gfn, gfn + 5) F(map.pfn, pfn_of(gfn + 5)) F(map.slot, (uintptr_t)the_slot()) F(map.write, true)
         F(map.nxwa, true) F(map.map_writable, true));
    TOLD(SET_SPTE, 0, F(set_spte.gfn, gfn) F(set_spte.spte, spte_at(vcpu, gfn, 2)) F(set_spte.sptep, address_of(gfn, 2))
         F(set_spte.level, 2) F(set_spte.r, true) F(set_spte.u, 1));
    close_vm();
}

static void mmio(void **state)
{
    const gfn_t gfn = BASE + PAGES + 0x3456;

    (void)state;
    for (int v = 0; v < 2; v++) {
        uint64_t spte, generation;

        open_vm((struct tdpmmu_vm_config){ .vendor = v ? TDPMMU_NPT : TDPMMU_EPT, .slots_generation = 0x5678 }, 0);
        generation = tdpmmu_memslots_generation(kvm, AS);
        assert_int_equal(generation, 0x567b);
        assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_WRITE_MASK), RET_PF_EMULATE);
        spte = spte_at(vcpu, gfn, 1);
        TOLD(MARK_MMIO_SPTE, 0, F(mmio.sptep, address_of(gfn, 1)) F(mmio.gfn, gfn) F(mmio.access, (uint32_t)(spte & 7))
             F(mmio.gen, (uint32_t)generation));
        /* Linux remembers one address, and would not look at the entry. */
        assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, (gfn + 1) << 12, 0), RET_PF_EMULATE);
        begin();
        assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, (gfn << 12) + 8, PFERR_RSVD_MASK | PFERR_PRESENT_MASK), RET_PF_EMULATE);
        TOLD(CHECK_MMIO_SPTE, 0, F(mmio_check.spte, spte) F(mmio_check.kvm_gen, (uint32_t)generation)
             F(mmio_check.spte_gen, (uint32_t)generation));
        TOLD(HANDLE_MMIO, 0, F(mmio.gfn, gfn) F(mmio.access, v ? 6 : 0));
        assert_int_equal(add_slot(kvm, AS << 16 | 77, 0, 0x40000, 1, WORLD_HVA), 0);
        begin();
        assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_RSVD_MASK | PFERR_PRESENT_MASK), RET_PF_EMULATE);
        TOLD(CHECK_MMIO_SPTE, 0, F(mmio_check.spte, spte) F(mmio_check.kvm_gen, (uint32_t)generation + 2)
             F(mmio_check.spte_gen, (uint32_t)generation));
        assert_int_equal(told(TDPMMU_TRACE_HANDLE_MMIO), 0);
        close_vm();
    }
}

static void a_fast_fault(void **state)
{
    const gfn_t gfn = BASE + 0x321;
    uint64_t before, after;

    (void)state;
    open_vm((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT }, 0);
    mapped_by(gfn, PFERR_WRITE_MASK, 1);
    read_lock(&kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_wrprot_slot(kvm, the_slot(), 1));
    read_unlock(&kvm->mmu_lock);
    kvm_flush_remote_tlbs(kvm);
    before = spte_at(vcpu, gfn, 1);
    begin();
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, (gfn << 12) + 0x10, PFERR_WRITE_MASK | PFERR_PRESENT_MASK), RET_PF_FIXED);
    after = spte_at(vcpu, gfn, 1);
    assert_int_equal(after, before | W_BIT);
    TOLD(FAST_PAGE_FAULT, 0, F(fast_page_fault.cr2_or_gpa, (gfn << 12) + 0x10)
         F(fast_page_fault.error_code, PFERR_WRITE_MASK | PFERR_PRESENT_MASK) F(fast_page_fault.sptep, address_of(gfn, 1))
         F(fast_page_fault.old_spte, before) F(fast_page_fault.new_spte, after) F(fast_page_fault.vcpu_id, VCPU)
         F(fast_page_fault.ret, RET_PF_FIXED));
    TOLD_RET(PF_RET, RET_PF_FIXED);
    close_vm();
}

/* ---- roots and vCPUs ------------------------------------------------------------------- */

static void roots(void **state)
{
    uint32_t role;

    (void)state;
    open_vm((struct tdpmmu_vm_config){ .root_level = 5, .maxphyaddr = 52 }, 0);
    mapped_by(BASE, PFERR_WRITE_MASK, 1);
    begin();
    assert_int_equal(tdpmmu_vcpu_set_as_id(vcpu, 0), 0);
    TOLD(SMM_TRANSITION, 0, F(smm_transition.vcpu_id, VCPU));
    TOLD(PUT_ROOT, 0, F(root.root, (uintptr_t)root) F(root.spt, tdpmmu_table_hpa(root)) F(root.role, root->role.word));
    begin();
    assert_int_equal(tdpmmu_vcpu_set_as_id(vcpu, AS), 0);
    TOLD(SMM_TRANSITION, 0, F(smm_transition.vcpu_id, VCPU) F(smm_transition.entering, true));
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    assert_ptr_equal(tdpmmu_vcpu_root(vcpu), root);
    TOLD(ALLOC_ROOT, 0, F(vcpu.vcpu, (uintptr_t)vcpu));
    TOLD(LOAD_PGD, 0, F(vcpu.vcpu, (uintptr_t)vcpu) F(vcpu.root_hpa, tdpmmu_table_hpa(root)) F(vcpu.root_level, 5));
    begin();
    write_lock(&kvm->mmu_lock);
    kvm_tdp_mmu_zap_all(kvm);
    write_unlock(&kvm->mmu_lock);
    TOLD(ZAP_ALL, 0,);
    TOLD(ZAP_ROOT, 0, F(root.root, (uintptr_t)root) F(root.spt, tdpmmu_table_hpa(root)) F(root.role, root->role.word));
    for (int i = 0; i < 4; i++) {
        static const int levels[] = { 1, 2, 3, 5 };

        TOLD(ZAP_ROOT_LEVEL, (unsigned)i, F(root.root, (uintptr_t)root) F(root.spt, tdpmmu_table_hpa(root))
             F(root.role, root->role.word) F(root.level, levels[i]));
        TOLD(ITER_START, (unsigned)i, F(root.root, (uintptr_t)root) F(root.spt, tdpmmu_table_hpa(root))
             F(root.role, root->role.word) F(root.level, levels[i]));
    }
    TOLD(FLUSH, 0,);
    mapped_by(BASE, PFERR_WRITE_MASK, 1);
    begin();
    role = root->role.word | 1u << 11; /* invalid */
    kvm_mmu_zap_all_fast(kvm);
    TOLD(ZAP_ALL_FAST, 0,);
    TOLD(INVALIDATE_ALL_ROOTS, 0,);
    TOLD(ZAP_INVALIDATED_ROOTS, 0,);
    TOLD(ZAP_ROOT, 0, F(root.root, (uintptr_t)root) F(root.spt, tdpmmu_table_hpa(root)) F(root.role, role)
         F(root.shared, true));
    TOLD(ZAP_ROOT_LEVEL, 3, F(root.root, (uintptr_t)root) F(root.spt, tdpmmu_table_hpa(root)) F(root.role, role)
         F(root.level, 5) F(root.shared, true));
    TOLD_RET(ZAP_INVALIDATED_ROOTS_RET, 0);
    assert_int_equal(root->role.word, role);
    close_vm();
}

static void tables_go(void **state)
{
    const gfn_t gfn = BASE + 0x1000;
    uint64_t leaf, link, head, hpa;
    struct kvm_mmu_page *sp;
    uint32_t role;

    (void)state;
    open_vm((struct tdpmmu_vm_config){ 0 }, 0);
    mapped_by(gfn + 7, PFERR_WRITE_MASK, 1);
    sp = table_holding(vcpu, gfn, 1);
    role = sp->role.word;
    hpa = tdpmmu_table_hpa(sp);
    leaf = spte_at(vcpu, gfn + 7, 1);
    link = spte_on_way(vcpu, gfn, 2);
    head = (uintptr_t)&sp->rcu_head;
    begin();
    write_lock(&kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_zap_sp(kvm, sp));
    write_unlock(&kvm->mmu_lock);
    rcu_barrier();
    TOLD(ZAP_SP, 0, F(sp.sp, (uintptr_t)sp) F(sp.spt, hpa) F(sp.gfn, gfn));
    TOLD(PREPARE_ZAP_PAGE, 0, F(page.gfn, gfn) F(page.role, role));
    TOLD(SPTE_CHANGED, 1, F(spte_changed.gfn, gfn + 7) F(spte_changed.old_spte, leaf) F(spte_changed.new_spte, FROZEN_SPTE)
         F(spte_changed.level, 1) F(spte_changed.as_id, AS));
    TOLD(SPTE_CHANGED, 0, F(spte_changed.gfn, gfn) F(spte_changed.old_spte, link)
         F(spte_changed.new_spte, SHADOW_NONPRESENT_VALUE) F(spte_changed.level, 2) F(spte_changed.as_id, AS));
    TOLD(FLUSH_RANGE, 0, F(gfn.gfn, gfn) F(gfn.n, 512));
    TOLD(FREE_SP_RCU, 0, F(sp.sp, head));
    close_vm();
}

/* ---- ranges ------------------------------------------------------------------------------- */

static void ranges(void **state)
{
    const gfn_t start = BASE + 0x403, end = BASE + 0x5ff;
    struct kvm_gfn_range range = { .start = start, .end = end, .may_block = true };
    bool flush;

    (void)state;
    open_vm((struct tdpmmu_vm_config){ 0 }, 0);
    mapped_by(BASE + 0x444, PFERR_WRITE_MASK, 1);
    range.slot = the_slot();
    begin();
    assert_true(kvm_tdp_mmu_test_age_gfn(kvm, &range));
    TOLD(TEST_AGE, 0, F(range.start, start) F(range.end, end));
    TOLD_RET(TEST_AGE_RET, 1);
    assert_true(kvm_tdp_mmu_age_gfn_range(kvm, &range));
    TOLD(AGE, 0, F(range.start, start) F(range.end, end));
    TOLD_RET(AGE_RET, 1);
    assert_false(kvm_tdp_mmu_test_age_gfn(kvm, &range));
    assert_false(kvm_tdp_mmu_age_gfn_range(kvm, &range));
    TOLD_RET(AGE_RET, 0);
    TOLD_RET(TEST_AGE_RET, 0);
    assert_int_equal(told(TDPMMU_TRACE_AGE_RET), 2);
    assert_int_equal(told(TDPMMU_TRACE_TEST_AGE_RET), 2);
    for (int may_block = 0; may_block < 2; may_block++)
        for (int pending = 0; pending < 2; pending++) {
            mapped_by(BASE + 0x444, PFERR_WRITE_MASK, 1);
            for (int again = 0; again < 2; again++) { /* once with a page there, once without */
                begin();
                range.may_block = may_block;
                write_lock(&kvm->mmu_lock);
                flush = kvm_tdp_mmu_unmap_gfn_range(kvm, &range, pending);
                write_unlock(&kvm->mmu_lock);
                assert_int_equal(flush, pending || !again);
                TOLD(UNMAP_GFN_RANGE, 0, F(range.start, start) F(range.end, end) F(range.flush, pending));
                TOLD(ZAP_LEAFS, 0, F(root.root, (uintptr_t)root) F(root.spt, tdpmmu_table_hpa(root)) F(root.start, start)
                     F(root.end, end) F(root.role, root->role.word) F(root.can_yield, may_block) F(root.flush, pending));
                TOLD_RET(ZAP_LEAFS_RET, flush);
                TOLD_RET(UNMAP_GFN_RANGE_RET, flush);
            }
        }
    mapped_by(BASE + 0x444, PFERR_WRITE_MASK, 1);
    for (int pending = 0; pending < 2; pending++) {
        begin();
        write_lock(&kvm->mmu_lock);
        kvm_tdp_mmu_zap_leafs(kvm, start, end, pending);
        write_unlock(&kvm->mmu_lock);
        TOLD(KVM_ZAP_LEAFS, 0, F(range.start, start) F(range.end, end) F(range.flush, pending));
        TOLD(ZAP_LEAFS, 0, F(root.root, (uintptr_t)root) F(root.spt, tdpmmu_table_hpa(root)) F(root.start, start)
             F(root.end, end) F(root.role, root->role.word) F(root.can_yield, true) F(root.flush, pending));
    }
    begin();
    kvm_flush_remote_tlbs_range(kvm, start, 0x99);
    TOLD(FLUSH_RANGE, 0, F(gfn.gfn, start) F(gfn.n, 0x99));
    kvm_flush_remote_tlbs(kvm);
    TOLD(FLUSH, 0,);
    close_vm();
}

static void host_ranges(void **state)
{
    const uint64_t start = HVA + 0x403007, end = HVA + 0x5ff001;

    (void)state;
    open_vm((struct tdpmmu_vm_config){ 0 }, 0);
    mapped_by(BASE + 0x404, PFERR_WRITE_MASK, 1);
    begin();
    assert_true(kvm_mmu_notifier_test_young(kvm, HVA + 0x404321));
    TOLD(TEST_AGE_HVA, 0, F(hva.start, HVA + 0x404321) F(hva.end, HVA + 0x404321));
    TOLD(TEST_AGE, 0, F(range.start, BASE + 0x404) F(range.end, BASE + 0x405));
    assert_true(kvm_mmu_notifier_clear_young(kvm, start, end));
    TOLD(AGE_HVA, 0, F(hva.start, start) F(hva.end, end));
    TOLD(AGE, 0, F(range.start, BASE + 0x403) F(range.end, BASE + 0x600));
    begin();
    kvm_mmu_notifier_invalidate_range_start(kvm, start, end, true);
    TOLD(UNMAP_HVA_RANGE, 0, F(hva.start, start) F(hva.end, end));
    TOLD(INV_BEGIN, 0,);
    TOLD(INV_RANGE, 0, F(range.start, BASE + 0x403) F(range.end, BASE + 0x600));
    TOLD(UNMAP_GFN_RANGE, 0, F(range.start, BASE + 0x403) F(range.end, BASE + 0x600));
    TOLD_RET(UNMAP_GFN_RANGE_RET, 1);
    assert_int_equal(told(TDPMMU_TRACE_INV_END), 0);
    kvm_mmu_notifier_invalidate_range_end(kvm, start, end);
    TOLD(INV_END, 0,);
    write_lock(&kvm->mmu_lock);
    begin();
    kvm_mmu_invalidate_begin(kvm);
    kvm_mmu_invalidate_range_add(kvm, 0x1234, 0x5678);
    TOLD(INV_RANGE, 0, F(range.start, 0x1234) F(range.end, 0x5678));
    kvm_mmu_invalidate_end(kvm);
    write_unlock(&kvm->mmu_lock);
    close_vm();
}

/* ---- slots and dirty logs --------------------------------------------------------------------- */

static void slots(void **state)
{
    (void)state;
    for (int vendor = 0; vendor < 2; vendor++) {
        open_vm((struct tdpmmu_vm_config){ .vendor = (uint32_t)vendor }, 0);
        mapped_by(BASE + 0x15, PFERR_WRITE_MASK, 1);
        for (int level = 1; level <= 3; level++) {
            bool flush;

            begin();
            read_lock(&kvm->mmu_lock);
            flush = kvm_tdp_mmu_wrprot_slot(kvm, the_slot(), level);
            read_unlock(&kvm->mmu_lock);
            assert_int_equal(flush, level == 1);
            TOLD(WRPROT_SLOT, 0, F(slot.base_gfn, BASE) F(slot.npages, PAGES) F(slot.min_level, level));
            TOLD_RET(WRPROT_SLOT_RET, flush);
            TOLD(ITER_START, 0, F(root.root, (uintptr_t)root) F(root.spt, tdpmmu_table_hpa(root)) F(root.start, BASE)
                 F(root.role, root->role.word) F(root.level, level));
        }
        begin();
        read_lock(&kvm->mmu_lock);
        kvm_tdp_mmu_clear_dirty_slot(kvm, the_slot());
        kvm_tdp_mmu_zap_collapsible_sptes(kvm, the_slot());
        read_unlock(&kvm->mmu_lock);
        TOLD(CLEAR_DIRTY_SLOT, 0, F(slot.base_gfn, BASE) F(slot.npages, PAGES));
        TOLD(ZAP_COLLAPSIBLE, 0, F(slot.base_gfn, BASE) F(slot.npages, PAGES));
        TOLD_RET(ZAP_COLLAPSIBLE_RET, 0);
        TOLD(FLUSH_RANGE, 0, F(gfn.gfn, BASE & ~511ull) F(gfn.n, 512));
        for (int wrprot = 0; wrprot < 2; wrprot++) {
            begin();
            write_lock(&kvm->mmu_lock);
            kvm_tdp_mmu_clear_dirty_pt_masked(kvm, the_slot(), BASE + 0x40, 0x8000000100000a00, wrprot);
            kvm_tdp_mmu_write_protect_gfn(kvm, the_slot(), BASE + 0x15, 2 + wrprot);
            write_unlock(&kvm->mmu_lock);
            TOLD(CLEAR_DIRTY_PT_MASKED, 0, F(gfn.gfn, BASE + 0x40) F(gfn.mask, 0x8000000100000a00) F(gfn.wrprot, wrprot));
            TOLD(WRITE_PROTECT_GFN, 0, F(gfn.gfn, BASE + 0x15) F(gfn.min_level, 2 + wrprot));
        }
        kvm_flush_remote_tlbs(kvm);
        close_vm();
    }
}

static void splits(void **state)
{
    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        const gfn_t gfn = BASE + 0xe00;
        uint64_t huge;

        open_vm((struct tdpmmu_vm_config){ .no_eager_split = 1 }, 0);
        mapped_by(gfn + 3, PFERR_WRITE_MASK, 2);
        huge = spte_at(vcpu, gfn, 2);
        assert_true(huge != NO_SPTE);
        begin();
        if (shared)
            read_lock(&kvm->mmu_lock);
        else
            write_lock(&kvm->mmu_lock);
        assert_int_equal(kvm_tdp_mmu_try_split_huge_pages(kvm, the_slot(), gfn + 1, gfn + 9, 1, shared), 0);
        if (shared)
            read_unlock(&kvm->mmu_lock);
        else
            write_unlock(&kvm->mmu_lock);
        TOLD(SPLIT, 0, F(range.start, gfn + 1) F(range.end, gfn + 9) F(range.target, 1) F(range.shared, shared));
        TOLD(SPLIT_HUGE_PAGE, 0, F(split_huge_page.gfn, gfn) F(split_huge_page.spte, huge) F(split_huge_page.level, 2));
        TOLD(GET_PAGE, 0, F(page.gfn, gfn) F(page.role, table_holding(vcpu, gfn, 1)->role.word) F(page.created, true));
        TOLD_RET(SPLIT_RET, 0);
        close_vm();
    }
}

static void rings(void **state)
{
    struct tdpmmu_vm_config config = { .vendor = TDPMMU_NPT, .ring_index = 0xfffffffe };
    struct tdpmmu_ops ops = { .size = sizeof(ops), .warn = hear_warning, .trace = hear };
    struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { 4096 } };
    struct kvm_dirty_gfn *ring;

    (void)state;
    config.size = sizeof(config);
    config.ops = &ops;
    kvm = tdpmmu_create_vm(&config);
    assert_int_equal(kvm_vm_ioctl_enable_cap(kvm, &cap), 0);
    vcpu = tdpmmu_create_vcpu(kvm, VCPU);
    assert_int_equal(tdpmmu_vcpu_set_as_id(vcpu, AS), 0);
    assert_int_equal(add_slot(kvm, AS << 16 | ID, KVM_MEM_LOG_DIRTY_PAGES, BASE, PAGES, HVA), 0);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    ring = tdpmmu_vcpu_dirty_ring(vcpu, NULL);
    begin();
    for (unsigned n = 0; n < 3; n++) {
        mapped_by(BASE + 0x100 * (n + 1), PFERR_WRITE_MASK, 1);
        TOLD(RING_PUSH, n, F(dirty_ring.offset, 0x100 * (n + 1)) F(dirty_ring.index, VCPU)
             F(dirty_ring.dirty_index, 0xffffffff + n) F(dirty_ring.reset_index, 0xfffffffe) F(dirty_ring.slot, AS << 16 | ID));
    }
    ring[254].flags = ring[255].flags = KVM_DIRTY_GFN_F_RESET;
    begin();
    assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(kvm), 2);
    TOLD(RING_RESET, 0, F(dirty_ring.index, VCPU) F(dirty_ring.dirty_index, 1) F(dirty_ring.reset_index, 0));
    close_vm();
}

static void marks(void **state)
{
    char text[150];

    (void)state;
    open_vm((struct tdpmmu_vm_config){ 0 }, 0);
    for (unsigned i = 0; i < sizeof(text) - 1; i++)
        text[i] = (char)('!' + i % 90);
    for (unsigned length = 0; length < sizeof(text); length += length < 58 || length > 62 ? 29 : 1) {
        text[length] = 0;
        begin();
        assert_int_equal(tdpmmu_trace_mark(kvm, text), 0);
        for (unsigned n = 0; n == 0 || n * TDPMMU_TRACE_TEXT < length; n++) {
            unsigned part = length - n * TDPMMU_TRACE_TEXT > TDPMMU_TRACE_TEXT ? TDPMMU_TRACE_TEXT : length - n * TDPMMU_TRACE_TEXT;

            TOLD(MARK, n, F(mark.length, (uint16_t)part) F(mark.continues, (n + 1) * TDPMMU_TRACE_TEXT < length)
                 memcpy(expected_.mark.text, text + n * TDPMMU_TRACE_TEXT, part););
        }
        assert_int_equal(told(TDPMMU_TRACE_MARK), length ? (length + TDPMMU_TRACE_TEXT - 1) / TDPMMU_TRACE_TEXT : 1);
        text[length] = (char)('!' + length % 90);
    }
    close_vm();
}

/* Each id has a name of its own, and each is told of above. */
static void names(void **state)
{
    (void)state;
    for (int a = 0; a < TDPMMU_TRACE_COUNT; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(tdpmmu_trace_name(a), tdpmmu_trace_name(b));
    if (!getenv("TDPMMU_TEST_ONLY"))
        for (int id = 0; id < TDPMMU_TRACE_COUNT; id++)
            if (!(all_told & TDPMMU_TRACE_BIT(id)))
                fail_msg("nobody has looked at %s", tdpmmu_trace_name(id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fault),
        cmocka_unit_test(a_huge_fault_without_execution),
        cmocka_unit_test(mmio),
        cmocka_unit_test(a_fast_fault),
        cmocka_unit_test(roots),
        cmocka_unit_test(tables_go),
        cmocka_unit_test(ranges),
        cmocka_unit_test(host_ranges),
        cmocka_unit_test(slots),
        cmocka_unit_test(splits),
        cmocka_unit_test(rings),
        cmocka_unit_test(marks),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests_name("borders_events", tests, NULL, NULL);
}
