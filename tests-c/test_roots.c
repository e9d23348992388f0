/* SPDX-License-Identifier: GPL-2.0-only */
/* Roots: shared by vCPUs, counted, invalidated, freed after a grace period. */
#include "test_helpers.h"

static void invalidate(struct world *w)
{
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(w->kvm);
    write_unlock(&w->kvm->mmu_lock);
}

static void shared_by_vcpus(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    struct kvm_vcpu *second = tdpmmu_create_vcpu(w->kvm, 1);
    int references = root->tdp_mmu_root_count;

    (void)state;
    assert_int_equal(kvm_mmu_load(second), 0);
    assert_ptr_equal(tdpmmu_vcpu_root(second), root);
    assert_int_equal(root->tdp_mmu_root_count, references + 1);
    assert_int_equal(kvm_mmu_load(second), 0); /* a second time changes nothing */
    assert_int_equal(root->tdp_mmu_root_count, references + 1);
    kvm_mmu_unload(second);
    assert_null(tdpmmu_vcpu_root(second));
    assert_int_equal(root->tdp_mmu_root_count, references);
    kvm_mmu_unload(second);
    assert_int_equal(root->tdp_mmu_root_count, references);
    assert_int_equal(stats_of(w->kvm).roots, 1);
    world_free(w);
}

static void get_vcpu_root_hpa(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    int references = root->tdp_mmu_root_count;
    hpa_t hpa = kvm_tdp_mmu_get_vcpu_root_hpa(w->vcpu);

    (void)state;
    assert_int_not_equal(hpa, INVALID_PAGE);
    assert_int_equal(hpa & 0xfff, 0);
    assert_ptr_equal(to_shadow_page(hpa), root);
    assert_int_equal(root->tdp_mmu_root_count, references + 1);
    kvm_tdp_mmu_put_root(w->kvm, root);
    assert_int_equal(root->tdp_mmu_root_count, references);
    world_free(w);
}

static void get_and_put(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);
    int references = root->tdp_mmu_root_count;

    (void)state;
    rcu_read_lock();
    assert_true(kvm_tdp_mmu_get_root(root));
    rcu_read_unlock();
    read_lock(&w->kvm->mmu_lock);
    assert_true(kvm_tdp_mmu_get_root(root)); /* any mmu_lock will do, too */
    read_unlock(&w->kvm->mmu_lock);
    assert_int_equal(root->tdp_mmu_root_count, references + 2);
    kvm_tdp_mmu_put_root(w->kvm, root);
    write_lock(&w->kvm->mmu_lock);
    kvm_tdp_mmu_put_root(w->kvm, root);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(root->tdp_mmu_root_count, references);
    world_free(w);
}

/*
 * A valid root keeps the MMU's own reference: dropping it is refused.
 * To put the bug "root thrash" in: let validRoot() of MMU/Roots.swift pass over roots that no vCPU has.
 */
static void last_reference_of_a_valid_root(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);

    (void)state;
    map_pages(w, 0, 4, 1);
    kvm_mmu_unload(w->vcpu);
    assert_int_equal(root->tdp_mmu_root_count, 1);
    world_forget(w);
    kvm_tdp_mmu_put_root(w->kvm, root);
    assert_int_equal(warnings(w), 1);
    assert_int_equal(root->tdp_mmu_root_count, 1);
    assert_int_equal(stats_of(w->kvm).roots, 1);
    /* It was kept for the next vCPU, tables and all. */
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_ptr_equal(tdpmmu_vcpu_root(w->vcpu), root);
    assert_true(mapped(w->vcpu, 3));
    world_forget(w);
    world_free(w);
}

/*
 * "Readers that resurrect an invalid root": to put it in, compare roles without the invalid bit
 * in validRoot() of MMU/Roots.swift.
 */
static void invalidated_and_reloaded(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu), *next;

    (void)state;
    map_pages(w, 0, 4, 1);
    invalidate(w);
    assert_int_equal(root->role.invalid, 1);
    assert_true(root->tdp_mmu_scheduled_root_to_zap);
    assert_ptr_equal(tdpmmu_vcpu_root(w->vcpu), root); /* still the vCPU's, but useless */
    assert_int_equal(map_page(w, 0, 1), RET_PF_RETRY);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    next = tdpmmu_vcpu_root(w->vcpu);
    assert_ptr_not_equal(next, root);
    assert_int_equal(next->role.invalid, 0);
    assert_false(mapped(w->vcpu, 0));
    assert_int_equal(stats_of(w->kvm).roots, 2);
    assert_int_equal(stats_of(w->kvm).pages_4k, 4);
    assert_int_equal(map_page(w, 0, 1), RET_PF_FIXED);

    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    assert_int_equal(stats_of(w->kvm).pages_4k, 1);
    assert_int_equal(stats_of(w->kvm).roots, 1);
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 4);
    assert_int_equal(stats_of(w->kvm).tables_stray, 0);
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm); /* nothing to do */
    assert_int_equal(stats_of(w->kvm).pages_4k, 1);
    world_free(w);
}

