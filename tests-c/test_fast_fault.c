/* SPDX-License-Identifier: GPL-2.0-only */
/* Faults that are fixed, or found to be none, without mmu_lock. */
#include "test_helpers.h"

#define PRESENT PFERR_PRESENT_MASK
#define WRITE PFERR_WRITE_MASK
#define FETCH PFERR_FETCH_MASK
#define LOG KVM_MEM_LOG_DIRTY_PAGES

static int fast(struct world *w, gfn_t gfn, uint64_t error_code)
{
    return tdpmmu_fast_page_fault(w->vcpu, gfn << 12, error_code);
}

static void wrprot(struct world *w, int id, int min_level)
{
    read_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_wrprot_slot(w->kvm, slot_by_id(w, 0, id), min_level);
    read_unlock(&w->kvm->mmu_lock);
}

static void write_protect_gfn(struct world *w, gfn_t gfn)
{
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_write_protect_gfn(w->kvm, slot_by_id(w, 0, 0), gfn, 1);
    write_unlock(&w->kvm->mmu_lock);
}

static void age_page(struct world *w, gfn_t gfn)
{
    struct kvm_gfn_range range = { .slot = slot_by_id(w, 0, 0), .start = gfn, .end = gfn + 1 };

    kvm_tdp_mmu_age_gfn_range(w->kvm, &range);
}

/* W given back, on the one page, at every level. */
static void write_is_fixed(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);

        map_pages(w, 0, 8, 1);
        map_pages(w, 512, 512, 2);
        map_pages(w, GIB_PAGES, GIB_PAGES, 3);
        wrprot(w, 0, 1);
        world_forget(w);
        assert_int_equal(fast(w, 5, PRESENT | WRITE), RET_PF_FIXED);
        assert_spte(w->vcpu, 5, 1, m->leaf, pfn_for(5));
        assert_spte(w->vcpu, 4, 1, m->leaf & ~W_BIT, pfn_for(4));
        assert_int_equal(fast(w, 700, PRESENT | WRITE | PFERR_USER_MASK), RET_PF_FIXED);
        assert_spte(w->vcpu, 512, 2, m->leaf | PSE_BIT, pfn_for(512));
        assert_int_equal(fast(w, 2 * GIB_PAGES - 1, PRESENT | WRITE), RET_PF_FIXED);
        assert_spte(w->vcpu, GIB_PAGES, 3, m->leaf | PSE_BIT, pfn_for(GIB_PAGES));
        assert_int_equal(stats_of(w->kvm).fast_faults, 3);
        assert_int_equal(w->flush_count, 0);
        /* Again: the access is permitted already. */
        assert_int_equal(fast(w, 5, PRESENT | WRITE), RET_PF_SPURIOUS);
        assert_int_equal(stats_of(w->kvm).fast_faults, 3);
        world_free(w);
    }
}

static void not_that_sort_of_fault(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        uint64_t before;

        map_pages(w, 0, 8, 1);
        assert_int_equal(fault_on(w, w->vcpu, 9, 0, false, 1, pfn_for(9), false), RET_PF_FIXED);
        wrprot(w, 0, 1);
        write_protect_gfn(w, 7);
        before = checksum(w->vcpu);
        assert_int_equal(fast(w, 5, PRESENT | FETCH), RET_PF_INVALID);        /* no write */
        assert_int_equal(fast(w, 5, PRESENT), RET_PF_INVALID);
        assert_int_equal(fast(w, 5, PRESENT | WRITE | PFERR_RSVD_MASK), RET_PF_INVALID); /* MMIO */
        assert_int_equal(fast(w, 7, PRESENT | WRITE), RET_PF_INVALID);        /* not MMU-writable */
        assert_int_equal(fast(w, 9, PRESENT | WRITE), RET_PF_INVALID);        /* the host says no */
        assert_int_equal(fast(w, 8, PRESENT | WRITE), RET_PF_INVALID);        /* not mapped */
        assert_int_equal(fast(w, 3 * GIB_PAGES, PRESENT | WRITE), RET_PF_INVALID); /* not even a table */
        if (m->accessed) /* with A/D bits an absent entry is just absent */
            assert_int_equal(fast(w, 5, WRITE), RET_PF_INVALID);
        assert_int_equal(checksum(w->vcpu), before);
        assert_int_equal(stats_of(w->kvm).fast_faults, 0);
        world_free(w);
    }
}

