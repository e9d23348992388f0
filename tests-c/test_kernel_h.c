/* SPDX-License-Identifier: GPL-2.0-only */
/* primitives.h and kernel.h: operations written outside the library, and that nothing illegal gets in by them. */
#include "test_helpers.h"

#include <unistd.h>

static unsigned kernel_warnings; /* WARN_ON() and its like, in what is written with the kernel's names */
#define TDPMMU_KERNEL_WARN(function, condition) ((void)(function), (void)(condition), kernel_warnings++)
#include <tdpmmu/kernel.h>

#include "../examples/patch_operations.h"

static struct world *machine_world(const struct machine *m)
{
    return world_from(m->config);
}

/* A walk that stands on the entry of a level on the way to gfn.  In RCU or Lock W. */
static struct tdp_iter at(struct world *w, gfn_t gfn, int level)
{
    struct tdp_iter iter;

    tdp_root_for_each_pte(iter, tdpmmu_vcpu_root(w->vcpu), gfn, gfn + 1)
        if (iter.level == level)
            break;
    assert_true(iter.valid);
    assert_int_equal(iter.level, level);
    return iter;
}

/* A change at gfn under the lock that it wants, or another. */
enum held { NONE, READ, WRITE, HELD };

static void take(struct world *w, enum held held)
{
    if (held == READ)
        read_lock(&w->kvm->mmu_lock);
    else if (held == WRITE)
        write_lock(&w->kvm->mmu_lock);
}

static void drop(struct world *w, enum held held)
{
    if (held == READ)
        read_unlock(&w->kvm->mmu_lock);
    else if (held == WRITE)
        write_unlock(&w->kvm->mmu_lock);
}

static const enum held wanted[] = {
    [TDPMMU_SET_ALONE] = WRITE, [TDPMMU_SET_SHARED] = READ, [TDPMMU_SET_ZAP] = READ, [TDPMMU_SET_BITS] = READ,
    [TDPMMU_SET_BITS_AT] = READ };

/* One change refused: -EINVAL, one warning, nothing is different. */
static void refuse_iter(struct world *w, struct tdp_iter iter, uint64_t spte, enum tdpmmu_set how, enum held held, int line)
{
    const uint64_t before = checksum(w->vcpu);
    const struct tdp_iter copy = iter;
    int ret;

    world_forget(w);
    take(w, held);
    rcu_read_lock();
    ret = tdpmmu_set_spte(w->kvm, &iter, spte, how);
    rcu_read_unlock();
    drop(w, held);
    if (ret != -EINVAL || warnings(w) != 1 || atomic_load(&w->change_count) || checksum(w->vcpu) != before ||
        (iter.old_spte != copy.old_spte && iter.old_spte != FROZEN_SPTE)) {
        print_error("line %d: %d, %u warnings, %u changes\n", line, ret, warnings(w), atomic_load(&w->change_count));
        fail();
    }
    world_forget(w);
}
#define REFUSED(w, iter, spte, how, held) refuse_iter((w), (iter), (spte), (how), (held), __LINE__)

static void refuse_value(struct world *w, gfn_t gfn, int level, uint64_t spte, enum tdpmmu_set how, int line)
{
    struct tdp_iter iter;

    rcu_read_lock();
    iter = at(w, gfn, level);
    rcu_read_unlock();
    refuse_iter(w, iter, spte, how, wanted[how], line);
}
#define REFUSED_AT(w, gfn, level, spte, how) refuse_value((w), (gfn), (level), (spte), (how), __LINE__)

/* No walk of the library's own comes there, so nothing that is put there would ever go. */
static void nothing_is_put_beyond_maxphyaddr(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .maxphyaddr = 36 });
    struct kvm_mmu_page *sp = tdpmmu_alloc_sp(w->kvm);
    struct tdp_iter iter;

    (void)state;
    rcu_read_lock();
    iter = at(w, 0, 4);
    tdp_iter_next(&iter);
    rcu_read_unlock();
    assert_int_equal(iter.gfn, UINT64_C(1) << 27);
    sp->role = tdpmmu_vcpu_root(w->vcpu)->role;
    sp->role.level--;
    sp->gfn = iter.gfn;
    sp->ptep = iter.sptep;
    take(w, WRITE);
    rcu_read_lock();
    assert_int_equal(tdpmmu_link_sp(w->kvm, &iter, sp, false), -EINVAL);
    rcu_read_unlock();
    drop(w, WRITE);
    assert_int_equal(warnings(w), 1);
    world_forget(w);
    tdpmmu_free_sp(sp);
    world_free(w);
}

/* Below a root that was invalidated things only go. */
static void nothing_appears_under_an_invalid_root(void **state)
{
    struct world *w = machine_world(&machines[0]);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu), *sp;
    struct tdp_iter empty, leaf, hole;

    (void)state;
    map_pages(w, 0, 1, PG_LEVEL_4K);
    sp = tdpmmu_alloc_sp(w->kvm);
    rcu_read_lock();
    leaf = at(w, 0, PG_LEVEL_4K);
    empty = at(w, 1, PG_LEVEL_4K);
    hole = at(w, 512, PG_LEVEL_2M);
    rcu_read_unlock();
    tdp_mmu_init_child_sp(sp, &hole);
    take(w, WRITE);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    assert_true(root->role.invalid);
    drop(w, WRITE);
    take(w, READ);
    rcu_read_lock();
    assert_int_equal(tdp_mmu_set_spte_atomic(w->kvm, &empty, leaf.old_spte + 4096), -EBUSY);
    assert_int_equal(empty.old_spte, FROZEN_SPTE);
    assert_int_equal(tdp_mmu_link_sp(w->kvm, &hole, sp, true), -EBUSY);
    assert_int_equal(hole.old_spte, FROZEN_SPTE);
    assert_int_equal(tdp_mmu_set_spte_atomic(w->kvm, &leaf, SHADOW_NONPRESENT_VALUE), 0);
    rcu_read_unlock();
    drop(w, READ);
    tdpmmu_free_sp(sp);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    world_free(w);
}

/* ---- single changes ------------------------------------------------------------------------------ */
static void a_change_is_made_told_and_counted(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = machine_world(m);
        struct tdp_iter iter;

        map_pages(w, 0, 4, PG_LEVEL_4K);
        world_forget(w);
        take(w, WRITE);
        iter = at(w, 2, PG_LEVEL_4K);
        tdp_mmu_iter_set_spte(w->kvm, &iter, SHADOW_NONPRESENT_VALUE);
        drop(w, WRITE);
        assert_int_equal(atomic_load(&w->change_count), 1);
        assert_int_equal(w->change[0].gfn, 2);
        assert_int_equal(w->change[0].level, 1);
        assert_int_equal(w->change[0].old_spte, iter.old_spte);
        assert_int_equal(w->change[0].new_spte, SHADOW_NONPRESENT_VALUE);
        assert_false(w->change[0].shared);
        assert_int_equal(atomic_load(&w->flush_count), 0); /* the caller's */
        assert_int_equal(stats_of(w->kvm).pages_4k, 3);

        take(w, READ);
        rcu_read_lock();
        iter = at(w, 2, PG_LEVEL_4K);
        assert_int_equal(tdp_mmu_set_spte_atomic(w->kvm, &iter, m->leaf | pfn_for(2) << 12), 0);
        rcu_read_unlock();
        drop(w, READ);
        assert_true(w->change[1].shared);
        assert_int_equal(stats_of(w->kvm).pages_4k, 4);
        assert_spte(w->vcpu, 2, PG_LEVEL_4K, m->leaf, pfn_for(2));

        /* Bits of a leaf: no lock at all, beside others. */
        rcu_read_lock();
        iter = at(w, 2, PG_LEVEL_4K);
        tdp_mmu_clear_spte_bits(iter.sptep, iter.old_spte, PT_WRITABLE_MASK, iter.level);
        rcu_read_unlock();
        assert_int_equal(atomic_load(&w->change_count), 3);
        assert_true(w->change[2].shared);
        assert_spte(w->vcpu, 2, PG_LEVEL_4K, m->leaf & ~PT_WRITABLE_MASK, pfn_for(2));
        world_free(w);
    }
}

