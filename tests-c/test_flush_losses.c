/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Each operation that takes translations away, on filled tables, by a caller who does his part: nothing
 * may be reported.  On a library that loses the operation's flush, or makes it too late, too
 * short or to the wrong place (tests-c/mutants.txt), something is.
 *
 * Every operation runs on each sort of hardware, once as it is and once giving way at each entry.
 */
#include "test_helpers.h"
#include "flush_reports.h"

enum { SMALL = 64, HUGE = 1024, HUGE_END = HUGE + 3 * 512, SIDE_PAGES = 1024, SMM_SLOT = 1 << 16 };
#define GIANT GIB_PAGES

static int most_level;       /* at which the host maps what is on the side */
static uint64_t host_offset; /* of pages that the host has moved */

static int host_level(gfn_t gfn)
{
    int level = gfn >= GIANT && gfn < SIDE_BASE ? 3 : gfn >= HUGE ? 2 : 1;

    return gfn < SIDE_BASE || level < most_level ? level : most_level;
}

static kvm_pfn_t host_page(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, bool write,
                           bool *writable, int *max_level)
{
    (void)ctx, (void)kvm, (void)write, (void)writable;
    *max_level = host_level(gfn);
    return (slot->userspace_addr >> 12) + (gfn - slot->base_gfn) + host_offset;
}

static int mapping_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx, (void)kvm, (void)slot;
    return host_level(gfn);
}

static void touch(struct world *w, uint64_t access)
{
    for (gfn_t gfn = 0; gfn < SMALL; gfn++)
        guest_access(w->vcpu, gfn, access);
    for (gfn_t gfn = HUGE; gfn < HUGE_END; gfn += 256)
        guest_access(w->vcpu, gfn + 7, access);
    guest_access(w->vcpu, GIANT + 77, access);
}

static void touch_side(struct world *w)
{
    for (gfn_t gfn = 0; gfn < SIDE_PAGES; gfn += 11) /* the last one, too */
        guest_write(w->vcpu, SIDE_BASE + gfn);
}

static struct world *filled(const struct machine *m, bool yields)
{
    static const struct tdpmmu_ops host = {
        .size = sizeof(host), .gfn_to_pfn = host_page, .mapping_level = mapping_level,
    };
    /* They fill whenever they may, and keep all that they are not told to forget. */
    static const struct tdpmmu_cpus_config cpus = {
        .size = sizeof(cpus), .flags = TDPMMU_CPUS_FILL_ALWAYS, .translations = 16384,
    };
    struct tdpmmu_vm_config config = m->config;
    struct tdpmmu_cpu_result kept;
    struct world *w;

