/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The checker: each fault is forged, in the memory of a table or in its header, seen, and seen to be
 * gone when the forgery is taken back.  Right VMs, which it has nothing to say of, are all the other tests'.
 */
#include "test_helpers.h"

#include <sched.h>

#define HUGE_GFN 4096u

static unsigned told;
static char heard[32][96];
static struct tdpmmu_check_fault last_fault;

static void report(void *ctx, struct kvm *kvm, const struct tdpmmu_check_fault *fault)
{
    assert_ptr_equal(ctx, &told);
    assert_true(tdpmmu_write_lock_held(&kvm->mmu_lock));
    last_fault = *fault;
    if (told < 32)
        snprintf(heard[told], sizeof(heard[0]), "%s", fault->text);
    told++;
}

/* A small VM of every sort of entry: 4K and 2M leaves, tables, MMIO, a logged and a read-only slot. */
static struct world *checked_world(const struct machine *m, uint32_t nx)
{
    struct tdpmmu_vm_config config = m->config;
    struct world *w;

    config.nx_huge_pages = nx;
    w = world_from(config);
    w->fault = "";
    tdpmmu_check_always(w->kvm, 0);
    assert_int_equal(tdpmmu_check_report(w->kvm, report, &told), 0);
    assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, SIDE_BASE, 64, SIDE_HVA), 0);
    assert_int_equal(add_slot(w->kvm, 2, KVM_MEM_READONLY, SIDE_BASE + 512, 64, SIDE_HVA + (512 << 12)), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    map_pages(w, 0, 64, 1);
    map_pages(w, HUGE_GFN, 1024, 2);
    guest_write(w->vcpu, SIDE_BASE + 3);
    guest_access(w->vcpu, SIDE_BASE + 512, 0);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (SIDE_BASE + 100) << 12, 0), RET_PF_EMULATE);
    told = 0;
    assert_int_equal(tdpmmu_check(w->kvm), 0);
    assert_int_equal(told, 0);
    return w;
}

static void checked_world_free(struct world *w)
{
    told = 0;
    assert_int_equal(tdpmmu_check(w->kvm), 0);
    world_forget(w);
    w->fault = NULL;
    world_free(w);
}

/* So many faults are found, and one of them says this. */
static void expect(struct world *w, int found, const char *text, int line)
{
    bool is_there = false;
    int result;

    told = 0;
    result = tdpmmu_check(w->kvm);
    for (unsigned i = 0; i < told && i < 32; i++)
        is_there = is_there || strstr(heard[i], text);
    if (result != found || told != (unsigned)found || !is_there) {
        print_error("%s, line %d: %d faults, expected %d with \"%s\"\n", machine_at, line, result, found, text);
        for (unsigned i = 0; i < told && i < 32; i++)
            print_error("    %s\n", heard[i]);
        fail();
    }
    assert_int_equal(w->last_warning.kind, TDPMMU_WARN_CHECK);
    assert_string_equal(w->last_warning.function, "tdpmmu_check");
}

/* With another value in a place. */
#define FORGED(place, forged, found, text) \
    do { \
        __typeof__(*(place)) saved_ = *(place); \
        *(place) = (forged); \
        expect(w, found, text, __LINE__); \
        *(place) = saved_; \
        told = 0; \
        assert_int_equal(tdpmmu_check(w->kvm), 0); \
    } while (0)

static void entries(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = checked_world(m, 0);
        uint64_t *leaf = entry_of(w->vcpu, 5, 1), *huge = entry_of(w->vcpu, HUGE_GFN, 2), *empty = entry_of(w->vcpu, 70, 1);
        uint64_t *mmio = entry_of(w->vcpu, SIDE_BASE + 100, 1), *table = entry_of(w->vcpu, 0, 2), *top = entry_of(w->vcpu, 0, 4);

        /* A leaf that is none any more is counted wrong as well. */
        FORGED(leaf, FROZEN_SPTE, 2, "frozen entry is nobody's");
        FORGED(empty, FROZEN_SPTE, 1, "frozen entry is nobody's");
        FORGED(empty, 0x123000, 1, "none of the kinds");
        FORGED(leaf, SHADOW_NONPRESENT_VALUE, 1, "leaves of a level are counted wrong");
        FORGED(empty, *leaf, 1, "leaves of a level are counted wrong");
        FORGED(leaf, *leaf & ~m->mmu_writable, 1, "writable bits contradict");
        FORGED(leaf, (*leaf & ~m->host_writable) | W_BIT, 1, "writable bits contradict");
        FORGED(leaf, *leaf | PSE_BIT, 1 + 1, "size does not fit");
        FORGED(huge, *huge & ~PSE_BIT, 1 + 1 + 1, "points to no table");
        FORGED(leaf, *leaf | 1ull << 61, 1, "bits too many");
        FORGED(leaf, *leaf | 1ull << 50, 1, "above MAXPHYADDR");
        FORGED(huge, *huge | 1ull << 12, 1, "not aligned");
        FORGED(huge, m->config.vendor == TDPMMU_NPT ? *huge | 1ull << 63 : *huge & ~4ull, 1, "permits execution");
        FORGED(top, *top ^ 4, 1, "table entry has bits");
        FORGED(mmio, *mmio ^ 0x1000, 1, "another gfn");
        FORGED(mmio, *mmio + 8 * 8, 1, "generation of the future");
        FORGED(empty, *mmio ^ (SIDE_BASE + 100) << 12 ^ 70 << 12, 1, "MMIO entry of now stands in a slot");
        FORGED(table, *entry_of(w->vcpu, SIDE_BASE, 2), 1 + 2, "does not name the entry");
        checked_world_free(w);
    }
}