static void a_lost_race_shows_what_is_there(void **state)
{
    struct world *w = machine_world(&machines[0]);
    struct tdp_iter iter, stale;

    (void)state;
    map_pages(w, 0, 2, PG_LEVEL_4K);
    take(w, READ);
    rcu_read_lock();
    stale = iter = at(w, 0, PG_LEVEL_4K);
    assert_int_equal(tdp_mmu_set_spte_atomic(w->kvm, &iter, SHADOW_NONPRESENT_VALUE), 0);
    world_forget(w);
    assert_int_equal(tdp_mmu_set_spte_atomic(w->kvm, &stale, stale.old_spte & ~PT_WRITABLE_MASK), -EBUSY);
    assert_int_equal(stale.old_spte, SHADOW_NONPRESENT_VALUE);
    assert_int_equal(atomic_load(&w->change_count), 0);

    /* Also where nothing is to change. */
    stale = iter = at(w, 1, PG_LEVEL_4K);
    stale.old_spte = SHADOW_NONPRESENT_VALUE;
    assert_int_equal(tdp_mmu_set_spte_atomic(w->kvm, &stale, SHADOW_NONPRESENT_VALUE), -EBUSY);
    assert_int_equal(stale.old_spte, iter.old_spte);
    stale.old_spte = SHADOW_NONPRESENT_VALUE;
    assert_int_equal(tdp_mmu_zap_spte_atomic(w->kvm, &stale), -EBUSY);
    assert_int_equal(stale.old_spte, iter.old_spte);

    /* A frozen entry is another thread's, until it is read again. */
    iter = at(w, 1, PG_LEVEL_4K);
    const uint64_t leaf = iter.old_spte;
    iter.old_spte = FROZEN_SPTE;
    assert_int_equal(tdp_mmu_set_spte_atomic(w->kvm, &iter, SHADOW_NONPRESENT_VALUE), -EBUSY);
    assert_int_equal(iter.old_spte, leaf);
    __atomic_store_n(iter.sptep, FROZEN_SPTE, __ATOMIC_RELEASE);
    assert_int_equal(tdp_mmu_set_spte_atomic(w->kvm, &iter, SHADOW_NONPRESENT_VALUE), -EBUSY);
    assert_int_equal(iter.old_spte, FROZEN_SPTE);
    assert_int_equal(tdp_mmu_zap_spte_atomic(w->kvm, &iter), -EBUSY);
    assert_int_equal(*iter.sptep, FROZEN_SPTE);
    __atomic_store_n(iter.sptep, leaf, __ATOMIC_RELEASE);
    rcu_read_unlock();
    drop(w, READ);
    assert_int_equal(atomic_load(&w->change_count), 0);

    /* Nor is anything stored over what another left there before this thread was alone. */
    take(w, WRITE);
    rcu_read_lock();
    stale = iter = at(w, 1, PG_LEVEL_4K);
    tdp_mmu_iter_set_spte(w->kvm, &iter, SHADOW_NONPRESENT_VALUE);
    world_forget(w);
    assert_int_equal(tdpmmu_set_spte(w->kvm, &stale, stale.old_spte & ~PT_WRITABLE_MASK, TDPMMU_SET_BITS), -EBUSY);
    assert_int_equal(stale.old_spte, SHADOW_NONPRESENT_VALUE);
    assert_int_equal(tdp_mmu_clear_spte_bits(stale.sptep, leaf, PT_WRITABLE_MASK, PG_LEVEL_4K), SHADOW_NONPRESENT_VALUE);
    assert_int_equal(*iter.sptep, SHADOW_NONPRESENT_VALUE);
    assert_int_equal(atomic_load(&w->change_count), 0);
    rcu_read_unlock();
    drop(w, WRITE);
    world_free(w);
}

static void a_bit_that_the_cpu_sets_meanwhile_is_not_lost(void **state)
{
    struct world *w = machine_world(&machines[1]);
    const struct machine *m = &machines[1];
    struct tdp_iter iter;
    uint64_t seen;

    (void)state;
    map_pages(w, 0, 3, PG_LEVEL_4K);
    for (gfn_t gfn = 0; gfn < 3; gfn++) {
        take(w, WRITE);
        iter = at(w, gfn, PG_LEVEL_4K);
        seen = tdp_mmu_clear_spte_bits(iter.sptep, iter.old_spte, m->dirty, iter.level);
        assert_int_equal(seen, iter.old_spte);
        iter = at(w, gfn, PG_LEVEL_4K);
        assert_false(iter.old_spte & m->dirty);
        /* Between our look and our write. */
        assert_int_equal(tdpmmu_cpu_access(w->vcpu, gfn << 12, PFERR_WRITE_MASK, NULL), 1);
        if (gfn == 0) {
            tdp_mmu_iter_set_spte(w->kvm, &iter, SHADOW_NONPRESENT_VALUE);
            seen = iter.old_spte;
        } else if (gfn == 1) {
            seen = kvm_tdp_mmu_write_spte(iter.sptep, iter.old_spte, iter.old_spte & ~m->accessed, iter.level);
        } else {
            seen = tdp_mmu_clear_spte_bits(iter.sptep, iter.old_spte, m->accessed, iter.level);
            assert_true(kvm_tdp_mmu_read_spte(iter.sptep) & m->dirty);
            assert_false(kvm_tdp_mmu_read_spte(iter.sptep) & m->accessed);
        }
        drop(w, WRITE);
        assert_true(seen & m->dirty);
    }
    world_free(w);
}

/* Lock, RCU: each way to change wants its own, and nothing happens under another. */
static void without_its_lock_nothing_changes(void **state)
{
    static const uint64_t allowed[] = {
        [TDPMMU_SET_ALONE] = 1 << WRITE, [TDPMMU_SET_SHARED] = 1 << READ, [TDPMMU_SET_ZAP] = 1 << READ,
        [TDPMMU_SET_BITS] = 1 << NONE | 1 << READ | 1 << WRITE,
        [TDPMMU_SET_BITS_AT] = 1 << NONE | 1 << READ | 1 << WRITE };

    (void)state;
    for (int how = TDPMMU_SET_ALONE; how <= TDPMMU_SET_BITS_AT + 1; how++) {
        struct world *w = machine_world(&machines[1]);
        struct tdp_iter iter;

        map_pages(w, 0, 1, PG_LEVEL_4K);
        rcu_read_lock();
        iter = at(w, 0, PG_LEVEL_4K);
        rcu_read_unlock();
        const uint64_t new_spte = how == TDPMMU_SET_ZAP ? SHADOW_NONPRESENT_VALUE : iter.old_spte & ~machines[1].dirty;
        for (enum held held = NONE; held < HELD; held++)
            if (how > TDPMMU_SET_BITS_AT || !(allowed[how] & 1u << held))
                REFUSED(w, iter, new_spte, (enum tdpmmu_set)how, held);

        /* Neither RCU nor Lock W. */
        world_forget(w);
        take(w, READ);
        assert_int_equal(tdpmmu_set_spte(w->kvm, &iter, new_spte, (enum tdpmmu_set)how), -EINVAL);
        drop(w, READ);
        assert_int_equal(warnings(w), 1);
        assert_int_equal(w->last_warning.kind, TDPMMU_WARN_LOCK);
        assert_int_equal(atomic_load(&w->change_count), 0);
        world_forget(w);
        world_free(w);
    }
}

/* An address alone: one that is no entry's, or not of that level. */
static void an_address_that_is_no_entrys_changes_nothing(struct world *w)
{
    struct tdp_iter iter = at(w, 0, PG_LEVEL_4K);
    const uint64_t old_spte = iter.old_spte;
    uint64_t elsewhere = old_spte;
    tdp_ptep_t places[] = { NULL, &elsewhere, (tdp_ptep_t)((char *)iter.sptep + 1), iter.sptep };

    for (unsigned i = 0; i < 4; i++) {
        world_forget(w);
        iter.sptep = places[i];
        iter.level = i == 3 ? PG_LEVEL_2M : PG_LEVEL_4K;
        iter.old_spte = old_spte | (i == 3 ? PT_PAGE_SIZE_MASK : 0);
        assert_int_equal(tdpmmu_set_spte(NULL, &iter, iter.old_spte & ~PT_WRITABLE_MASK, TDPMMU_SET_BITS_AT), -EINVAL);
        assert_int_equal(iter.old_spte, FROZEN_SPTE);
        assert_int_equal(elsewhere, old_spte);
        assert_int_equal(*places[3], old_spte);
        assert_int_equal(warnings(w), 1);
    }
    world_forget(w);
}

static void an_iterator_that_stands_elsewhere_changes_nothing(void **state)
{
    struct world *w = machine_world(&machines[0]), *other = machine_world(&machines[0]);
    struct tdp_iter iter, wrong;

    (void)state;
    map_pages(w, 0, 2, PG_LEVEL_4K);
    map_pages(other, 0, 1, PG_LEVEL_4K);
    rcu_read_lock();
    iter = at(w, 0, PG_LEVEL_4K);
    wrong = at(other, 0, PG_LEVEL_4K);
    an_address_that_is_no_entrys_changes_nothing(w);
    rcu_read_unlock();
    for (enum tdpmmu_set how = TDPMMU_SET_ALONE; how <= TDPMMU_SET_ZAP; how = (enum tdpmmu_set)(how + 1)) {
        uint64_t words[2] = { iter.old_spte, iter.old_spte };

        REFUSED(w, wrong, SHADOW_NONPRESENT_VALUE, how, wanted[how]);
        wrong = iter, wrong.yielded = true;
        REFUSED(w, wrong, SHADOW_NONPRESENT_VALUE, how, wanted[how]);
        wrong = iter, wrong.gfn = 1;
        REFUSED(w, wrong, SHADOW_NONPRESENT_VALUE, how, wanted[how]);
        wrong = iter, wrong.level = PG_LEVEL_2M;
        REFUSED(w, wrong, SHADOW_NONPRESENT_VALUE, how, wanted[how]);
        wrong = iter, wrong.as_id = 1;
        REFUSED(w, wrong, SHADOW_NONPRESENT_VALUE, how, wanted[how]);
        wrong = iter, wrong.sptep = NULL;
        REFUSED(w, wrong, SHADOW_NONPRESENT_VALUE, how, wanted[how]);
        wrong = iter, wrong.sptep = words;
        REFUSED(w, wrong, SHADOW_NONPRESENT_VALUE, how, wanted[how]);
        wrong = iter, wrong.sptep = (uint64_t *)(void *)((char *)iter.sptep + 4);
        REFUSED(w, wrong, SHADOW_NONPRESENT_VALUE, how, wanted[how]);
        rcu_read_lock();
        wrong = at(other, 0, PG_LEVEL_4K);
        rcu_read_unlock();
    }
    world_free(other);
    world_free(w);
}