    most_level = 3;
    host_offset = 0;
    config.ops = &host;
    w = world_from(config);
    keep_ledger(w);
    assert_int_equal(tdpmmu_cpus_attach(w->kvm, &cpus), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    touch(w, PFERR_WRITE_MASK);
    assert_true(tdpmmu_cpu_cached(w->vcpu, 5 << 12, &kept) > 0);
    assert_true(tdpmmu_cpu_cached(w->vcpu, (HUGE + 7) << 12, &kept) > 0);
    atomic_store(&w->resched, yields);
    return w;
}

static void told(struct world *w, bool flush)
{
    if (flush)
        kvm_flush_remote_tlbs(w->kvm);
}

static struct kvm_gfn_range pages(struct world *w, gfn_t start, gfn_t end)
{
    return (struct kvm_gfn_range){ .slot = slot_by_id(w, 0, 0), .start = start, .end = end, .may_block = true };
}

static uint64_t hva(gfn_t gfn)
{
    return WORLD_HVA + (gfn << 12);
}

#define UNDER(lock, w, what) \
    do { \
        lock##_lock(&(w)->kvm->mmu_lock); \
        what; \
        lock##_unlock(&(w)->kvm->mmu_lock); \
    } while (0)

/* ---- zaps ----------------------------------------------------------------------- */

static void one_roots_range(struct world *w)
{
    UNDER(write, w, told(w, zap_gfn_range(w->kvm, tdpmmu_vcpu_root(w->vcpu), 3, HUGE + 512, true)));
    touch(w, 0);
    UNDER(write, w, told(w, zap_gfn_range(w->kvm, tdpmmu_vcpu_root(w->vcpu), 0, 512, false)));
}

static void range(struct world *w)
{
    UNDER(write, w, told(w, kvm_tdp_mmu_zap_gfn_range(w->kvm, 5, 9)));
    UNDER(write, w, told(w, kvm_tdp_mmu_zap_gfn_range(w->kvm, 0, WORLD_SLOT_PAGES)));
}

static void leafs(struct world *w)
{
    UNDER(write, w, told(w, kvm_tdp_mmu_zap_leafs(w->kvm, 5, HUGE + 512, false)));
}

static void unmapped(struct world *w)
{
    struct kvm_gfn_range range = pages(w, 5, HUGE + 512);

    UNDER(write, w, told(w, kvm_tdp_mmu_unmap_gfn_range(w->kvm, &range, false)));
}

static void host_range(struct world *w)
{
    UNDER(write, w, told(w, kvm_tdp_mmu_zap_hva_range(w->kvm, hva(5), hva(HUGE + 1))));
}

static void everything(struct world *w)
{
    UNDER(write, w, kvm_tdp_mmu_zap_all(w->kvm));
}

static void one_table(struct world *w)
{
    UNDER(write, w, kvm_tdp_mmu_zap_sp(w->kvm, table_holding(w->vcpu, 5, 1)));
}

static void all_fast(struct world *w)
{
    kvm_mmu_zap_all_fast(w->kvm);
}

/* ---- the host --------------------------------------------------------------------- */

static void invalidation(struct world *w)
{
    kvm_mmu_notifier_invalidate_range_start(w->kvm, hva(5), hva(HUGE + 1), true);
    assert_no_report();
    kvm_mmu_notifier_invalidate_range_end(w->kvm, hva(5), hva(HUGE + 1));
}

static void another_page(struct world *w)
{
    UNDER(write, w, kvm_tdp_mmu_set_spte_hva(w->kvm, hva(5), 0x12345, false));
    UNDER(write, w, kvm_tdp_mmu_set_spte_hva(w->kvm, hva(6), 0x12346, true));
    UNDER(write, w, kvm_tdp_mmu_set_spte_hva(w->kvm, hva(HUGE + 5), 0x12347, false));
}

static void aging(struct world *w)
{
    kvm_mmu_notifier_clear_young(w->kvm, hva(0), hva(HUGE_END));
    touch(w, 0);
    kvm_mmu_notifier_clear_flush_young(w->kvm, hva(0), hva(HUGE_END));
}

/* ---- dirty logs --------------------------------------------------------------------- */

static void log_side(struct world *w, uint32_t flags)
{
    assert_int_equal(add_slot(w->kvm, SIDE_SLOT, flags, SIDE_BASE, SIDE_PAGES, SIDE_HVA), 0);
}

static void logging(struct world *w)
{
    log_side(w, 0);
    touch_side(w); /* huge pages */
    log_side(w, KVM_MEM_LOG_DIRTY_PAGES);
    assert_no_report();
    touch_side(w);
    log_side(w, 0); /* and they may be huge again */
    assert_no_report();
    touch_side(w);
    tdpmmu_set_eager_page_split(w->kvm, false);
    log_side(w, KVM_MEM_LOG_DIRTY_PAGES);
}

static void logging_of_small_pages(struct world *w)
{
    most_level = 1;
    log_side(w, 0);
    touch_side(w);
    log_side(w, KVM_MEM_LOG_DIRTY_PAGES);
    assert_no_report();
    kvm_mmu_zap_all_fast(w->kvm); /* what the host mapped in one piece before */
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
}

static unsigned long bitmap[SIDE_PAGES / 64];

static void harvest(struct world *w)
{
    struct kvm_dirty_log log = { .slot = SIDE_SLOT, .dirty_bitmap = bitmap };

    log_side(w, KVM_MEM_LOG_DIRTY_PAGES);
    for (int i = 0; i < 2; i++) {
        touch_side(w);
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
        assert_no_report();
    }
}

static void clear_log(struct world *w)
{
    struct kvm_clear_dirty_log clear = { .slot = SIDE_SLOT, .num_pages = SIDE_PAGES, .dirty_bitmap = bitmap };

    assert_int_equal(kvm_vm_ioctl_clear_dirty_log(w->kvm, &clear), 0);
    assert_no_report();
}

static void cleared_by_hand(struct world *w)
{
    struct kvm_dirty_log log = { .slot = SIDE_SLOT, .dirty_bitmap = bitmap };
    struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                                  .args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE } };

    assert_int_equal(kvm_vm_ioctl_enable_cap(w->kvm, &cap), 0);
    log_side(w, KVM_MEM_LOG_DIRTY_PAGES);
    touch_side(w);
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
    clear_log(w);
}