/*
 * While a vCPU still has the invalid root, zapping empties it but cannot free it.
 * To put the bug in that a dying root comes back: let addReference() of PageTable/Table.swift count up from zero.
 */
static void vcpu_holds_the_dying_root(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(w->vcpu);

    (void)state;
    map_pages(w, 0, 4, 1);
    kvm_mmu_zap_all_fast(w->kvm);
    assert_int_equal(root->role.invalid, 1);
    assert_int_equal(root->tdp_mmu_root_count, 1);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 1);
    rcu_read_lock();
    kvm_mmu_unload(w->vcpu); /* the last put: unlisted at once, freed later */
    assert_int_equal(stats_of(w->kvm).roots, 0);
    assert_false(kvm_tdp_mmu_get_root(root)); /* a dying root stays dead */
    assert_int_equal(stats_of(w->kvm).tables, 1);
    assert_int_equal(stats_of(w->kvm).tables_stray, 1);
    rcu_read_unlock();
    rcu_barrier();
    assert_int_equal(stats_of(w->kvm).tables, 0);
    world_free(w);
}

static void both_address_spaces(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 5);
    struct kvm_vcpu *smm = tdpmmu_create_vcpu(w->kvm, 1);

    (void)state;
    assert_int_equal(tdpmmu_vcpu_set_as_id(smm, 1), 0);
    assert_int_equal(kvm_mmu_load(smm), 0);
    assert_int_equal(tdpmmu_vcpu_root(smm)->role.smm, 1);
    invalidate(w);
    assert_int_equal(tdpmmu_vcpu_root(smm)->role.invalid, 1);
    assert_int_equal(tdpmmu_vcpu_root(w->vcpu)->role.invalid, 1);
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    assert_int_equal(kvm_mmu_load(smm), 0);
    assert_int_equal(tdpmmu_vcpu_root(smm)->role.smm, 1);
    world_free(w);
}

/* Invalidated twice before it is zapped: the MMU's reference is dropped once. */
static void invalidated_twice(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);

    (void)state;
    invalidate(w);
    invalidate(w);
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    map_pages(w, 0, 4, 1);
    world_free(w);
}

struct zapper {
    struct world *w;
    atomic_bool stop;
};

static void *zap_fast(void *arg)
{
    struct zapper *z = arg;

    while (!atomic_load(&z->stop)) {
        kvm_mmu_zap_all_fast(z->w->kvm);
        sleep_ms(1);
    }
    return NULL;
}

/* Two threads invalidate and zap while one maps: each root is dropped once. */
static void zappers_side_by_side(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct zapper zapper = { .w = w };
    pthread_t threads[2];
    unsigned retries = 0, fixed = 0;

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, zap_fast, &zapper), 0);
    for (gfn_t gfn = 0; gfn < rounds(100000); gfn++) {
        int ret = map_page(w, gfn % 5000, 1);

        if (ret == RET_PF_RETRY) {
            retries++;
            assert_int_equal(kvm_mmu_load(w->vcpu), 0);
        }
        fixed += ret == RET_PF_FIXED;
    }
    atomic_store(&zapper.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_true(fixed > 0);
    (void)retries;
    world_free(w);
}

/*
 * As in Linux 6.12, whether the root is obsolete is looked at last, under mmu_lock: what needs no
 * mmu_lock is fixed below whatever root there is.
 */
static void fast_fault_on_an_obsolete_root(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = world_from(m->config);
        const gpa_t gpa = 5 << 12;

        assert_int_equal(map_page(w, 5, 1), RET_PF_FIXED);
        read_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_wrprot_slot(w->kvm, slot_by_id(w, 0, 0), 1);
        read_unlock(&w->kvm->mmu_lock);
        invalidate(w);
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gpa, PFERR_WRITE_MASK | PFERR_PRESENT_MASK), RET_PF_FIXED);
        assert_spte(w->vcpu, 5, 1, m->leaf, pfn_for(5));
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gpa, PFERR_WRITE_MASK | PFERR_PRESENT_MASK), RET_PF_SPURIOUS);
        assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, gpa + 4096, PFERR_WRITE_MASK), RET_PF_RETRY);
        world_free(w);
    }
}