static void an_illegal_value_is_not_written(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = machine_world(m);
        const uint64_t leaf = m->leaf | pfn_for(0) << 12, huge = m->leaf | PSE_BIT | pfn_for(512) << 12;
        uint64_t table;
        struct tdp_iter iter;

        map_pages(w, 0, 2, PG_LEVEL_4K);
        map_pages(w, 512, 1, PG_LEVEL_2M);
        table = spte_on_way(w->vcpu, 0, PG_LEVEL_2M);
        for (enum tdpmmu_set how = TDPMMU_SET_ALONE; how <= TDPMMU_SET_SHARED; how = (enum tdpmmu_set)(how + 1)) {
            REFUSED_AT(w, 0, 1, FROZEN_SPTE, how);
            REFUSED_AT(w, 5, 1, FROZEN_SPTE, how);
            REFUSED_AT(w, 0, 1, 0, how);                                  /* not what empty entries hold */
            REFUSED_AT(w, 5, 1, UINT64_C(0x123000), how);
            REFUSED_AT(w, 0, 1, leaf ^ UINT64_C(0x1000), how);            /* another page in one step */
            REFUSED_AT(w, 0, 1, leaf & ~m->mmu_writable, how);            /* writable, and not MMU-writable */
            REFUSED_AT(w, 0, 1, leaf & ~m->host_writable, how);
            REFUSED_AT(w, 5, 1, m->leaf | UINT64_C(1) << 50, how);        /* beyond MAXPHYADDR */
            REFUSED_AT(w, 5, 1, SPTE_MMU_PRESENT_MASK & ~m->leaf, how);
            REFUSED_AT(w, 1024, 2, huge + UINT64_C(0x1000), how);         /* not aligned */
            REFUSED_AT(w, 1024, 2, table, how);                           /* a second way to a table */
            REFUSED_AT(w, 0, 2, table + UINT64_C(0x1000), how);
            REFUSED_AT(w, 512, 2, table, how);
            REFUSED_AT(w, 0, 2, table & ~PT_WRITABLE_MASK, how);          /* and nothing but Accessed changes in it */
            if (m->dirty)
                REFUSED_AT(w, 0, 2, table ^ m->dirty, how);
            REFUSED_AT(w, 0, 4, huge & ~UINT64_C(0xffffffff000), how);    /* no leaf above 1G */
            REFUSED_AT(w, 5, 1, make_mmio_spte(w->vcpu, 6, ACC_ALL), how);
            REFUSED_AT(w, 5, 1, make_mmio_spte(w->vcpu, 5, ACC_ALL) ^ UINT64_C(8) << 3, how); /* of slots that never were */
            REFUSED_AT(w, 1024, 2, make_mmio_spte(w->vcpu, 1024, ACC_ALL), how);
        }
        if (m->config.vendor == TDPMMU_EPT)
            REFUSED_AT(w, 5, 1, leaf & ~(UINT64_C(7) << 3), TDPMMU_SET_SHARED); /* no memory type */
        REFUSED_AT(w, 0, 1, leaf & ~PT_WRITABLE_MASK, TDPMMU_SET_ZAP);
        REFUSED_AT(w, 0, 1, SHADOW_NONPRESENT_VALUE, TDPMMU_SET_BITS);
        REFUSED_AT(w, 5, 1, leaf, TDPMMU_SET_BITS);
        REFUSED_AT(w, 0, 2, table, TDPMMU_SET_BITS);
        /* Alone nobody compares: what was read must be what is there. */
        rcu_read_lock();
        iter = at(w, 0, PG_LEVEL_2M);
        rcu_read_unlock();
        iter.old_spte = SHADOW_NONPRESENT_VALUE;
        REFUSED(w, iter, huge, TDPMMU_SET_ALONE, WRITE);
        world_free(w);
    }
}

static void a_table_that_is_cut_off_is_cared_for(void **state)
{
    (void)state;
    for (enum tdpmmu_set how = TDPMMU_SET_ALONE; how <= TDPMMU_SET_ZAP; how = (enum tdpmmu_set)(how + 1)) {
        struct world *w = machine_world(&machines[3]);
        struct tdp_iter iter;
        uint64_t tables;

        map_pages(w, 0, 7, PG_LEVEL_4K);
        map_pages(w, 512, 512, PG_LEVEL_2M);
        tables = stats_of(w->kvm).tables;
        world_forget(w);
        take(w, wanted[how]);
        rcu_read_lock();
        iter = at(w, 0, PG_LEVEL_1G);
        assert_int_equal(tdpmmu_set_spte(w->kvm, &iter, SHADOW_NONPRESENT_VALUE, how), 0);
        rcu_read_unlock();
        drop(w, wanted[how]);
        assert_int_equal(stats_of(w->kvm).pages_4k, 0);
        assert_int_equal(stats_of(w->kvm).pages_2m, 0);
        assert_int_equal(atomic_load(&w->flush_count), how == TDPMMU_SET_ZAP);
        rcu_barrier();
        assert_int_equal(stats_of(w->kvm).tables, tables - 2);
        world_free(w);
    }
}

/* While CPUs are told to forget, nobody may fill the entry. */
static uint64_t *watched, seen_in_flush;

static void look_in_flush(struct world *w)
{
    (void)w;
    seen_in_flush = __atomic_load_n(watched, __ATOMIC_ACQUIRE);
}

static void a_zap_flushes_while_frozen(void **state)
{
    struct world *w = machine_world(&machines[0]);
    struct tdp_iter iter;
    uint64_t leaf;

    (void)state;
    map_pages(w, 512, 1, PG_LEVEL_2M);
    world_forget(w);
    w->on_flush = look_in_flush;
    take(w, READ);
    rcu_read_lock();
    iter = at(w, 512, PG_LEVEL_2M);
    watched = iter.sptep;
    leaf = *watched;
    assert_int_equal(tdp_mmu_zap_spte_atomic(w->kvm, &iter), 0);
    rcu_read_unlock();
    drop(w, READ);
    assert_int_equal(seen_in_flush, FROZEN_SPTE);
    assert_int_equal(w->flush[0].start, 512);
    assert_int_equal(w->flush[0].npages, 512);
    assert_int_equal(w->change[0].old_spte, leaf);
    assert_int_equal(*watched, SHADOW_NONPRESENT_VALUE);
    world_free(w);
}

/* ---- giving way ------------------------------------------------------------------------------------- */
static unsigned yields;
static bool was_free;

static void on_yielded(void *ctx, struct kvm *kvm)
{
    (void)ctx;
    yields++;
    was_free = !tdpmmu_read_lock_held(&kvm->mmu_lock) && !tdpmmu_write_lock_held(&kvm->mmu_lock) && !rcu_read_lock_held();
}

static void a_walk_that_gives_way_misses_nothing(void **state)
{
    static const struct tdpmmu_ops host = { .yielded = on_yielded };

    (void)state;
    for (int shared = 0; shared < 2; shared++) {
        struct world *w = world_from((struct tdpmmu_vm_config){ .ops = &host });
        struct kvm *kvm = w->kvm;
        struct tdp_iter iter;
        gfn_t expected = 0;

        map_pages(w, 0, 8, PG_LEVEL_4K);
        world_forget(w);
        yields = 0;
        atomic_store(&w->resched, true);
        take(w, shared ? READ : WRITE);
        rcu_read_lock();
        tdp_root_for_each_pte(iter, tdpmmu_vcpu_root(w->vcpu), 0, 8) {
            bool flush = iter.gfn == 3;

            world_forget(w);
            if (tdp_mmu_iter_cond_resched(kvm, &iter, flush, shared)) {
                assert_true(was_free);
                assert_true(iter.yielded);
                assert_int_equal(atomic_load(&w->flush_count), flush);
                assert_true(!flush || (w->flush[0].in_rcu && w->flush[0].npages == UINT64_MAX));
                /* The same entry must not be changed, nor given way at, until the walk has stepped on. */
                assert_false(tdpmmu_iter_yield(kvm, &iter, false, shared));
                assert_int_equal(warnings(w), 1);
                world_forget(w);
                continue;
            }
            if (is_last_spte(iter.old_spte, iter.level))
                assert_int_equal(iter.gfn, expected++);
        }
        rcu_read_unlock();
        drop(w, shared ? READ : WRITE);
        assert_int_equal(expected, 8);
        assert_int_equal(yields, 7); /* after each gfn but the last, and never without progress */
        assert_int_equal(stats_of(kvm).yields, 7);
        world_free(w);
    }
}

static void giving_way_wants_its_lock_and_rcu(void **state)
{
    struct world *w = machine_world(&machines[0]);
    struct tdp_iter iter;

    (void)state;
    map_pages(w, 0, 2, PG_LEVEL_4K);
    rcu_read_lock();
    iter = at(w, 1, PG_LEVEL_4K);
    rcu_read_unlock();
    iter.yielded_gfn = 0;
    atomic_store(&w->resched, true);
    for (enum held held = NONE; held < HELD; held++)
        for (int how = 0; how < 4; how++) {
            const bool in_rcu = how & 1, shared = how & 2;
            bool allowed = in_rcu && held == (shared ? READ : WRITE);

            world_forget(w);
            iter.yielded = false;
            take(w, held);
            if (in_rcu)
                rcu_read_lock();
            assert_int_equal(tdpmmu_iter_yield(w->kvm, &iter, true, shared), allowed);
            if (in_rcu)
                rcu_read_unlock();
            drop(w, held);
            assert_int_equal(warnings(w), !allowed);
            assert_int_equal(atomic_load(&w->flush_count), allowed);
        }
    world_forget(w);
    world_free(w);
}