/* All pages count as dirty, and are huge until they are cleared. */
static void cleared_first(struct world *w)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
                                  .args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET } };

    assert_int_equal(kvm_vm_ioctl_enable_cap(w->kvm, &cap), 0);
    for (int eager = 1; eager >= 0; eager--) {
        tdpmmu_set_eager_page_split(w->kvm, eager);
        log_side(w, 0);
        touch_side(w);
        log_side(w, KVM_MEM_LOG_DIRTY_PAGES);
        memset(bitmap, 0, sizeof(bitmap));
        bitmap[9] = 0x8000000000000001;
        clear_log(w);
        memset(bitmap, 0xff, sizeof(bitmap));
        clear_log(w);
        touch_side(w);
        clear_log(w);
    }
}

/* The kernel's parts of it, each by a caller of their own. */
static void parts_of_logging(struct world *w)
{
    const struct kvm_memory_slot *slot;
    bool flush;

    log_side(w, KVM_MEM_LOG_DIRTY_PAGES);
    slot = slot_by_id(w, 0, SIDE_SLOT);
    touch_side(w);
    UNDER(read, w, flush = kvm_tdp_mmu_wrprot_slot(w->kvm, slot, 1));
    told(w, flush);
    touch_side(w);
    UNDER(read, w, flush = kvm_tdp_mmu_clear_dirty_slot(w->kvm, slot));
    told(w, flush);
    touch_side(w);
    UNDER(write, w, kvm_tdp_mmu_clear_dirty_pt_masked(w->kvm, slot, SIDE_BASE, ~0ul, true));
    kvm_flush_remote_tlbs(w->kvm);
    touch_side(w);
    UNDER(write, w, told(w, kvm_tdp_mmu_write_protect_gfn(w->kvm, slot, SIDE_BASE, 1)));
    harvest(w);
}

/* Rings begin before the first vCPU: a VM of its own.  Harvested pages are made visible again. */
static void rings(struct world *w)
{
    struct tdpmmu_vm_config config = {
        .size = sizeof(config), .vendor = w->vendor, .ops = &w->ops, .ops_ctx = w,
    };
    struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { 16384 } };
    struct kvm *kvm = tdpmmu_create_vm(&config);
    struct kvm_dirty_gfn *ring;
    struct kvm_vcpu *vcpu;

    assert_int_equal(kvm_vm_ioctl_enable_cap(kvm, &cap), 0);
    vcpu = tdpmmu_create_vcpu(kvm, 0);
    assert_int_equal(add_slot(kvm, SIDE_SLOT, KVM_MEM_LOG_DIRTY_PAGES, SIDE_BASE, SIDE_PAGES, SIDE_HVA), 0);
    assert_int_equal(tdpmmu_ledger_attach(kvm, report, NULL), 0);
    for (gfn_t gfn = 0; gfn < SIDE_PAGES; gfn += 11)
        guest_write(vcpu, SIDE_BASE + gfn);
    tdpmmu_cpu_exit(vcpu);
    ring = tdpmmu_vcpu_dirty_ring(vcpu, NULL);
    for (int i = 0; ring[i].flags & KVM_DIRTY_GFN_F_DIRTY; i++)
        __atomic_store_n(&ring[i].flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    assert_true(kvm_vm_ioctl_reset_dirty_pages(kvm) >= SIDE_PAGES / 11);
    assert_no_report();
    tdpmmu_destroy_vm(kvm);
}

/* ---- slots ------------------------------------------------------------------------------- */

static void slot_ends(struct world *w)
{
    log_side(w, 0);
    touch_side(w);
    assert_int_equal(delete_slot(w->kvm, SIDE_SLOT), 0);
}

static void slot_alone(struct world *w)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_DISABLE_QUIRKS2, .args = { TDPMMU_QUIRK_SLOT_ZAP_ALL } };

    assert_int_equal(kvm_vm_ioctl_enable_cap(w->kvm, &cap), 0);
    slot_ends(w);
    log_side(w, 0);
    touch_side(w);
    assert_int_equal(add_slot(w->kvm, SIDE_SLOT, 0, SIDE_BASE + GIB_PAGES, SIDE_PAGES, SIDE_HVA), 0);
    assert_no_report();
}

/* ---- huge pages ----------------------------------------------------------------------------- */

/* Tables of small pages in their place. */
static void split(struct world *w)
{
    UNDER(write, w, assert_int_equal(kvm_tdp_mmu_try_split_huge_pages(
        w->kvm, slot_by_id(w, 0, 0), HUGE, HUGE_END, 1, false), 0));
    assert_no_report();
}