/*
 * A huge page of a logged slot: W on it would hide 512 writes behind one.
 * To put the bug in: drop the isLogged line of repaired() in MMU/FastPageFault.swift.
 */
static void logged_huge_page_is_refused(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct tdpmmu_vm_config config = m->config;
        uint64_t word[8];
        struct kvm_dirty_log log = { .slot = SIDE_SLOT, .dirty_bitmap = word };
        struct world *w;

        config.no_eager_split = 1;
        w = world_from(config);
        assert_int_equal(add_slot(w->kvm, SIDE_SLOT, 0, SIDE_BASE, 512, SIDE_HVA), 0);
        guest_write(w->vcpu, SIDE_BASE);
        assert_int_equal(add_slot(w->kvm, SIDE_SLOT, LOG, SIDE_BASE, 512, SIDE_HVA), 0);
        assert_false(is_writable_pte(spte_at(w->vcpu, SIDE_BASE, 2)));
        assert_int_equal(fast(w, SIDE_BASE + 5, PRESENT | WRITE), RET_PF_INVALID);
        assert_false(is_writable_pte(spte_at(w->vcpu, SIDE_BASE, 2)));
        /* The whole fault splits it and lets this page alone be written. */
        assert_int_equal(guest_write(w->vcpu, SIDE_BASE + 5), 1);
        assert_true(is_writable_pte(spte_at(w->vcpu, SIDE_BASE + 5, 1)));
        assert_false(is_writable_pte(spte_at(w->vcpu, SIDE_BASE + 6, 1)));
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
        assert_int_equal(word[0], 1 << 5);
        world_free(w);
    }
}

/* Who makes a page writable says that it is dirty. */
static void dirty_is_marked(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct tdpmmu_vm_config config = m->config;
        uint64_t word[8];
        struct kvm_dirty_log log = { .slot = SIDE_SLOT, .dirty_bitmap = word };
        struct world *w;

        config.no_pml = 1; /* by write-protection on all of them */
        w = world_from(config);
        assert_int_equal(add_slot(w->kvm, SIDE_SLOT, LOG, SIDE_BASE, 512, SIDE_HVA), 0);
        for (gfn_t page = 0; page < 8; page++)
            guest_write(w->vcpu, SIDE_BASE + page);
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
        assert_int_equal(word[0], 0xff);
        assert_int_equal(fast(w, SIDE_BASE + 3, PRESENT | WRITE), RET_PF_FIXED);
        assert_int_equal(fast(w, SIDE_BASE + 3, PRESENT | WRITE), RET_PF_SPURIOUS);
        assert_int_equal(fast(w, SIDE_BASE + 6, PRESENT | WRITE), RET_PF_FIXED);
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
        assert_int_equal(word[0], 1 << 3 | 1 << 6);
        world_free(w);
    }
}