/* A thread that waits for the lock is a reason without any callback. */
static void *wait_for_lock(void *arg)
{
    struct world *w = arg;

    take(w, WRITE);
    drop(w, WRITE);
    return NULL;
}

static void a_walk_gives_way_to_who_waits(void **state)
{
    static const struct tdpmmu_ops none = { .size = sizeof(none) };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &none };
    struct kvm *kvm = tdpmmu_create_vm(&config);
    struct world w = { .kvm = kvm, .vcpu = tdpmmu_create_vcpu(kvm, 0) };
    struct tdp_iter iter;
    pthread_t thread;
    int given = 0;

    (void)state;
    assert_int_equal(kvm_mmu_load(w.vcpu), 0);
    assert_false(kvm->facts->asks_to_yield);
    take(&w, WRITE);
    rcu_read_lock();
    iter = at(&w, 0, 4);
    tdp_iter_next(&iter);
    assert_false(tdp_mmu_iter_cond_resched(kvm, &iter, false, false));
    assert_int_equal(pthread_create(&thread, NULL, wait_for_lock, &w), 0);
    while (!rwlock_needbreak(&kvm->mmu_lock))
        sched_yield();
    given += tdp_mmu_iter_cond_resched(kvm, &iter, false);
    rcu_read_unlock();
    drop(&w, WRITE);
    assert_int_equal(given, 1);
    pthread_join(thread, NULL);
    tdpmmu_destroy_vm(kvm);
}

/* ---- roots ---------------------------------------------------------------------------------------------- */
static void loops_over_roots_keep_references(void **state)
{
    struct world *w = machine_world(&machines[0]);
    struct kvm_vcpu *smm = tdpmmu_create_vcpu(w->kvm, 1);
    struct kvm_mmu_page *root, *first = tdpmmu_vcpu_root(w->vcpu), *second;
    struct kvm *kvm = w->kvm;
    unsigned seen[3] = { 0 };

    (void)state;
    assert_int_equal(tdpmmu_vcpu_set_as_id(smm, 1), 0);
    assert_int_equal(kvm_mmu_load(smm), 0);
    second = tdpmmu_vcpu_root(smm);
    assert_int_equal(kvm_mmu_page_as_id(second), 1);
    assert_true(is_tdp_mmu_page(first));
    assert_true(is_tdp_mmu_root(tdpmmu_table_hpa(first)));

    take(w, READ);
    for_each_tdp_mmu_root_yield_safe(kvm, root) {
        assert_int_equal(root->tdp_mmu_root_count, 3); /* the MMU's, the vCPU's, the loop's */
        seen[root == first ? 0 : 1]++;
    }
    for_each_valid_tdp_mmu_root_yield_safe(kvm, root, 1) {
        assert_ptr_equal(root, second);
        seen[2]++;
    }
    assert_int_equal(seen[0] * 100 + seen[1] * 10 + seen[2], 111);
    assert_int_equal(first->tdp_mmu_root_count, 2);
    assert_int_equal(second->tdp_mmu_root_count, 2);
    /* Who breaks out has the reference. */
    for_each_tdp_mmu_root_yield_safe(kvm, root)
        break;
    assert_int_equal(root->tdp_mmu_root_count, 3);
    kvm_tdp_mmu_put_root(kvm, root);
    assert_int_equal(root->tdp_mmu_root_count, 2);
    drop(w, READ);

    take(w, WRITE);
    memset(seen, 0, sizeof(seen));
    for_each_tdp_mmu_root(kvm, root) {
        assert_int_equal(root->tdp_mmu_root_count, 2);
        seen[0]++;
    }
    for_each_tdp_mmu_root(kvm, root, 1)
        seen[1]++;
    kvm_tdp_mmu_invalidate_all_roots(kvm);
    for_each_valid_tdp_mmu_root(kvm, root, -1)
        seen[2]++;
    for_each_valid_tdp_mmu_root_yield_safe(kvm, root, -1)
        seen[2]++;
    assert_int_equal(seen[0] * 100 + seen[1] * 10 + seen[2], 210);
    drop(w, WRITE);
    kvm_tdp_mmu_zap_invalidated_roots(kvm);
    assert_int_equal(kernel_warnings, 0);
    for_each_tdp_mmu_root(kvm, root) /* no lock: a complaint at each */
        seen[2]++;
    assert_true(kernel_warnings > 0);
    kernel_warnings = 0;
    tdpmmu_destroy_vcpu(smm);
    world_free(w);
}

/* ---- tables ------------------------------------------------------------------------------------------------ */
/* A link refused: the table is still the caller's, nothing has changed. */
static void refuse_link(struct world *w, struct tdp_iter *iter, struct kvm_mmu_page *sp, bool shared, enum held held, int line)
{
    uint64_t before = checksum(w->vcpu), old_spte = iter->old_spte;
    int ret;

    world_forget(w);
    take(w, held);
    rcu_read_lock();
    ret = tdp_mmu_link_sp(w->kvm, iter, sp, shared);
    rcu_read_unlock();
    drop(w, held);
    if (ret != -EINVAL || warnings(w) != 1 || checksum(w->vcpu) != before || atomic_load(&w->change_count)) {
        print_error("line %d: %d, %u warnings\n", line, ret, warnings(w));
        fail();
    }
    iter->old_spte = old_spte;
    world_forget(w);
}
#define LINK_REFUSED(w, iter, sp, shared, held) refuse_link((w), (iter), (sp), (shared), (held), __LINE__)

static void a_table_is_the_callers_until_it_is_linked(void **state)
{
    struct world *w = machine_world(&machines[0]), *other = machine_world(&machines[0]);
    struct kvm *kvm = w->kvm;
    struct kvm_mmu_page *sp = tdpmmu_alloc_sp(kvm), *theirs = tdpmmu_alloc_sp(other->kvm);
    struct tdp_iter iter, elsewhere;
    uint64_t tables = stats_of(kvm).tables;

    (void)state;
    map_pages(w, 0, 1, PG_LEVEL_4K);
    tables = stats_of(kvm).tables;
    assert_non_null(sp);
    assert_ptr_equal(sp->kvm, kvm);
    for (int i = 0; i < 512; i++)
        assert_int_equal(sp->spt[i], SHADOW_NONPRESENT_VALUE);
    /* Nobody takes it for a table. */
    world_forget(w);
    assert_null(sptep_to_sp(sp->spt));
    assert_int_equal(tdpmmu_table_hpa(sp), INVALID_PAGE);
    take(w, WRITE);
    assert_false(kvm_tdp_mmu_get_root(sp));
    assert_false(kvm_tdp_mmu_zap_sp(kvm, sp));
    assert_false(zap_gfn_range(kvm, sp, 0, 8, false));
    (tdp_iter_start)(&iter, sp->spt, 0, 1, 0);
    assert_false(iter.valid);
    drop(w, WRITE);
    assert_int_equal(warnings(w), 4);
    world_forget(w);

    rcu_read_lock();
    iter = at(w, 1024, PG_LEVEL_2M);
    elsewhere = at(w, 2048, PG_LEVEL_2M);
    rcu_read_unlock();
    LINK_REFUSED(w, &iter, sp, true, READ); /* not initialised */
    tdp_mmu_init_child_sp(sp, &elsewhere);
    LINK_REFUSED(w, &iter, sp, true, READ); /* for another entry */
    tdp_mmu_init_child_sp(sp, &iter);
    LINK_REFUSED(w, &iter, sp, true, WRITE);
    LINK_REFUSED(w, &iter, sp, true, NONE);
    LINK_REFUSED(w, &iter, sp, false, READ);
    LINK_REFUSED(w, &iter, NULL, true, READ);
    LINK_REFUSED(w, &iter, theirs, true, READ);
    LINK_REFUSED(w, &iter, tdpmmu_vcpu_root(w->vcpu), true, READ);
    iter.gfn = 512;
    LINK_REFUSED(w, &iter, sp, true, READ);
    iter.gfn = 1024;
    sp->spt[7] = FROZEN_SPTE;
    LINK_REFUSED(w, &iter, sp, true, READ);
    sp->spt[7] = spte_on_way(w->vcpu, 0, PG_LEVEL_2M) | PSE_BIT;
    LINK_REFUSED(w, &iter, sp, true, READ);
    sp->spt[7] = machines[0].leaf & ~machines[0].host_writable;
    LINK_REFUSED(w, &iter, sp, true, READ);
    sp->spt[7] = make_mmio_spte(w->vcpu, 1032, ACC_ALL);
    LINK_REFUSED(w, &iter, sp, true, READ);
    sp->spt[7] = machines[0].leaf | pfn_for(1031) << 12;

    take(w, READ);
    rcu_read_lock();
    assert_int_equal(tdp_mmu_link_sp(kvm, &iter, sp, true), 0);
    rcu_read_unlock();
    drop(w, READ);
    assert_int_equal(stats_of(kvm).pages_4k, 2);
    assert_int_equal(stats_of(kvm).tables, tables);
    assert_spte(w->vcpu, 1031, PG_LEVEL_4K, machines[0].leaf, pfn_for(1031));
    assert_ptr_equal(sptep_to_sp(sp->spt), sp);
    /* From here on it is the library's. */
    LINK_REFUSED(w, &iter, sp, true, READ);
    tdpmmu_free_sp(sp);
    tdpmmu_free_sp(NULL);
    tdpmmu_free_sp((struct kvm_mmu_page *)(void *)&tables);
    assert_int_equal(warnings(w), 3);
    world_forget(w);
    tdpmmu_free_sp(theirs);
    assert_no_warning(w);
    world_free(other);
    world_free(w);
}