static void tracked(void **state)
{
    const struct machine *m = &machines[2];
    struct world *w = checked_world(m, 0);
    struct kvm_gfn_range range = { .slot = slot_by_id(w, 0, 0), .start = 0, .end = 64 };
    uint64_t *leaf = entry_of(w->vcpu, 5, 1);

    (void)state;
    machine_at = m->name;
    assert_true(kvm_tdp_mmu_age_gfn_range(w->kvm, &range));
    FORGED(leaf, *leaf & ~(1ull << 54), 1, "lost what it permits");
    FORGED(leaf, *leaf & ~(1ull << 56), 1, "permits execution");
    checked_world_free(w);
}

static void headers(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = checked_world(m, 0);
        struct kvm_mmu_page *table = table_holding(w->vcpu, 5, 1), *root = tdpmmu_vcpu_root(w->vcpu);
        uint64_t *other = entry_of(w->vcpu, 6, 1);

        /* What is below is not looked at: 64 leaves and a table are missing, and the vCPU's memory may be of it. */
        FORGED(&table->ptep, other, 3, "does not name the entry");
        FORGED(&table->role.word, table->role.word + 1, 3, "role does not fit");
        FORGED(&table->role.word, table->role.word | 1u << 24, 3, "role does not fit");
        FORGED(&table->role.word, table->role.word ^ 1u << 16, 3, "role does not fit");
        FORGED(&table->gfn, 512, 3, "gfn does not fit");
        FORGED(&root->gfn, 512, 1, "listed root is none");
        FORGED(&root->role.word, root->role.word - 1, 1, "listed root is none");
        FORGED(&root->tdp_mmu_root_count, 1, 1, "fewer references than users");
        FORGED(&root->next, root, 1, "list of roots has no end");
        FORGED(&root->tdp_mmu_scheduled_root_to_zap, true, 1, "listed root is none");
        checked_world_free(w);
    }
}

static void slots(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = checked_world(m, 0);
        uint64_t *read_only = entry_of(w->vcpu, SIDE_BASE + 512, 1), *logged = entry_of(w->vcpu, SIDE_BASE + 3, 1);
        uint64_t *outside = entry_of(w->vcpu, SIDE_BASE + 90, 1), *unmarked = entry_of(w->vcpu, SIDE_BASE + 4, 1);
        uint64_t *beyond = &table_holding(w->vcpu, 0, 3)->spt[8]; /* 8 GiB: behind slot 0 */

        FORGED(read_only, *read_only | m->host_writable, 1, "read-only slot is writable");
        FORGED(read_only, *read_only | m->host_writable | m->mmu_writable | W_BIT, 1, "read-only slot is writable");
        FORGED(outside, *read_only, 1 + 1, "is in no slot");
        FORGED(beyond, *entry_of(w->vcpu, HUGE_GFN, 2) & ~(0x3fffffull << 12), 1 + 1, "is in no slot");
        FORGED(unmarked, *logged, 1 + 1, "log has it not");
        FORGED(&tdpmmu_vcpu_root(w->vcpu)->spt[400], *entry_of(w->vcpu, 0, 4), 2, "gfns that the VM does not have");
        checked_world_free(w);
    }
}