/* Access tracking: R and X come back; W only for a write to what may be written. */
static void tracked_pages(void **state)
{
    const struct machine *m = &machines[2];
    struct world *w = world_from(m->config);
    uint64_t word[8];
    struct kvm_dirty_log log = { .slot = SIDE_SLOT, .dirty_bitmap = word };

    (void)state;
    map_pages(w, 0, 4, 1);
    assert_int_equal(fault_on(w, w->vcpu, 4, 0, false, 1, pfn_for(4), false), RET_PF_FIXED);
    for (gfn_t gfn = 0; gfn < 5; gfn++)
        age_page(w, gfn);
    assert_int_equal(fast(w, 0, 0), RET_PF_FIXED);
    assert_spte(w->vcpu, 0, 1, m->leaf & ~W_BIT, pfn_for(0));
    assert_int_equal(fast(w, 0, FETCH), RET_PF_SPURIOUS);
    assert_int_equal(fast(w, 0, WRITE), RET_PF_FIXED);
    assert_spte(w->vcpu, 0, 1, m->leaf, pfn_for(0));
    assert_int_equal(fast(w, 1, FETCH), RET_PF_FIXED);
    assert_spte(w->vcpu, 1, 1, m->leaf & ~W_BIT, pfn_for(1));
    assert_int_equal(fast(w, 2, WRITE), RET_PF_FIXED);
    assert_spte(w->vcpu, 2, 1, m->leaf, pfn_for(2));
    /* Host read-only: a read is fixed, a write takes the long way. */
    assert_int_equal(fast(w, 4, WRITE), RET_PF_INVALID);
    assert_int_equal(fast(w, 4, 0), RET_PF_FIXED);
    assert_spte(w->vcpu, 4, 1, m->leaf & ~(W_BIT | m->host_writable | m->mmu_writable), pfn_for(4));
    /* Tracked and logged: a read leaves no mark, a write does. */
    assert_int_equal(add_slot(w->kvm, SIDE_SLOT, LOG, SIDE_BASE, 512, SIDE_HVA), 0);
    guest_write(w->vcpu, SIDE_BASE + 1);
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
    struct kvm_gfn_range range = { .slot = slot_by_id(w, 0, SIDE_SLOT), .start = SIDE_BASE,
                                   .end = SIDE_BASE + 2 };
    assert_true(kvm_tdp_mmu_age_gfn_range(w->kvm, &range));
    assert_int_equal(fast(w, SIDE_BASE + 1, 0), RET_PF_FIXED);
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
    assert_int_equal(word[0], 0);
    assert_true(kvm_tdp_mmu_age_gfn_range(w->kvm, &range));
    assert_int_equal(fast(w, SIDE_BASE + 1, WRITE), RET_PF_FIXED);
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
    assert_int_equal(word[0], 2);
    world_free(w);
}

/*
 * The kernel had "a frozen entry or a wrong level taken for the target": the entry is
 * somebody else's, whatever bits it has; and a huge page where a small one was is
 * another page.  To put it in: drop the isLeaf guard of tryToRepair().
 */
static void frozen_is_refused(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        uint64_t *entry, saved;

        map_pages(w, 5, 1, 1);
        wrprot(w, 0, 1);
        world_forges(w);
        entry = entry_of(w->vcpu, 5, 1);
        saved = __atomic_exchange_n(entry, FROZEN_SPTE, __ATOMIC_ACQ_REL);
        assert_int_equal(fast(w, 5, PRESENT | WRITE), RET_PF_INVALID);
        assert_int_equal(fast(w, 5, WRITE), RET_PF_INVALID);
        assert_int_equal(__atomic_load_n(entry, __ATOMIC_ACQUIRE), FROZEN_SPTE);
        /* The whole fault asks for another try. */
        assert_int_equal(map_page(w, 5, 1), RET_PF_RETRY);
        __atomic_store_n(entry, saved, __ATOMIC_RELEASE);
        assert_int_equal(fast(w, 5, PRESENT | WRITE), RET_PF_FIXED);
        world_free(w);
    }
}