/* Nor does emulation need a root, where MMIO is not cached. */
static void mmio_on_an_obsolete_root(void **state)
{
    struct world *w = world_from((struct tdpmmu_vm_config){ .vendor = TDPMMU_NPT, .maxphyaddr = 52 });

    (void)state;
    invalidate(w);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, WORLD_SLOT_PAGES << 12, 0), RET_PF_EMULATE);
    kvm_mmu_unload(w->vcpu);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, WORLD_SLOT_PAGES << 12, 0), RET_PF_RETRY);
    world_free(w);
}

struct guest {
    struct world *w;
    struct kvm_vcpu *vcpu;
    atomic_bool *stop;
    atomic_uint fixed, down;
};

static void *run_guest(void *argument)
{
    struct guest *guest = argument;

    for (unsigned i = 0; !atomic_load(guest->stop); i++) {
        int ret = kvm_tdp_mmu_page_fault(guest->vcpu, (gpa_t)(i * 37 % 4096) << 12, PFERR_WRITE_MASK);

        if (ret == RET_PF_RETRY)
            ret = kvm_mmu_load(guest->vcpu);
        if (i % 16 == 0)
            tdpmmu_cpu_access(guest->vcpu, (gpa_t)(i * 37 % 4096) << 12, PFERR_WRITE_MASK, NULL);
        if (i % 1000 == 0)
            kvm_mmu_unload(guest->vcpu);
        atomic_fetch_add(ret == -EINVAL ? &guest->down : &guest->fixed, ret == -EINVAL || ret == RET_PF_FIXED);
    }
    return NULL;
}

static void leaks_only(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)kvm;
    /* Faults while the TDP MMU is down are told as bad arguments. */
    if (warning->kind != TDPMMU_WARN_ARGUMENT)
        atomic_fetch_add((atomic_uint *)ctx, 1);
}

/*
 * The TDP MMU is taken down, and set up again, while vCPUs fault, load and unload: no root and no
 * table is left, and none is made afterwards.  Chance: what must not happen is forced below.
 */
static void taken_down_beside_faults(void **state)
{
    enum { GUESTS = 2 };
    atomic_uint leaks = 0;
    atomic_bool stop = false;
    struct tdpmmu_ops ops = { .size = sizeof(ops), .warn = leaks_only };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops, .ops_ctx = &leaks };
    struct world w = { .kvm = tdpmmu_create_vm(&config) };
    struct guest guests[GUESTS];
    pthread_t threads[GUESTS];

    (void)state;
    assert_int_equal(add_slot(w.kvm, 0, 0, 0, 4096, WORLD_HVA), 0);
    for (int i = 0; i < GUESTS; i++) {
        guests[i] = (struct guest){ .w = &w, .vcpu = tdpmmu_create_vcpu(w.kvm, i), .stop = &stop };
        assert_int_equal(pthread_create(&threads[i], NULL, run_guest, &guests[i]), 0);
    }
    for (unsigned round = 0; round < rounds(300); round++) {
        sleep_ms(1);
        kvm_mmu_uninit_tdp_mmu(w.kvm);
        assert_int_equal(stats_of(w.kvm).roots, 0);
        assert_int_equal(stats_of(w.kvm).tables, 0);
        for (int i = 0; i < GUESTS; i++)
            assert_null(tdpmmu_vcpu_root(guests[i].vcpu));
        assert_int_equal(stats_of(w.kvm).pages_4k, 0);
        assert_int_equal(kvm_mmu_init_tdp_mmu(w.kvm), 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < GUESTS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(atomic_load(&guests[i].fixed) > 0);
    }
    tdpmmu_destroy_vm(w.kvm);
    assert_int_equal(atomic_load(&leaks), 0);
}

static void *take_down(void *kvm)
{
    kvm_mmu_uninit_tdp_mmu(kvm);
    return NULL;
}

static kvm_pfn_t pfn_of_a_vm_taken_down(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot,
                                        gfn_t gfn, bool write, bool *writable, int *max_level)
{
    pthread_t thread;

    (void)ctx;
    (void)slot;
    (void)write;
    (void)writable;
    *max_level = 1;
    if (gfn == 7) { /* the host is slow to answer */
        assert_int_equal(pthread_create(&thread, NULL, take_down, kvm), 0);
        pthread_join(thread, NULL);
    }
    return pfn_for(gfn);
}