static void a_lost_race_leaves_the_table_to_the_caller(void **state)
{
    struct world *w = machine_world(&machines[3]);
    struct kvm *kvm = w->kvm;
    struct kvm_mmu_page *sp = tdp_mmu_alloc_sp_for_split();
    struct tdp_iter iter;

    (void)state;
    rcu_read_lock();
    iter = at(w, 0, 4);
    rcu_read_unlock();
    map_pages(w, 0, 1, PG_LEVEL_4K);
    take(w, READ);
    rcu_read_lock();
    tdp_mmu_init_child_sp(sp, &iter);
    assert_int_equal(tdp_mmu_link_sp(kvm, &iter, sp, true), -EBUSY);
    assert_true(is_shadow_present_pte(iter.old_spte));
    rcu_read_unlock();
    drop(w, READ);
    assert_null(sptep_to_sp(sp->spt));
    tdp_mmu_free_sp(sp);
    world_free(w);
}

/* What the library's own split makes, and ours by the primitives, on twin worlds. */
static void a_split_is_the_librarys(void **state)
{
    (void)state;
    for_each_machine(m)
        for (int nx = 0; nx < 2; nx++)
            for (int level = PG_LEVEL_2M; level <= PG_LEVEL_1G; level++) {
                struct tdpmmu_vm_config config = m->config;
                struct world *twin, *w;
                struct kvm *kvm;
                struct kvm_mmu_page *sp;
                struct tdp_iter iter;

                config.nx_huge_pages = (uint32_t)nx;
                twin = world_from(config);
                w = world_from(config);
                kvm = w->kvm;
                map_pages(twin, GIB_PAGES, 1, level);
                map_pages(w, GIB_PAGES, 1, level);
                take(twin, WRITE);
                kvm_tdp_mmu_try_split_huge_pages(twin->kvm, slot_by_id(twin, 0, 0), GIB_PAGES, GIB_PAGES + 1, level - 1, false);
                drop(twin, WRITE);
                sp = tdp_mmu_alloc_sp_for_split();
                take(w, WRITE);
                rcu_read_lock();
                iter = at(w, GIB_PAGES, level);
                tdp_mmu_init_child_sp(sp, &iter);
                sp->spt[3] = SHADOW_NONPRESENT_VALUE;
                assert_int_equal(tdp_mmu_split_huge_page(kvm, &iter, sp, false), 0);
                rcu_read_unlock();
                drop(w, WRITE);
                for (unsigned i = 0; i < 512; i += 73) {
                    gfn_t gfn = GIB_PAGES + i * KVM_PAGES_PER_HPAGE(level - 1);

                    assert_int_equal(spte_at(w->vcpu, gfn, level - 1), spte_at(twin->vcpu, gfn, level - 1));
                }
                assert_int_equal(stats_of(kvm).pages_4k, stats_of(twin->kvm).pages_4k);
                assert_int_equal(stats_of(kvm).pages_2m, stats_of(twin->kvm).pages_2m);
                assert_int_equal(stats_of(kvm).pages_1g, 0);
                assert_int_equal(stats_of(kvm).splits, 1);
                world_free(twin);
                world_free(w);
            }
}

/* A child of a huge leaf maps what the leaf did. */
static void a_split_maps_nothing_else(void **state)
{
    struct world *w = machine_world(&machines[0]);
    struct kvm *kvm = w->kvm;
    struct kvm_mmu_page *sp = tdp_mmu_alloc_sp(w->vcpu);
    struct tdp_iter iter;

    (void)state;
    map_pages(w, 512, 1, PG_LEVEL_2M);
    rcu_read_lock();
    iter = at(w, 512, PG_LEVEL_2M);
    tdp_mmu_init_child_sp(sp, &iter);
    rcu_read_unlock();
    for (int i = 0; i < 512; i++)
        sp->spt[i] = make_huge_page_split_spte(kvm, iter.old_spte, sp->role, i);
    sp->spt[9] = sp->spt[10];
    LINK_REFUSED(w, &iter, sp, false, WRITE);
    /* Alike as they should be, and of another page; or of this one, and nothing that a leaf may be. */
    for (int i = 0; i < 512; i++)
        sp->spt[i] = make_huge_page_split_spte(kvm, iter.old_spte, sp->role, i) + (UINT64_C(1) << 21);
    LINK_REFUSED(w, &iter, sp, false, WRITE);
    for (int i = 0; i < 512; i++)
        sp->spt[i] = make_huge_page_split_spte(kvm, iter.old_spte, sp->role, i) & ~shadow_host_writable_mask;
    LINK_REFUSED(w, &iter, sp, false, WRITE);
    for (int i = 0; i < 512; i++)
        sp->spt[i] = make_huge_page_split_spte(kvm, iter.old_spte, sp->role, i) | PT_PAGE_SIZE_MASK * (i == 511);
    LINK_REFUSED(w, &iter, sp, false, WRITE);
    tdp_mmu_free_sp(sp);
    world_free(w);
}

static void a_table_that_is_forgotten_is_told(void **state)
{
    struct world *w = machine_world(&machines[0]);
    struct kvm_mmu_page *sp = tdpmmu_alloc_sp(w->kvm);

    (void)state;
    assert_non_null(sp);
    assert_int_equal(warnings(w), 0);
    kvm_mmu_uninit_tdp_mmu(w->kvm);
    assert_int_equal(warnings(w), 1);
    assert_int_equal(w->last_warning.kind, TDPMMU_WARN_LEAK);
    tdpmmu_destroy_vm(w->kvm);
    free(w);
    world_forget(&process_world);
    tdpmmu_free_sp(sp);
    assert_int_equal(atomic_load(&process_world.warnings), 1);
    tdpmmu_set_warn_handler(NULL, NULL);
    world_forget(&process_world);
    /* It is not the next VM's that comes to be where this one was. */
    for (int i = 0; i < 3; i++)
        world_free(machine_world(&machines[0]));
}

/* A table that two threads link or give back at once is taken once. */
static struct {
    struct world *w;
    struct kvm_mmu_page *sp;
    struct tdp_iter at;
    pthread_barrier_t barrier;
    bool links[2];
    int result[2];
} race;

static void *takes_table(void *arg)
{
    const int me = (int)(intptr_t)arg;
    struct tdp_iter iter = race.at;

    read_lock(&race.w->kvm->mmu_lock);
    rcu_read_lock();
    pthread_barrier_wait(&race.barrier);
    if (race.links[me])
        race.result[me] = tdpmmu_link_sp(race.w->kvm, &iter, race.sp, true);
    else
        tdpmmu_free_sp(race.sp);
    rcu_read_unlock();
    read_unlock(&race.w->kvm->mmu_lock);
    return NULL;
}

static void a_table_is_linked_or_given_back_once(void **state)
{
    struct kvm *kvm;

    (void)state;
    race.w = machine_world(&machines[1]);
    kvm = race.w->kvm;
    pthread_barrier_init(&race.barrier, NULL, 2);
    map_pages(race.w, 0, 1, PG_LEVEL_4K);
    for (int round = 0; round < 600; round++) {
        pthread_t threads[2];
        const uint64_t tables = stats_of(kvm).tables;

        race.links[0] = round % 3 != 0;
        race.links[1] = round % 3 == 1;
        race.result[0] = race.result[1] = -EINVAL;
        world_forget(race.w);
        rcu_read_lock();
        race.at = at(race.w, 512, PG_LEVEL_2M);
        rcu_read_unlock();
        race.sp = tdpmmu_alloc_sp(kvm);
        tdp_mmu_init_child_sp(race.sp, &race.at);
        for (intptr_t i = 0; i < 2; i++)
            pthread_create(&threads[i], NULL, takes_table, (void *)i);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        const int linked = (race.result[0] == 0) + (race.result[1] == 0);

        /* Of two that link one wins; it may also be that the other's link was lost to it, and the table is not taken. */
        assert_true(linked <= 1 && (linked == 1 || round % 3 != 1));
        assert_int_equal(warnings(race.w), 1);
        assert_int_equal(stats_of(kvm).tables, tables + (uint64_t)linked);
        if (linked) {
            rcu_read_lock();
            race.at = at(race.w, 512, PG_LEVEL_2M);
            write_lock(&kvm->mmu_lock);
            tdp_mmu_iter_set_spte(kvm, &race.at, SHADOW_NONPRESENT_VALUE);
            write_unlock(&kvm->mmu_lock);
            kvm_flush_remote_tlbs(kvm);
            rcu_read_unlock();
            rcu_barrier();
        }
    }
    world_forget(race.w);
    pthread_barrier_destroy(&race.barrier);
    world_free(race.w);
}

/* ---- beside a pass that has all below an invalid root to itself, while it gives way ---------------------------------- */
static struct lone_pass {
    struct kvm *kvm;
    atomic_bool gave_way, is_done, may_go_on;
} lone;

static void gave_way(void *ctx, struct kvm *kvm)
{
    (void)ctx, (void)kvm;
    atomic_store(&lone.gave_way, true);
    while (!atomic_load(&lone.may_go_on))
        usleep(100);
}

static void *zaps_invalid_roots(void *arg)
{
    kvm_tdp_mmu_zap_invalidated_roots(lone.kvm);
    atomic_store(&lone.is_done, true);
    return arg;
}

/* Until it gives way the pass must be kept from having the lock for long. */
static void *wants_the_lock(void *arg)
{
    while (!atomic_load(&lone.gave_way) && !atomic_load(&lone.is_done)) {
        write_lock(&lone.kvm->mmu_lock);
        write_unlock(&lone.kvm->mmu_lock);
    }
    return arg;
}