/* The entry where the walk ends, whatever it is. */
static void last_sptep(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        uint64_t spte = 0;

        map_pages(w, 5, 1, 1);
        map_pages(w, 512, 512, 2);
        rcu_read_lock();
        assert_ptr_equal(kvm_tdp_mmu_fast_pf_get_last_sptep(w->vcpu, 5, &spte), entry_of(w->vcpu, 5, 1));
        assert_int_equal(spte, m->leaf | pfn_for(5) << 12);
        assert_ptr_equal(kvm_tdp_mmu_fast_pf_get_last_sptep(w->vcpu, 6, &spte), entry_of(w->vcpu, 6, 1));
        assert_int_equal(spte, SHADOW_NONPRESENT_VALUE);
        assert_ptr_equal(kvm_tdp_mmu_fast_pf_get_last_sptep(w->vcpu, 700, &spte),
                         entry_of(w->vcpu, 700, 2));
        assert_int_equal(spte, m->leaf | PSE_BIT | pfn_for(512) << 12);
        assert_ptr_equal(kvm_tdp_mmu_fast_pf_get_last_sptep(w->vcpu, GIB_PAGES, &spte),
                         entry_of(w->vcpu, GIB_PAGES, 3));
        assert_int_equal(spte, SHADOW_NONPRESENT_VALUE);
        assert_ptr_equal(kvm_tdp_mmu_fast_pf_get_last_sptep(w->vcpu, 512 * GIB_PAGES, &spte),
                         entry_of(w->vcpu, 512 * GIB_PAGES, 4));
        rcu_read_unlock();
        world_free(w);
    }
}

static void *fault_with_the_lock_held(void *arg)
{
    return (void *)(intptr_t)kvm_tdp_mmu_page_fault(arg, 5 << 12, PRESENT | WRITE);
}

/* The whole path takes this one too, and then needs no lock. */
static void needs_no_lock(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    struct kvm_vcpu *other = tdpmmu_create_vcpu(w->kvm, 1);
    pthread_t thread;
    void *result;

    (void)state;
    assert_int_equal(kvm_mmu_load(other), 0);
    map_pages(w, 5, 1, 1);
    wrprot(w, 0, 1);
    write_lock(&w->kvm->mmu_lock);
    pthread_create(&thread, NULL, fault_with_the_lock_held, other);
    pthread_join(thread, &result); /* hangs if it waits for the lock */
    write_unlock(&w->kvm->mmu_lock);
    assert_ptr_equal(result, (void *)RET_PF_FIXED);
    assert_spte(w->vcpu, 5, 1, 0xe67, pfn_for(5));
    world_free(w);
}

/* ---- against those who protect --------------------------------------------------- */

static atomic_bool stop;

static void *fast_faults_all_the_time(void *arg)
{
    struct kvm_vcpu *vcpu = arg;

    while (!atomic_load(&stop))
        for (gfn_t gfn = 0; gfn < 64; gfn++)
            tdpmmu_fast_page_fault(vcpu, gfn << 12, PRESENT | WRITE);
    return NULL;
}

/*
 * A page that was protected for good stays so, however the fast fault and the
 * protection interleave: MMU_WRITABLE goes in the same step as W.
 */
static void protection_holds(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        unsigned n = rounds(300), broken = 0;
        struct kvm_vcpu *other = tdpmmu_create_vcpu(w->kvm, 1);
        pthread_t thread;

        assert_int_equal(kvm_mmu_load(other), 0);
        atomic_store(&stop, false);
        pthread_create(&thread, NULL, fast_faults_all_the_time, other);
        for (unsigned i = 0; i < n; i++) {
            for (gfn_t gfn = 0; gfn < 64; gfn++) /* maps, or makes writable again */
                broken += map_page(w, gfn, 1) < 0;
            wrprot(w, 0, 1);
            for (gfn_t gfn = 0; gfn < 64; gfn += 2)
                write_protect_gfn(w, gfn);
            for (gfn_t gfn = 0; gfn < 64; gfn += 2)
                broken += is_writable_pte(spte_at(w->vcpu, gfn, 1));
        }
        atomic_store(&stop, true);
        pthread_join(thread, NULL);
        assert_int_equal(broken, 0);
        world_free(w);
    }
}

/* ---- logging that begins meanwhile ---------------------------------------------- */

static pthread_t switcher;
static atomic_bool switching, switched;

static void *switch_logging_on(void *arg)
{
    struct world *w = arg;
    int ret = add_slot(w->kvm, SIDE_SLOT, LOG, SIDE_BASE, 512, SIDE_HVA);

    atomic_store(&switched, true);
    return (void *)(intptr_t)ret;
}