static void huge_leaf_in_its_slot(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = checked_world(m, 0);
        uint64_t huge = *entry_of(w->vcpu, HUGE_GFN, 2) & ~((1ull << 52) - 0x1000) , *place;

        if (m->config.ad_disabled)
            huge |= 1ull << 52;
        /* The host's addresses are a page off; and a slot that ends in the middle. */
        assert_int_equal(add_slot(w->kvm, 3, 0, SIDE_BASE + 1024, 1024, SIDE_HVA + (1025ull << 12)), 0);
        assert_int_equal(add_slot(w->kvm, 4, 0, SIDE_BASE + 2048, 256, SIDE_HVA + (2048ull << 12)), 0);
        assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        guest_write(w->vcpu, SIDE_BASE + 1024);
        place = &table_holding(w->vcpu, SIDE_BASE + 1024, 2)->spt[3];
        FORGED(place, huge, 2, "reaches out of its slot");
        place = &table_holding(w->vcpu, SIDE_BASE + 1024, 2)->spt[4];
        FORGED(place, huge, 2, "reaches out of its slot");
        checked_world_free(w);
    }
}

static void taken_back(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = checked_world(m, 0);
        uint64_t *leaf = entry_of(w->vcpu, 5, 1), saved = *leaf;

        kvm_mmu_notifier_invalidate_range_start(w->kvm, WORLD_HVA + 0x5800, WORLD_HVA + 0x5900, true);
        kvm_mmu_notifier_invalidate_range_start(w->kvm, WORLD_HVA + 0x8000, WORLD_HVA + 0x9000, true);
        FORGED(leaf, saved, 2, "host has taken back");
        kvm_mmu_notifier_invalidate_range_end(w->kvm, WORLD_HVA + 0x5800, WORLD_HVA + 0x5900);
        FORGED(leaf, saved, 1, "leaves of a level are counted wrong");
        FORGED(entry_of(w->vcpu, 8, 1), saved ^ 5 << 12 ^ 8 << 12, 2, "host has taken back");
        kvm_mmu_notifier_invalidate_range_end(w->kvm, WORLD_HVA + 0x8000, WORLD_HVA + 0x9000);
        checked_world_free(w);
    }
}

static int host_level = 3;

static int mapping_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx, (void)kvm;
    assert_in_range(gfn, slot->base_gfn, slot->base_gfn + slot->npages - 1);
    return host_level;
}

static void wider_than_the_host(void **state)
{
    struct tdpmmu_ops ops = { .mapping_level = mapping_level };
    struct machine m = machines[0];
    struct world *w;

    (void)state;
    m.config.ops = &ops;
    w = checked_world(&m, 0);
    host_level = 1;
    expect(w, 2, "wider than the host's mapping", __LINE__);
    assert_int_equal(last_fault.level, 2);
    assert_int_equal(last_fault.gfn, HUGE_GFN + 512);
    assert_int_equal(last_fault.spte, *entry_of(w->vcpu, HUGE_GFN + 512, 2));
    assert_ptr_equal(last_fault.table, table_holding(w->vcpu, HUGE_GFN, 2)->spt);
    assert_int_equal(last_fault.role, table_holding(w->vcpu, HUGE_GFN, 2)->role.word);
    host_level = 3;
    checked_world_free(w);
}

static void nx_splits(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = checked_world(m, 1);
        struct kvm_mmu_page *split;

        guest_access(w->vcpu, HUGE_GFN + 7, PFERR_FETCH_MASK);
        split = table_holding(w->vcpu, HUGE_GFN + 7, 1);
        assert_true(split->nx_huge_page_disallowed);
        told = 0;
        assert_int_equal(tdpmmu_check(w->kvm), 0);
        FORGED(&split->nx_huge_page_disallowed, false, 2, "list of NX splits is broken");
        FORGED(entry_of(w->vcpu, HUGE_GFN + 512, 2), m->config.vendor == TDPMMU_NPT ?
               *entry_of(w->vcpu, HUGE_GFN + 512, 2) & ~(1ull << 63) : *entry_of(w->vcpu, HUGE_GFN + 512, 2) | 4,
               1, "permits execution");
        checked_world_free(w);
    }
}

/* A root that was given up comes to life again beside the new one. */
static void two_valid_roots(void **state)
{
    struct world *w = checked_world(&machines[3], 0);
    struct kvm_mmu_page *old = tdpmmu_vcpu_root(w->vcpu);

    (void)state;
    rcu_read_lock();
    assert_true(kvm_tdp_mmu_get_root(old));
    rcu_read_unlock();
    kvm_mmu_zap_all_fast(w->kvm);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_ptr_not_equal(tdpmmu_vcpu_root(w->vcpu), old);
    told = 0;
    assert_int_equal(tdpmmu_check(w->kvm), 0);
    FORGED(&old->role.word, old->role.word & ~(1u << 11), 1, "two valid roots");
    kvm_tdp_mmu_put_root(w->kvm, old);
    checked_world_free(w);
}