static void recovered(struct world *w)
{
    split(w);
    UNDER(read, w, kvm_tdp_mmu_recover_huge_pages(w->kvm, slot_by_id(w, 0, 0)));
}

static void collapsed(struct world *w)
{
    split(w);
    UNDER(read, w, kvm_tdp_mmu_zap_collapsible_sptes(w->kvm, slot_by_id(w, 0, 0)));
}

/* Huge pages must not be executed: what fetches split is recovered. */
static void executed(struct world *w)
{
    tdpmmu_set_nx_huge_pages(w->kvm, true);
    assert_no_report();
    touch(w, PFERR_WRITE_MASK);
    touch(w, PFERR_FETCH_MASK);
    assert_no_report();
    assert_true(tdpmmu_nx_recover(w->kvm, 2) > 0);
    assert_no_report();
    assert_true(tdpmmu_nx_recover(w->kvm, 1) > 0);
    touch(w, PFERR_WRITE_MASK);
    tdpmmu_set_nx_huge_pages(w->kvm, false);
}

/* ---- faults ----------------------------------------------------------------------------------- */

/* A table makes way for a huge page. */
static void fault_over_a_table(struct world *w)
{
    split(w);
    UNDER(read, w, assert_int_equal(kvm_tdp_mmu_map(
        w->vcpu, (HUGE + 5) << 12, PFERR_WRITE_MASK, true, 2, host_pfn(HUGE + 5), false), RET_PF_FIXED));
}

/* The page is another. */
static void fault_of_another_page(struct world *w)
{
    UNDER(read, w, assert_int_equal(kvm_tdp_mmu_map(
        w->vcpu, 5 << 12, PFERR_WRITE_MASK, true, 1, 0x54321, false), RET_PF_FIXED));
    UNDER(read, w, assert_int_equal(kvm_tdp_mmu_map(
        w->vcpu, HUGE << 12, PFERR_WRITE_MASK, true, 2, 0x200, false), RET_PF_FIXED));
}

/* Memory becomes MMIO. */
static void fault_of_no_page(struct world *w)
{
    /* No slot has it: of one that has the page the guest would be asked to try again. */
    UNDER(read, w, assert_int_equal(kvm_tdp_mmu_map(
        w->vcpu, SIDE_BASE << 12, PFERR_WRITE_MASK, true, 1, host_pfn(SIDE_BASE), false), RET_PF_FIXED));
    UNDER(read, w, assert_int_equal(kvm_tdp_mmu_map(
        w->vcpu, SIDE_BASE << 12, PFERR_WRITE_MASK, true, 1, KVM_PFN_NOSLOT, false), RET_PF_EMULATE));
}

/* Rights that are less: nothing is owed, as in Linux. */
static void fault_that_protects(struct world *w)
{
    UNDER(read, w, assert_int_equal(kvm_tdp_mmu_map(
        w->vcpu, 5 << 12, 0, false, 1, host_pfn(5), false), RET_PF_FIXED));
}

/* ---- all of them --------------------------------------------------------------------------------- */

#define OPERATIONS(each) \
    each(one_roots_range) each(range) each(leafs) each(unmapped) each(host_range) each(everything) each(one_table) \
    each(all_fast) each(invalidation) each(another_page) each(aging) each(logging) each(logging_of_small_pages) \
    each(harvest) each(rings) each(cleared_by_hand) each(cleared_first) each(parts_of_logging) each(slot_ends) each(slot_alone) \
    each(split) each(recovered) each(collapsed) each(executed) each(fault_over_a_table) \
    each(fault_of_another_page) each(fault_of_no_page) each(fault_that_protects)

static void perform(void (*operation)(struct world *w))
{
    for_each_machine(m) {
        for (int yields = 0; yields < 2; yields++) {
            struct world *w = filled(m, yields);

            operation(w);
            assert_no_report();
            assert_int_equal(tdpmmu_cpus_check(w->kvm), 0);
            atomic_store(&w->resched, false);
            touch(w, PFERR_WRITE_MASK);
            assert_no_report();
            world_free(w);
        }
    }
}

#define TEST(operation) static void test_##operation(void **state) { (void)state; perform(operation); }
OPERATIONS(TEST)

int main(void)
{
#define ROW(operation) { #operation, test_##operation, NULL, NULL, NULL },
    const struct CMUnitTest tests[] = { OPERATIONS(ROW) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