/* Empties the first entry of the invalid root, as kvm_tdp_mmu_zap_all() would. */
static void empty_first_entry(struct kvm *kvm)
{
    struct kvm_mmu_page *root;
    struct tdp_iter iter;
    unsigned emptied = 0;

    write_lock(&kvm->mmu_lock);
    for_each_tdp_mmu_root(kvm, root, -1) {
        rcu_read_lock();
        tdp_iter_start(&iter, root, (int)root->role.level, 0);
        if (is_shadow_present_pte(iter.old_spte)) {
            tdp_mmu_iter_set_spte(kvm, &iter, SHADOW_NONPRESENT_VALUE);
            assert_int_not_equal(iter.old_spte, FROZEN_SPTE);
            emptied++;
        }
        rcu_read_unlock();
    }
    write_unlock(&kvm->mmu_lock);
    assert_int_equal(emptied, 1);
}

static bool tries_beside_a_lone_pass(void)
{
    const struct tdpmmu_ops ops = { .size = sizeof(ops), .yielded = gave_way };
    const struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops };
    const struct kvm_userspace_memory_region memory = { .memory_size = UINT64_C(1) << 31, .userspace_addr = 1 << 20 };
    struct kvm_vcpu *vcpu;
    pthread_t threads[2];

    lone.kvm = tdpmmu_create_vm(&config);
    vcpu = tdpmmu_create_vcpu(lone.kvm, 0);
    assert_non_null(vcpu);
    assert_int_equal(kvm_set_memory_region(lone.kvm, &memory), 0);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    read_lock(&lone.kvm->mmu_lock);
    for (gfn_t gfn = 0; gfn < memory.memory_size >> 12; gfn += 16)
        assert_int_equal(kvm_tdp_mmu_map(vcpu, gfn << 12, PFERR_WRITE_MASK, true, PG_LEVEL_4K, gfn + 4096, false), RET_PF_FIXED);
    read_unlock(&lone.kvm->mmu_lock);
    atomic_store(&lone.gave_way, false);
    atomic_store(&lone.is_done, false);
    atomic_store(&lone.may_go_on, false);
    write_lock(&lone.kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(lone.kvm);
    write_unlock(&lone.kvm->mmu_lock);
    pthread_create(&threads[0], NULL, wants_the_lock, NULL);
    pthread_create(&threads[1], NULL, zaps_invalid_roots, NULL);
    while (!atomic_load(&lone.gave_way) && !atomic_load(&lone.is_done))
        usleep(50);
    const bool gave = atomic_load(&lone.gave_way);

    if (gave)
        empty_first_entry(lone.kvm);
    atomic_store(&lone.may_go_on, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_check_silent(lone.kvm);
    tdpmmu_destroy_vm(lone.kvm);
    return gave;
}

static void who_is_alone_empties_invalid_roots(void **state)
{
    int tries = 0;

    (void)state;
    while (!tries_beside_a_lone_pass())
        assert_true(++tries < 200);
}

static void the_limit_of_tables_holds(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .table_limit = 2 });
    struct kvm_mmu_page *sp = tdpmmu_alloc_sp(w->kvm);

    (void)state;
    assert_non_null(sp);
    assert_null(tdpmmu_alloc_sp(w->kvm));
    tdpmmu_free_sp(sp);
    world_free(w);
}

/* ---- SPTEs that are made -------------------------------------------------------------------------------------- */
static void leaves_are_made_as_faults_make_them(void **state)
{
    (void)state;
    for_each_machine(m)
        for (int nx = 0; nx < 2; nx++)
            for (int level = PG_LEVEL_4K; level <= PG_LEVEL_1G; level++)
                for (int how = 0; how < 4; how++) {
                    const bool prefetch = how & 1, writable = how & 2;
                    struct tdpmmu_vm_config config = m->config;
                    struct world *w;
                    uint64_t made = 0, found;
                    int at_level;

                    config.nx_huge_pages = (uint32_t)nx;
                    w = world_from(config);
                    assert_int_equal(fault_on(w, w->vcpu, GIB_PAGES, writable ? PFERR_WRITE_MASK : 0, writable, level,
                                              pfn_for(GIB_PAGES), prefetch), RET_PF_FIXED);
                    found = walk_end(w->vcpu, GIB_PAGES, &at_level);
                    assert_int_equal(at_level, level);
                    assert_false(make_spte(w->vcpu, table_holding(w->vcpu, GIB_PAGES, level), slot_by_id(w, 0, 0), ACC_ALL,
                                           GIB_PAGES, pfn_for(GIB_PAGES), SHADOW_NONPRESENT_VALUE, prefetch, true, writable,
                                           &made));
                    assert_int_equal(made, found);
                    world_free(w);
                }
}

static void other_sptes_are_the_librarys_too(void **state)
{
    (void)state;
    for_each_machine(m)
        for (unsigned l1tf = 0; l1tf <= 44; l1tf += 44) {
            struct tdpmmu_vm_config config = m->config;
            struct world *w;
            struct kvm *kvm;
            const gfn_t mmio = (UINT64_C(1) << 33) + 0x123;
            uint64_t spte;
            struct tdp_iter iter;

            config.l1tf_cache_bits = l1tf;
            w = world_from(config);
            kvm = w->kvm;
            map_pages(w, 0, 1, PG_LEVEL_4K);
            rcu_read_lock();
            iter = at(w, 0, PG_LEVEL_2M);
            assert_int_equal(make_nonleaf_spte(spte_to_child_pt(iter.old_spte, 2), !kvm_ad_enabled()), iter.old_spte);
            rcu_read_unlock();
            assert_int_equal(fault_on(w, w->vcpu, mmio, 0, false, 1, KVM_PFN_NOSLOT, false), RET_PF_EMULATE);
            spte = spte_at(w->vcpu, mmio, PG_LEVEL_4K);
            assert_int_equal(make_mmio_spte(w->vcpu, mmio, ACC_ALL), spte);
            assert_true((is_mmio_spte)(kvm, spte));
            world_free(w);
        }
}

static void predicates_agree_with_the_librarys(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = machine_world(m);
        struct kvm *kvm = w->kvm;
        const uint64_t leaf = m->leaf | pfn_for(0) << 12, tracked = mark_spte_for_access_track(leaf);
        const uint64_t sptes[] = { leaf, tracked, leaf & ~PT_WRITABLE_MASK, leaf & ~m->dirty, leaf & ~m->accessed,
                                   leaf | UINT64_C(1) << 63, leaf & ~UINT64_C(4) };

        for (unsigned i = 0; i < sizeof(sptes) / sizeof(sptes[0]); i++) {
            assert_int_equal(is_accessed_spte(sptes[i]), (is_accessed_spte)(kvm, sptes[i]));
            assert_int_equal(is_accessed_spte(kvm, sptes[i]), (is_accessed_spte)(kvm, sptes[i]));
            assert_int_equal(is_dirty_spte(sptes[i]), (is_dirty_spte)(kvm, sptes[i]));
            assert_int_equal(is_executable_pte(sptes[i]), (is_executable_pte)(kvm, sptes[i]));
        }
        assert_int_equal(is_access_track_spte(tracked), !kvm_ad_enabled());
        assert_false(is_access_track_spte(leaf));
        assert_false(is_accessed_spte(tracked));
        assert_false(spte_has_volatile_bits(leaf));
        assert_true(spte_has_volatile_bits(tracked));
        assert_true(spte_has_volatile_bits(leaf & ~PT_WRITABLE_MASK));
        if (!kvm_ad_enabled())
            assert_int_equal(restore_acc_track_spte(tracked), leaf & ~PT_WRITABLE_MASK);
        assert_true(is_mmu_writable_spte(leaf) && is_host_writable_spte(leaf));
        assert_int_equal(spte_shadow_dirty_mask(leaf), m->dirty);
        assert_int_equal(spte_shadow_accessed_mask(leaf), m->accessed);
        assert_int_equal(shadow_mmu_writable_mask, m->mmu_writable);
        world_free(w);
    }
}

static void small_leaves_make_a_huge_one(void **state)
{
    (void)state;
    for_each_machine(m)
        for (int nx = 0; nx < 2; nx++) {
            struct tdpmmu_vm_config config = m->config;
            struct world *w;

            config.nx_huge_pages = (uint32_t)nx;
            w = world_from(config);
            for (gfn_t gfn = 512; gfn < 1024; gfn++)
                assert_int_equal(guest_write(w->vcpu, gfn) > 0, 1);
            if (spte_at(w->vcpu, 600, PG_LEVEL_4K) == NO_SPTE) { /* huge already: then small again */
                take(w, WRITE);
                kvm_tdp_mmu_try_split_huge_pages(w->kvm, slot_by_id(w, 0, 0), 512, 1024, 1, false);
                drop(w, WRITE);
            }
            const uint64_t small = spte_at(w->vcpu, 600, PG_LEVEL_4K);
            take(w, READ);
            kvm_tdp_mmu_recover_huge_pages(w->kvm, slot_by_id(w, 0, 0));
            drop(w, READ);
            if (spte_at(w->vcpu, 600, PG_LEVEL_2M) != NO_SPTE)
                assert_int_equal(make_huge_spte(w->kvm, small, PG_LEVEL_2M), spte_at(w->vcpu, 600, PG_LEVEL_2M));
            else
                assert_int_equal(make_huge_spte(w->kvm, small, PG_LEVEL_1G) >> 12 & 511,
                                 spte_at(w->vcpu, 600, PG_LEVEL_1G) >> 12 & 511);
            world_free(w);
        }
}