/* A fault that is on its way when the TDP MMU goes down maps nothing and is told why. */
static void taken_down_in_the_middle_of_a_fault(void **state)
{
    struct tdpmmu_ops host = { .size = sizeof(host), .gfn_to_pfn = pfn_of_a_vm_taken_down };
    struct world *w = world_from((struct tdpmmu_vm_config){ .ops = &host });

    (void)state;
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, 7 << 12, PFERR_WRITE_MASK), -EINVAL);
    assert_int_equal(stats_of(w->kvm).tables, 0);
    assert_int_equal(kvm_mmu_init_tdp_mmu(w->kvm), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, 8 << 12, PFERR_WRITE_MASK), RET_PF_FIXED);
    world_free(w);
}

static void take_down_where_a_root_is_made(void *ctx, struct kvm *kvm, const struct tdpmmu_trace_event *event)
{
    bool *armed = ctx;
    pthread_t thread;

    if (event->id != TDPMMU_TRACE_ALLOC_ROOT || !*armed)
        return;
    *armed = false;
    assert_int_equal(pthread_create(&thread, NULL, take_down, kvm), 0);
    pthread_join(thread, NULL);
}

/*
 * The TDP MMU goes down after a load has found it set up, and before it has a root: it makes none.
 * To see it fail: in acquireRoot() of MMU/Roots.swift do not look at isSetUp.
 */
static void taken_down_in_the_middle_of_a_load(void **state)
{
    bool armed = false;
    struct tdpmmu_ops ops = { .size = sizeof(ops), .trace = take_down_where_a_root_is_made };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops, .ops_ctx = &armed };
    struct kvm *kvm = tdpmmu_create_vm(&config);
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(kvm, 0);

    (void)state;
    for (int i = 0; i < 2; i++) {
        armed = true;
        if (i)
            assert_int_equal(kvm_tdp_mmu_get_vcpu_root_hpa(vcpu), INVALID_PAGE);
        else
            assert_int_equal(kvm_mmu_load(vcpu), -EINVAL);
        assert_null(tdpmmu_vcpu_root(vcpu));
        assert_int_equal(stats_of(kvm).roots, 0);
        assert_int_equal(stats_of(kvm).tables, 0);
        assert_int_equal(kvm_mmu_init_tdp_mmu(kvm), 0);
    }
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    tdpmmu_destroy_vm(kvm);
}

static struct {
    bool armed;
    pthread_t thread;
    atomic_uint leaks;
} taker;

static void take_down_where_a_root_is_dropped(void *ctx, struct kvm *kvm, const struct tdpmmu_trace_event *event)
{
    (void)ctx;
    if (event->id != TDPMMU_TRACE_PUT_ROOT || !taker.armed)
        return;
    taker.armed = false;
    assert_int_equal(pthread_create(&taker.thread, NULL, take_down, kvm), 0);
    sleep_ms(50); /* long enough to come to the end, had it nothing to wait for */
}

/*
 * A vCPU drops its root: it is the vCPU's no more, the reference is still there.  Who takes the TDP
 * MMU down at this moment waits for that.
 * To see it fail: in unload() of MMU/Roots.swift do without insideRCU().
 */
static void taken_down_in_the_middle_of_an_unload(void **state)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .trace = take_down_where_a_root_is_dropped, .warn = leaks_only };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops, .ops_ctx = &taker.leaks };
    struct kvm *kvm = tdpmmu_create_vm(&config);
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(kvm, 0);

    (void)state;
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    taker.armed = true;
    kvm_mmu_unload(vcpu);
    pthread_join(taker.thread, NULL);
    assert_int_equal(atomic_load(&taker.leaks), 0);
    assert_int_equal(stats_of(kvm).roots, 0);
    assert_int_equal(stats_of(kvm).tables, 0);
    tdpmmu_destroy_vm(kvm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_by_vcpus),
        cmocka_unit_test(get_vcpu_root_hpa),
        cmocka_unit_test(get_and_put),
        cmocka_unit_test(last_reference_of_a_valid_root),
        cmocka_unit_test(invalidated_and_reloaded),
        cmocka_unit_test(vcpu_holds_the_dying_root),
        cmocka_unit_test(both_address_spaces),
        cmocka_unit_test(invalidated_twice),
        cmocka_unit_test(zappers_side_by_side),
        cmocka_unit_test(fast_fault_on_an_obsolete_root),
        cmocka_unit_test(mmio_on_an_obsolete_root),
        cmocka_unit_test(taken_down_beside_faults),
        cmocka_unit_test(taken_down_in_the_middle_of_a_fault),
        cmocka_unit_test(taken_down_in_the_middle_of_a_load),
        cmocka_unit_test(taken_down_in_the_middle_of_an_unload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