/* ---- when it looks ---------------------------------------------------------------------- */

static struct tdpmmu_check_stats check_stats_of(struct world *w)
{
    struct tdpmmu_check_stats stats;

    assert_int_equal(tdpmmu_check_stats(w->kvm, &stats, sizeof(stats)), 0);
    return stats;
}

static void which_locks(void **state)
{
    struct world *w = checked_world(&machines[0], 0);

    (void)state;
    write_lock(&w->kvm->mmu_lock);
    assert_int_equal(tdpmmu_check(w->kvm), 0);
    assert_true(tdpmmu_write_lock_held(&w->kvm->mmu_lock));
    write_unlock(&w->kvm->mmu_lock);
    world_forget(w);
    read_lock(&w->kvm->mmu_lock);
    assert_int_equal(tdpmmu_check(w->kvm), -EBUSY);
    read_unlock(&w->kvm->mmu_lock);
    assert_int_equal(warnings(w), 1);
    assert_int_equal(w->last_warning.kind, TDPMMU_WARN_LOCK);
    checked_world_free(w);
}

static void after_operations(void **state)
{
    struct world *w = checked_world(&machines[3], 0);
    uint64_t *leaf = entry_of(w->vcpu, 5, 1), saved = *leaf;
    struct tdpmmu_check_stats before = check_stats_of(w), now;

    (void)state;
    told = 0;
    map_page(w, 100, 1);
    assert_int_equal(check_stats_of(w).operations, before.operations);
    *leaf |= 1ull << 61;
    assert_int_equal(tdpmmu_check_always(w->kvm, 1), 0);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (SIDE_BASE + 10) << 12, 0), RET_PF_FIXED);
    now = check_stats_of(w);
    assert_int_equal(told, 1);
    assert_int_equal(now.operations, before.operations + 1);
    assert_int_equal(now.checks, before.checks + 1);
    assert_int_equal(now.faults, before.faults + 1);

    /* The caller's own hold: at its end, and not before. */
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_zap_leafs(w->kvm, 20, 22, false);
    assert_int_equal(told, 1);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(told, 2);
    read_lock(&w->kvm->mmu_lock);
    read_lock(&w->kvm->mmu_lock);
    read_unlock(&w->kvm->mmu_lock);
    assert_int_equal(told, 2);
    read_unlock(&w->kvm->mmu_lock);
    assert_int_equal(told, 3);

    /* Every third. */
    assert_int_equal(tdpmmu_check_always(w->kvm, 3), 0);
    for (gfn_t gfn = SIDE_BASE + 20; gfn < SIDE_BASE + 29; gfn++)
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, 0), RET_PF_FIXED);
    assert_int_equal(told, 6);
    *leaf = saved;
    assert_int_equal(tdpmmu_check_always(w->kvm, 0), 0);
    checked_world_free(w);
}

static void *hold_for_read(void *world)
{
    struct world *w = world;

    read_lock(&w->kvm->mmu_lock);
    atomic_store(&w->resched_asked, 7);
    while (atomic_load(&w->resched_asked) == 7)
        sched_yield();
    read_unlock(&w->kvm->mmu_lock);
    return NULL;
}

/* Another thread is inside: the check is left out, and nobody waits. */
static void left_out(void **state)
{
    struct world *w = checked_world(&machines[0], 0);
    struct tdpmmu_check_stats before;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, hold_for_read, w), 0);
    while (atomic_load(&w->resched_asked) != 7)
        sched_yield();
    assert_int_equal(tdpmmu_check_always(w->kvm, 1), 0);
    before = check_stats_of(w);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, (SIDE_BASE + 10) << 12, 0), RET_PF_FIXED);
    assert_int_equal(check_stats_of(w).skipped, before.skipped + 1);
    assert_int_equal(check_stats_of(w).checks, before.checks);
    tdpmmu_check_always(w->kvm, 0);
    atomic_store(&w->resched_asked, 0);
    pthread_join(thread, NULL);
    checked_world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries),
        cmocka_unit_test(tracked),
        cmocka_unit_test(headers),
        cmocka_unit_test(slots),
        cmocka_unit_test(huge_leaf_in_its_slot),
        cmocka_unit_test(taken_back),
        cmocka_unit_test(wider_than_the_host),
        cmocka_unit_test(nx_splits),
        cmocka_unit_test(two_valid_roots),
        cmocka_unit_test(which_locks),
        cmocka_unit_test(after_operations),
        cmocka_unit_test(left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