/* ---- how far one leaf may reach ------------------------------------------------------------------------------------- */
static int host_level;

static int at_level(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn)
{
    (void)ctx, (void)kvm, (void)slot, (void)gfn;
    return host_level;
}

static void a_leaf_reaches_as_far_as_slot_and_host_do(void **state)
{
    static const struct tdpmmu_ops host = { .mapping_level = at_level };
    struct world *w = world_from((struct tdpmmu_vm_config){ .ops = &host });
    const struct kvm_memory_slot *slot = slot_by_id(w, 0, 0), *side;

    (void)state;
    assert_int_equal(add_slot(w->kvm, SIDE_SLOT, 0, SIDE_BASE, 600, SIDE_HVA), 0);
    side = slot_by_id(w, 0, SIDE_SLOT);
    rcu_read_lock();
    for (host_level = 1; host_level <= 3; host_level++) {
        assert_int_equal(kvm_mmu_max_mapping_level(w->kvm, slot, 5, PG_LEVEL_NUM), host_level);
        assert_int_equal(kvm_mmu_max_mapping_level(w->kvm, slot, 5, 2), min(host_level, 2));
        assert_int_equal(kvm_mmu_max_mapping_level(w->kvm, slot, 5, 1), 1);
        assert_int_equal(kvm_mmu_max_mapping_level(w->kvm, side, SIDE_BASE, 3), min(host_level, 2));
        assert_int_equal(kvm_mmu_max_mapping_level(w->kvm, side, SIDE_BASE + 599, 3), 1);
        assert_int_equal(kvm_mmu_max_mapping_level(w->kvm, side, SIDE_BASE + 600, 3), 1);
    }
    rcu_read_unlock();
    world_free(w);
}

/* ---- tdpmmu_walk() ------------------------------------------------------------------------------------------------------- */
struct visits {
    char text[4096];
    int stop_at, again;
    bool change;
};

static int note(struct kvm *kvm, struct tdp_iter *iter, enum tdpmmu_walk_flags when, void *arg)
{
    struct visits *visits = arg;
    size_t length = strlen(visits->text);

    if (!is_shadow_present_pte(iter->old_spte))
        return 0;
    snprintf(visits->text + length, sizeof(visits->text) - length, "%s%d:%llx ",
             when == TDPMMU_WALK_LEAF ? "" : when == TDPMMU_WALK_TABLE_BEFORE ? "(" : ")", iter->level,
             (unsigned long long)iter->gfn);
    if (visits->again && when == TDPMMU_WALK_LEAF) {
        visits->again--;
        return TDPMMU_WALK_AGAIN;
    }
    if (visits->change && when == TDPMMU_WALK_LEAF)
        return tdpmmu_set_spte(kvm, iter, SHADOW_NONPRESENT_VALUE, TDPMMU_SET_ALONE) ? -EIO : TDPMMU_WALK_FLUSH;
    return visits->stop_at && iter->gfn == (gfn_t)visits->stop_at ? -EINTR : 0;
}

static int wrong_answer(struct kvm *kvm, struct tdp_iter *iter, enum tdpmmu_walk_flags when, void *arg)
{
    (void)kvm, (void)iter, (void)when, (void)arg;
    return 4;
}

/* A huge leaf is split by another meanwhile; then a leaf of the table is said to be frozen. */
static int asks_again(struct kvm *kvm, struct tdp_iter *iter, enum tdpmmu_walk_flags when, void *arg)
{
    int *step = arg;

    assert_true((when == TDPMMU_WALK_LEAF) == !tdpmmu_walk_is_table(iter));
    if (when == TDPMMU_WALK_LEAF && iter->level == PG_LEVEL_2M && *step == 0) {
        struct kvm_mmu_page *sp = tdpmmu_alloc_sp(kvm);
        struct tdp_iter other = *iter;

        tdp_mmu_init_child_sp(sp, &other);
        assert_int_equal(tdp_mmu_split_huge_page(kvm, &other, sp, true), 0);
        ++*step;
        return TDPMMU_WALK_AGAIN;
    }
    if (iter->level == PG_LEVEL_4K && (*step)++ == 1) {
        iter->old_spte = FROZEN_SPTE;
        return TDPMMU_WALK_AGAIN;
    }
    return 0;
}

/* What is frozen is not looked at for ever, and what became a table is one. */
static void a_walk_looks_again(void **state)
{
    struct world *w = machine_world(&machines[0]);
    int step = 0;

    (void)state;
    map_pages(w, 512, 1, PG_LEVEL_2M);
    take(w, READ);
    assert_int_equal(tdpmmu_walk(w->kvm, tdpmmu_vcpu_root(w->vcpu), 512, 1024,
                                 TDPMMU_WALK_LEAF | TDPMMU_WALK_TABLE_BEFORE | TDPMMU_WALK_TABLE_AFTER | TDPMMU_WALK_SHARED,
                                 asks_again, &step), 0);
    drop(w, READ);
    assert_int_equal(step, 513);
    world_free(w);
}

static void a_walk_visits_tables_before_and_after(void **state)
{
    const unsigned all = TDPMMU_WALK_LEAF | TDPMMU_WALK_TABLE_BEFORE | TDPMMU_WALK_TABLE_AFTER;
    struct world *w = machine_world(&machines[0]);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct visits v = { .text = "" };

    (void)state;
    map_pages(w, 1, 2, PG_LEVEL_4K);
    map_pages(w, 512, 1, PG_LEVEL_2M);
    map_pages(w, GIB_PAGES, 1, PG_LEVEL_1G);
    take(w, READ);
    assert_int_equal(tdpmmu_walk(w->kvm, root, 0, UINT64_MAX, all | TDPMMU_WALK_SHARED, note, &v), 0);
    assert_string_equal(v.text, "(4:0 (3:0 (2:0 1:1 1:2 )2:0 2:200 )3:0 3:40000 )4:0 ");
    v = (struct visits){ .again = 2 };
    assert_int_equal(tdpmmu_walk(w->kvm, root, 1, 2, all | TDPMMU_WALK_SHARED, note, &v), 0);
    assert_string_equal(v.text, "(4:0 (3:0 (2:0 1:1 1:1 1:1 )2:0 )3:0 )4:0 ");
    v = (struct visits){ .stop_at = 2 };
    assert_int_equal(tdpmmu_walk(w->kvm, root, 0, 4096, TDPMMU_WALK_LEAF | TDPMMU_WALK_SHARED, note, &v), -EINTR);
    assert_string_equal(v.text, "1:1 1:2 ");
    assert_int_equal(tdpmmu_walk(w->kvm, root, 0, 8, all, NULL, &v), -EINVAL);
    assert_int_equal(tdpmmu_walk(w->kvm, NULL, 0, 8, all, note, &v), -EINVAL);
    assert_int_equal(tdpmmu_walk(NULL, root, 0, 8, all, note, &v), -EINVAL);
    assert_no_warning(w);
    assert_int_equal(tdpmmu_walk(w->kvm, root, 0, 8, all, note, &v), -EINVAL); /* Lock W is not held */
    assert_int_equal(tdpmmu_walk(w->kvm, root, 0, 8, all | TDPMMU_WALK_SHARED, wrong_answer, &v), -EINVAL);
    rcu_read_lock();
    assert_int_equal(tdpmmu_walk(w->kvm, spte_to_child_sp(spte_on_way(w->vcpu, 0, 4)), 0, 8, all | TDPMMU_WALK_SHARED, note, &v),
                     -EINVAL);
    rcu_read_unlock();
    v = (struct visits){ .text = "" };
    assert_int_equal(tdpmmu_walk(w->kvm, root, 1, 1, all | TDPMMU_WALK_SHARED, note, &v), 0);
    assert_int_equal(tdpmmu_walk(w->kvm, root, 2, 1, all | TDPMMU_WALK_SHARED, note, &v), 0);
    assert_string_equal(v.text, "");
    assert_no_warning(w);
    assert_int_equal(tdpmmu_walk(w->kvm, root, UINT64_C(1) << 60, UINT64_MAX, all | TDPMMU_WALK_SHARED, note, &v), -EINVAL);
    assert_int_equal(warnings(w), 1);
    assert_false(rcu_read_lock_held());
    drop(w, READ);
    world_forget(w);

    take(w, WRITE);
    atomic_store(&w->resched, true);
    v = (struct visits){ .change = true };
    assert_int_equal(tdpmmu_walk(w->kvm, root, 0, 4096, TDPMMU_WALK_LEAF | TDPMMU_WALK_YIELD, note, &v), 0);
    assert_string_equal(v.text, "1:1 1:2 2:200 ");
    assert_int_equal(stats_of(w->kvm).pages_4k + stats_of(w->kvm).pages_2m, 0);
    assert_true(stats_of(w->kvm).yields > 500);
    assert_int_equal(atomic_load(&w->flush_count), 3); /* once before it gave way, after each of three */
    atomic_store(&w->resched, false);
    v = (struct visits){ .change = true };
    assert_int_equal(tdpmmu_walk(w->kvm, root, GIB_PAGES, GIB_PAGES + 1, TDPMMU_WALK_LEAF, note, &v), 1);
    drop(w, WRITE);
    world_free(w);
}