/* A fault has read the slot's flags and links its first table: now. */
static void logging_begins(struct world *w, const struct change *change)
{
    (void)change;
    if (atomic_exchange(&switching, true))
        return;
    pthread_create(&switcher, NULL, switch_logging_on, w);
    while (!(slot_by_id(w, 0, SIDE_SLOT)->flags & LOG))
        sleep_ms(1);
    /* Published.  It must not get further before we are done; if it does, let it. */
    for (int i = 0; i < 100 && !atomic_load(&switched); i++)
        sleep_ms(1);
}

/*
 * Whoever decided by the old flags is done before logging protects what is mapped:
 * else a huge page appears afterwards, and writes to it are in no bitmap.
 * To put the bug in: leave kvm->srcu before the page tables are touched.
 */
static void logging_switched_on_during_map(void **state)
{
    (void)state;
    for (int lazy = 0; lazy < 2; lazy++) {
        struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .no_eager_split = lazy });
        uint64_t word[8];
        struct kvm_dirty_log log = { .slot = SIDE_SLOT, .dirty_bitmap = word };
        uint64_t spte;
        void *result;
        int level;

        assert_int_equal(add_slot(w->kvm, SIDE_SLOT, 0, SIDE_BASE, 512, SIDE_HVA), 0);
        atomic_store(&switching, false);
        atomic_store(&switched, false);
        w->on_change = logging_begins;
        assert_int_equal(fault_on(w, w->vcpu, SIDE_BASE, WRITE, true, 2, host_pfn(SIDE_BASE), false),
                         RET_PF_FIXED);
        pthread_join(switcher, &result);
        w->on_change = NULL;
        assert_ptr_equal(result, NULL);
        spte = walk_end(w->vcpu, SIDE_BASE + 5, &level);
        assert_true(level == 1 || !is_writable_pte(spte));
        guest_write(w->vcpu, SIDE_BASE + 5);
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
        assert_true(word[0] & 1 << 5);
        world_free(w);
    }
}

static void *fast_faults_on_the_side(void *arg)
{
    struct kvm_vcpu *vcpu = arg;

    while (!atomic_load(&stop))
        tdpmmu_fast_page_fault(vcpu, (SIDE_BASE + 7) << 12, PRESENT | WRITE);
    return NULL;
}

/* The same without mmu_lock, as often as the clock allows. */
static void logging_switched_on_during_fast_faults(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .no_eager_split = 1 });
    unsigned n = rounds(1000), broken = 0;
    pthread_t threads[2];

    (void)state;
    assert_int_equal(add_slot(w->kvm, SIDE_SLOT, 0, SIDE_BASE, 512, SIDE_HVA), 0);
    guest_write(w->vcpu, SIDE_BASE);
    atomic_store(&stop, false);
    for (int i = 0; i < 2; i++) {
        struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(w->kvm, 1 + i);

        assert_int_equal(kvm_mmu_load(vcpu), 0);
        pthread_create(&threads[i], NULL, fast_faults_on_the_side, vcpu);
    }
    for (unsigned i = 0; i < n; i++) {
        int level;

        broken += add_slot(w->kvm, SIDE_SLOT, LOG, SIDE_BASE, 512, SIDE_HVA) != 0;
        broken += is_writable_pte(walk_end(w->vcpu, SIDE_BASE, &level)) && level > 1;
        broken += add_slot(w->kvm, SIDE_SLOT, 0, SIDE_BASE, 512, SIDE_HVA) != 0;
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(broken, 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_is_fixed),
        cmocka_unit_test(not_that_sort_of_fault),
        cmocka_unit_test(logged_huge_page_is_refused),
        cmocka_unit_test(dirty_is_marked),
        cmocka_unit_test(tracked_pages),
        cmocka_unit_test(frozen_is_refused),
        cmocka_unit_test(last_sptep),
        cmocka_unit_test(needs_no_lock),
        cmocka_unit_test(protection_holds),
        cmocka_unit_test(logging_switched_on_during_map),
        cmocka_unit_test(logging_switched_on_during_fast_faults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