/* ---- the patch's operations that no list has, on twin worlds ------------------------------------------------------------ */
/* Both worlds told the same: changes but for addresses of tables, and flushes. */
static void assert_twins(struct world *w, struct world *twin)
{
    assert_int_equal(atomic_load(&w->change_count), atomic_load(&twin->change_count));
    assert_int_equal(atomic_load(&w->flush_count), atomic_load(&twin->flush_count));
    for (unsigned i = 0; i < atomic_load(&w->flush_count) && i < MAX_RECORDS; i++)
        assert_memory_equal(&w->flush[i], &twin->flush[i], sizeof(w->flush[i]));
    for (unsigned i = 0; i < atomic_load(&w->change_count) && i < MAX_RECORDS; i++) {
        const struct change *a = &w->change[i], *b = &twin->change[i];

        assert_true(a->as_id == b->as_id && a->level == b->level && a->gfn == b->gfn && a->shared == b->shared);
        assert_int_equal(a->new_spte, b->new_spte);
        if (is_last_spte(a->old_spte, a->level))
            assert_int_equal(a->old_spte, b->old_spte);
    }
    assert_int_equal(stats_of(w->kvm).pages_4k, stats_of(twin->kvm).pages_4k);
    assert_int_equal(stats_of(w->kvm).pages_2m, stats_of(twin->kvm).pages_2m);
    assert_int_equal(stats_of(w->kvm).yields, stats_of(twin->kvm).yields);
}

static void map_at_random(struct world *w, struct world *twin, unsigned *seed)
{
    for (int i = 0; i < 40; i++) {
        const gfn_t gfn = (gfn_t)rand_r(seed) % 4096;
        const int level = rand_r(seed) % 8 ? PG_LEVEL_4K : PG_LEVEL_2M;

        if (level == PG_LEVEL_2M && spte_on_way(w->vcpu, gfn, PG_LEVEL_2M) != SHADOW_NONPRESENT_VALUE)
            continue;
        assert_int_equal(map_page(w, gfn & ~(KVM_PAGES_PER_HPAGE(level) - 1), level),
                         map_page(twin, gfn & ~(KVM_PAGES_PER_HPAGE(level) - 1), level));
    }
}

static void the_patchs_operations_end_alike(void **state)
{
    (void)state;
    for (unsigned seed = 1, random = 1; seed <= 60; seed++, random = seed) {
        const struct machine *m = &machines[seed % MACHINES];
        struct world *w = machine_world(m), *twin = machine_world(m);

        for (int step = 0; step < 6; step++) {
            const gfn_t start = (gfn_t)rand_r(&random) % 4096, end = start + (gfn_t)rand_r(&random) % 2048;
            const bool can_yield = rand_r(&random) % 2, in_between = rand_r(&random) % 2;
            bool ours, theirs;

            map_at_random(w, twin, &random);
            world_forget(w);
            world_forget(twin);
            atomic_store(&w->resched, in_between);
            atomic_store(&twin->resched, in_between);
            take(w, WRITE);
            take(twin, WRITE);
            if (rand_r(&random) % 3) {
                theirs = patch_zap_gfn_range(w->kvm, tdpmmu_vcpu_root(w->vcpu), start, end, can_yield);
                ours = zap_gfn_range(twin->kvm, tdpmmu_vcpu_root(twin->vcpu), start, end, can_yield);
            } else {
                for (gfn_t gfn = start & ~UINT64_C(63); gfn < end; gfn += 64) {
                    kvm_tdp_mmu_clear_dirty_pt_masked(w->kvm, slot_by_id(w, 0, 0), gfn, 0x5555, false);
                    kvm_tdp_mmu_clear_dirty_pt_masked(twin->kvm, slot_by_id(twin, 0, 0), gfn, 0x5555, false);
                }
                theirs = patch_set_dirty_gfn_range(w->kvm, tdpmmu_vcpu_root(w->vcpu), 0, WORLD_SLOT_PAGES);
                ours = kvm_tdp_mmu_slot_set_dirty(twin->kvm, slot_by_id(twin, 0, 0));
            }
            drop(twin, WRITE);
            drop(w, WRITE);
            assert_int_equal(theirs, ours);
            assert_twins(w, twin);
        }
        world_free(twin);
        world_free(w);
    }
}

/* ---- beside all else ---------------------------------------------------------------------------------------------------- */
static atomic_bool all_done;

static void *faults_all_the_time(void *arg)
{
    struct kvm_vcpu *vcpu = arg;
    unsigned seed = (unsigned)tdpmmu_vcpu_id(vcpu);

    while (!atomic_load(&all_done)) {
        if (kvm_mmu_load(vcpu))
            abort();
        kvm_tdp_mmu_page_fault(vcpu, (gpa_t)(rand_r(&seed) % 4096) << 12, PFERR_WRITE_MASK);
    }
    return NULL;
}

/* Tables and leaves under all roots, invalid ones too, under the read lock: now in one way, now in the other. */
static void *zaps_all_the_time(void *arg)
{
    struct kvm *kvm = arg;
    struct kvm_mmu_page *root;
    struct tdp_iter iter;
    unsigned round = 0;

    while (!atomic_load(&all_done)) {
        const int level = 1 + (int)(++round % 3);

        read_lock(&kvm->mmu_lock);
        for_each_tdp_mmu_root_yield_safe(kvm, root) {
            rcu_read_lock();
            for_each_tdp_pte_min_level(iter, root, level, 0, 4096) {
retry:
                if (tdp_mmu_iter_cond_resched(kvm, &iter, false, true))
                    continue;
                if (!is_shadow_present_pte(iter.old_spte) || iter.level > level)
                    continue;
                if (round & 4 ? tdp_mmu_zap_spte_atomic(kvm, &iter)
                              : tdp_mmu_set_spte_atomic(kvm, &iter, SHADOW_NONPRESENT_VALUE))
                    goto retry;
            }
            kvm_flush_remote_tlbs(kvm);
            rcu_read_unlock();
        }
        read_unlock(&kvm->mmu_lock);
    }
    return NULL;
}

static void a_callers_zaps_are_made_beside_the_librarys(void **state)
{
    struct tdpmmu_ops none = { .size = sizeof(none), .warn = world_warn };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &none };
    pthread_t threads[3];

    (void)state;
    /* Anew, so that the first step of a caller's meets the library's own in their middle. */
    for (int round = 0; round < 40; round++) {
        struct world *w = calloc(1, sizeof(*w));

        config.ops_ctx = w;
        w->kvm = tdpmmu_create_vm(&config);
        assert_int_equal(add_slot(w->kvm, 0, 0, 0, 4096, WORLD_HVA + 4096), 0);
        atomic_store(&all_done, false);
        for (int i = 0; i < 2; i++) {
            struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(w->kvm, i);

            assert_int_equal(kvm_mmu_load(vcpu), 0);
            for (gfn_t gfn = 0; gfn < 4096; gfn += 7)
                kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_WRITE_MASK);
            assert_int_equal(pthread_create(&threads[i], NULL, faults_all_the_time, vcpu), 0);
        }
        assert_int_equal(pthread_create(&threads[2], NULL, zaps_all_the_time, w->kvm), 0);
        for (int i = 0; i < 20; i++)
            kvm_mmu_zap_all_fast(w->kvm);
        atomic_store(&all_done, true);
        for (int i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        kvm_mmu_uninit_tdp_mmu(w->kvm);
        assert_no_warning(w);
        assert_int_equal(stats_of(w->kvm).tables, 0);
        assert_int_equal(stats_of(w->kvm).pages_4k, 0);
        tdpmmu_destroy_vm(w->kvm);
        free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_put_beyond_maxphyaddr),
        cmocka_unit_test(nothing_appears_under_an_invalid_root),
        cmocka_unit_test(a_change_is_made_told_and_counted),
        cmocka_unit_test(a_lost_race_shows_what_is_there),
        cmocka_unit_test(a_bit_that_the_cpu_sets_meanwhile_is_not_lost),
        cmocka_unit_test(without_its_lock_nothing_changes),
        cmocka_unit_test(an_iterator_that_stands_elsewhere_changes_nothing),
        cmocka_unit_test(an_illegal_value_is_not_written),
        cmocka_unit_test(a_table_that_is_cut_off_is_cared_for),
        cmocka_unit_test(a_zap_flushes_while_frozen),
        cmocka_unit_test(a_walk_that_gives_way_misses_nothing),
        cmocka_unit_test(giving_way_wants_its_lock_and_rcu),
        cmocka_unit_test(a_walk_gives_way_to_who_waits),
        cmocka_unit_test(loops_over_roots_keep_references),
        cmocka_unit_test(a_table_is_the_callers_until_it_is_linked),
        cmocka_unit_test(a_lost_race_leaves_the_table_to_the_caller),
        cmocka_unit_test(a_split_is_the_librarys),
        cmocka_unit_test(a_split_maps_nothing_else),
        cmocka_unit_test(a_table_that_is_forgotten_is_told),
        cmocka_unit_test(a_table_is_linked_or_given_back_once),
        cmocka_unit_test(who_is_alone_empties_invalid_roots),
        cmocka_unit_test(the_limit_of_tables_holds),
        cmocka_unit_test(leaves_are_made_as_faults_make_them),
        cmocka_unit_test(other_sptes_are_the_librarys_too),
        cmocka_unit_test(predicates_agree_with_the_librarys),
        cmocka_unit_test(small_leaves_make_a_huge_one),
        cmocka_unit_test(a_leaf_reaches_as_far_as_slot_and_host_do),
        cmocka_unit_test(a_walk_looks_again),
        cmocka_unit_test(a_walk_visits_tables_before_and_after),
        cmocka_unit_test(the_patchs_operations_end_alike),
        cmocka_unit_test(a_callers_zaps_are_made_beside_the_librarys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
