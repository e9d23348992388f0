/* SPDX-License-Identifier: GPL-2.0-only */
/* CPUs are told: requests to vCPUs, flushes as Linux asks for them, and who may ask for what where. */
#include "test_helpers.h"

#include <sched.h>

#define VCPUS 3

static const struct tdpmmu_vm_config kinds[] = {
    { .vendor = TDPMMU_EPT }, { .vendor = TDPMMU_EPT, .ad_disabled = 1 }, { .vendor = TDPMMU_NPT } };

struct asked {
    struct kvm *kvm;
    struct kvm_vcpu *vcpus[VCPUS];
    unsigned warnings, flushes;
    unsigned count[4][VCPUS]; /* by request and vCPU */
    bool held_for_write, invalid;
    void (*on_yield)(struct asked *a);
    void (*on_flush)(struct asked *a);
};

static void asked_request(void *ctx, struct kvm *kvm, struct kvm_vcpu *vcpu, enum tdpmmu_request request)
{
    struct asked *a = ctx;
    struct kvm_mmu_page *root = tdpmmu_vcpu_root(vcpu);

    a->count[request][tdpmmu_vcpu_id(vcpu)]++;
    a->held_for_write = tdpmmu_write_lock_held(&kvm->mmu_lock);
    a->invalid = root && root->role.invalid;
}

static void asked_warn(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)kvm;
    (void)warning;
    ((struct asked *)ctx)->warnings++;
}

static void asked_flush(void *ctx, struct kvm *kvm, gfn_t start, uint64_t npages)
{
    struct asked *a = ctx;

    (void)kvm;
    (void)start;
    (void)npages;
    a->flushes++;
    if (a->on_flush)
        a->on_flush(a);
}

static bool asked_yield_at(void *ctx, struct kvm *kvm, const struct tdp_iter *iter)
{
    (void)kvm;
    return ((struct asked *)ctx)->on_yield && iter->gfn > 0;
}

static void asked_yielded(void *ctx, struct kvm *kvm)
{
    struct asked *a = ctx;
    void (*act)(struct asked *) = a->on_yield;

    (void)kvm;
    a->on_yield = NULL;
    if (act)
        act(a);
}

static struct asked asked;

static struct asked *asked_world(struct tdpmmu_vm_config config, uint32_t slot_flags, bool requests)
{
    struct tdpmmu_ops ops = {
        .size = sizeof(ops), .warn = asked_warn, .flush_tlb = asked_flush, .yield_at = asked_yield_at,
        .yielded = asked_yielded, .vcpu_request = requests ? asked_request : NULL };

    memset(&asked, 0, sizeof(asked));
    config.size = sizeof(config);
    config.ops = &ops;
    config.ops_ctx = &asked;
    tdpmmu_set_warn_handler(asked_warn, &asked);
    asked.kvm = tdpmmu_create_vm(&config);
    for (int i = 0; i < VCPUS; i++)
        asked.vcpus[i] = tdpmmu_create_vcpu(asked.kvm, i);
    /* Off by a page from the host's huge pages: 4K leaves only. */
    assert_int_equal(add_slot(asked.kvm, 0, slot_flags, 0, 512, WORLD_HVA + 4096), 0);
    for (int i = 0; i < VCPUS; i++)
        assert_int_equal(kvm_mmu_load(asked.vcpus[i]), 0);
    return &asked;
}

static void invalidate(struct kvm *kvm)
{
    write_lock(&kvm->mmu_lock);
    kvm_tdp_mmu_invalidate_all_roots(kvm);
    write_unlock(&kvm->mmu_lock);
}

static void each_vcpu_is_asked_and_flushed(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct asked *a = asked_world(kinds[k], 0, true);

        for (int i = 0; i < VCPUS; i++) /* its first root, too */
            assert_int_equal(a->count[TDPMMU_REQ_TLB_FLUSH][i], 1);
        invalidate(a->kvm);
        assert_true(a->held_for_write && a->invalid);
        for (int i = 0; i < VCPUS; i++) {
            assert_int_equal(a->count[TDPMMU_REQ_FREE_OBSOLETE_ROOTS][i], 1);
            assert_int_equal(kvm_mmu_load(a->vcpus[i]), 0);
            assert_int_equal(kvm_mmu_load(a->vcpus[i]), 0); /* the same root: nothing to forget */
            assert_int_equal(a->count[TDPMMU_REQ_TLB_FLUSH][i], 2);
        }
        kvm_mmu_zap_all_fast(a->kvm);
        assert_int_equal(a->count[TDPMMU_REQ_FREE_OBSOLETE_ROOTS][2], 2);
        assert_int_equal(a->flushes + a->warnings, 0);
        tdpmmu_destroy_vm(a->kvm);
    }
}

/* Without a rig: the CPU model does not walk on, and its fault asks for a new root. */
static void no_access_through_an_invalid_root(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct asked *a = asked_world(kinds[k], 0, false);
        uint64_t code = 0;

        guest_write(a->vcpus[0], 5);
        assert_int_equal(tdpmmu_cpu_access(a->vcpus[0], 5 << 12, PFERR_WRITE_MASK, &code), 1);
        invalidate(a->kvm);
        for (int i = 0; i < 2; i++) {
            code = 99;
            assert_int_equal(tdpmmu_cpu_access(a->vcpus[0], 5 << 12, PFERR_WRITE_MASK, &code), 0);
            assert_int_equal(code, PFERR_WRITE_MASK);
        }
        assert_int_equal(kvm_mmu_load(a->vcpus[0]), 0);
        assert_int_equal(guest_write(a->vcpus[0], 5), 1);
        assert_int_equal(a->warnings, 0);
        tdpmmu_destroy_vm(a->kvm);
    }
}

static uint64_t dirty_word(struct kvm *kvm)
{
    uint64_t bits[8] = { 0 };
    struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bits };

    assert_int_equal(kvm_vm_ioctl_get_dirty_log(kvm, &log), 0);
    return bits[0];
}

/* The old root is zapped, and what its leaves say is in no log from here on. */
static void read_and_write(struct asked *a)
{
    uint64_t code;

    assert_int_equal(tdpmmu_cpu_access(a->vcpus[0], 5 << 12, PFERR_WRITE_MASK, &code), 0);
}

/* A page written between the invalidation and the end of the zap is in the log, since nobody writes
 * through the old root. */
static void no_write_is_lost_while_roots_are_zapped(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct asked *a = asked_world(kinds[k], KVM_MEM_LOG_DIRTY_PAGES, false);

        guest_write(a->vcpus[0], 5);
        guest_access(a->vcpus[0], 0, 0);
        assert_int_equal(dirty_word(a->kvm) & 1 << 5, 1 << 5);
        a->on_yield = read_and_write;
        kvm_mmu_zap_all_fast(a->kvm);
        assert_null(a->on_yield); /* it was there */
        guest_write(a->vcpus[0], 5);
        assert_int_equal(dirty_word(a->kvm) & 1 << 5, 1 << 5);
        assert_int_equal(a->warnings, 0);
        tdpmmu_destroy_vm(a->kvm);
    }
}

/* Under PML vCPUs leave the guest before what they logged is read. */
static void logs_are_drained_before_they_are_read(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct asked *a = asked_world(kinds[k], KVM_MEM_LOG_DIRTY_PAGES, true);
        uint64_t all[8];
        struct kvm_clear_dirty_log clear = { .slot = 0, .num_pages = 512, .dirty_bitmap = all };

        memset(all, 0xff, sizeof(all));
        for (int i = 0; i < VCPUS; i++) /* when the slot came, the first that is logged */
            assert_int_equal(a->count[TDPMMU_REQ_LEAVE_GUEST][i], k == 0);
        dirty_word(a->kvm);
        for (int i = 0; i < VCPUS; i++)
            assert_int_equal(a->count[TDPMMU_REQ_LEAVE_GUEST][i], k == 0 ? 2 : 0);
        assert_int_equal(kvm_vm_ioctl_clear_dirty_log(a->kvm, &clear), 0);
        assert_int_equal(a->count[TDPMMU_REQ_LEAVE_GUEST][1], k == 0 ? 3 : 0);
        assert_int_equal(add_slot(a->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, 512, 512, WORLD_HVA + (1 << 24)), 0);
        assert_int_equal(add_slot(a->kvm, 0, 0, 0, 512, WORLD_HVA + 4096), 0);
        assert_int_equal(a->count[TDPMMU_REQ_LEAVE_GUEST][1], k == 0 ? 3 : 0);
        assert_int_equal(delete_slot(a->kvm, 1), 0); /* the last one */
        assert_int_equal(a->count[TDPMMU_REQ_LEAVE_GUEST][1], k == 0 ? 4 : 0);
        assert_int_equal(a->warnings, 0);
        tdpmmu_destroy_vm(a->kvm);
    }
}

static atomic_bool stop_writing;
static atomic_uint accesses;

static void *write_always(void *argument)
{
    struct kvm_vcpu *vcpu = argument;
    uint64_t code;

    while (!atomic_load(&stop_writing)) {
        if (tdpmmu_cpu_access(vcpu, 5 << 12, PFERR_WRITE_MASK, &code) > 0)
            atomic_fetch_add(&accesses, 1);
        else if (kvm_mmu_load(vcpu) == 0)
            kvm_tdp_mmu_page_fault(vcpu, 5 << 12, code);
    }
    return NULL;
}

/* When an invalidation has returned, no access that began before is still under way, nor is there
 * another before the vCPU has loaded, which waits for mmu_lock. */
static void invalidation_waits_for_accesses(void **state)
{
    struct asked *a = asked_world(kinds[0], 0, false);
    pthread_t thread;

    (void)state;
    atomic_store(&stop_writing, false);
    assert_int_equal(pthread_create(&thread, NULL, write_always, a->vcpus[0]), 0);
    atomic_store(&accesses, 0);
    for (unsigned round = 0; round < 100; round++) {
        unsigned before;

        while (atomic_load(&accesses) < 50 * round + 50)
            sched_yield();
        write_lock(&a->kvm->mmu_lock);
        kvm_tdp_mmu_invalidate_all_roots(a->kvm);
        before = atomic_load(&accesses);
        nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
        assert_true(atomic_load(&accesses) <= before + 1); /* over, but not counted yet */
        write_unlock(&a->kvm->mmu_lock);
        kvm_tdp_mmu_zap_invalidated_roots(a->kvm);
    }
    atomic_store(&stop_writing, true);
    pthread_join(thread, NULL);
    assert_int_equal(a->warnings, 0);
    tdpmmu_destroy_vm(a->kvm);
}

/* vCPUs come and go beside those who ask them. */
static void vcpus_come_and_go(void **state)
{
    struct asked *a = asked_world(kinds[0], 0, false);
    pthread_t thread;

    (void)state;
    atomic_store(&stop_writing, false);
    assert_int_equal(pthread_create(&thread, NULL, write_always, a->vcpus[0]), 0);
    for (int i = 0; i < 2000; i++) {
        struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(a->kvm, 100);

        assert_int_equal(kvm_mmu_load(vcpu), 0);
        if (i % 2)
            invalidate(a->kvm);
        tdpmmu_destroy_vcpu(vcpu);
        kvm_tdp_mmu_zap_invalidated_roots(a->kvm);
    }
    atomic_store(&stop_writing, true);
    pthread_join(thread, NULL);
    assert_int_equal(a->warnings, 0);
    tdpmmu_destroy_vm(a->kvm);
}

/* One flush for a walk that unlinks tables; none for roots that everybody left. */
static void flushes_are_those_of_linux(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct asked *a = asked_world(kinds[k], 0, true);

        assert_int_equal(add_slot(a->kvm, 1, 0, 512, 64 * 512, WORLD_HVA + (1 << 21) + 4096), 0);
        for (gfn_t gfn = 512; gfn < 65 * 512; gfn += 512)
            guest_write(a->vcpus[0], gfn); /* 64 tables */
        a->flushes = 0;
        write_lock(&a->kvm->mmu_lock);
        assert_true(kvm_tdp_mmu_zap_gfn_range(a->kvm, 512, 33 * 512));
        assert_int_equal(a->flushes, 1);
        kvm_tdp_mmu_zap_all(a->kvm);
        write_unlock(&a->kvm->mmu_lock);
        assert_int_equal(a->flushes, 2);
        for (gfn_t gfn = 512; gfn < 65 * 512; gfn += 512)
            guest_write(a->vcpus[0], gfn);
        a->flushes = 0;
        kvm_mmu_zap_all_fast(a->kvm);
        assert_int_equal(a->flushes, 0);
        assert_int_equal(kvm_mmu_load(a->vcpus[0]), 0);
        for (gfn_t gfn = 512; gfn < 65 * 512; gfn += 512)
            guest_write(a->vcpus[0], gfn);
        tdpmmu_destroy_vm(a->kvm);
        assert_int_equal(a->flushes + a->warnings, 0);
    }
}

static unsigned flushes_before;

static void note_flushes(struct asked *a)
{
    flushes_before = a->flushes;
}

/* Where only bits change, the flush is the caller's even if the walk gives way. */
static void no_flush_for_bits_before_a_yield(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        struct asked *a = asked_world(kinds[k], 0, true);

        for (int clears_dirty = 0; clears_dirty < 2; clears_dirty++) {
            const struct kvm_memory_slot *slot;

            for (gfn_t gfn = 0; gfn < 8; gfn++)
                guest_write(a->vcpus[0], gfn);
            a->flushes = 0;
            flushes_before = 99;
            a->on_yield = note_flushes;
            rcu_read_lock();
            slot = tdpmmu_id_to_memslot(a->kvm, 0, 0);
            rcu_read_unlock();
            read_lock(&a->kvm->mmu_lock);
            assert_true(clears_dirty ? kvm_tdp_mmu_clear_dirty_slot(a->kvm, slot) : kvm_tdp_mmu_wrprot_slot(a->kvm, slot, 1));
            read_unlock(&a->kvm->mmu_lock);
            assert_int_equal(flushes_before, 0);
            assert_int_equal(a->flushes, 0);
        }
        tdpmmu_destroy_vm(a->kvm);
        assert_int_equal(a->warnings, 0);
    }
}

static void *delete_the_slot(void *done)
{
    assert_int_equal(delete_slot(asked.kvm, 0), 0);
    /* Of the deleted slot nothing is left; the other roots have nothing. */
    assert_int_equal(stats_of(asked.kvm).pages_4k, 0);
    atomic_store((atomic_bool *)done, true);
    return NULL;
}

static pthread_t deleter;
static atomic_bool deleted;

static void delete_beside(struct asked *a)
{
    (void)a;
    assert_int_equal(pthread_create(&deleter, NULL, delete_the_slot, &deleted), 0);
    for (int i = 0; i < 20; i++) {
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
        assert_false(atomic_load(&deleted)); /* it waits for the zap that began first */
    }
}

static void a_deletion_waits_for_a_fast_zap(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        struct asked *a = asked_world(kinds[0], 0, false);

        for (gfn_t gfn = 0; gfn < 512; gfn++)
            guest_write(a->vcpus[0], gfn);
        atomic_store(&deleted, false);
        a->on_yield = delete_beside;
        if (way == 0)
            kvm_mmu_zap_all_fast(a->kvm);
        else
            assert_int_equal(tdpmmu_set_nx_huge_pages(a->kvm, true), 0);
        pthread_join(deleter, NULL);
        assert_true(atomic_load(&deleted));
        assert_int_equal(a->warnings, 0);
        tdpmmu_destroy_vm(a->kvm);
    }
}

/* What takes the slots lock is refused where a slot's change might wait for the caller. */
static void slots_lock_is_refused(void (*enter)(struct kvm *), void (*leave)(struct kvm *))
{
    struct asked *a = asked_world(kinds[0], KVM_MEM_LOG_DIRTY_PAGES, false);
    uint64_t bits[8] = { 0 };
    struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bits };
    struct kvm_clear_dirty_log clear = { .slot = 0, .num_pages = 512, .dirty_bitmap = bits };
    struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { 1 } };

    guest_write(a->vcpus[0], 5);
    enter(a->kvm);
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(a->kvm, &log), -EINVAL);
    assert_int_equal(kvm_vm_ioctl_clear_dirty_log(a->kvm, &clear), -EINVAL);
    assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(a->kvm), -EINVAL);
    assert_int_equal(kvm_vm_ioctl_enable_cap(a->kvm, &cap), -EINVAL);
    assert_int_equal(tdpmmu_set_nx_huge_pages(a->kvm, true), -EINVAL);
    assert_int_equal(delete_slot(a->kvm, 0), -EINVAL);
    kvm_mmu_zap_all_fast(a->kvm);
    kvm_mmu_uninit_tdp_mmu(a->kvm);
    tdpmmu_destroy_vm(a->kvm);
    leave(a->kvm);
    assert_int_equal(a->warnings, 9);
    assert_int_equal(stats_of(a->kvm).pages_4k, 1);
    assert_int_equal(dirty_word(a->kvm), 1 << 5);
    tdpmmu_destroy_vm(a->kvm);
}

static int srcu_index;
static void in_srcu(struct kvm *kvm) { srcu_index = srcu_read_lock(&kvm->srcu); }
static void out_of_srcu(struct kvm *kvm) { srcu_read_unlock(&kvm->srcu, srcu_index); }
static void in_write(struct kvm *kvm) { write_lock(&kvm->mmu_lock); }
static void out_of_write(struct kvm *kvm) { write_unlock(&kvm->mmu_lock); }
static void in_read(struct kvm *kvm) { read_lock(&kvm->mmu_lock); }
static void out_of_read(struct kvm *kvm) { read_unlock(&kvm->mmu_lock); }
static void in_rcu(struct kvm *kvm) { (void)kvm; rcu_read_lock(); }
static void out_of_rcu(struct kvm *kvm) { (void)kvm; rcu_read_unlock(); }

static void refused_where_a_slot_change_would_wait(void **state)
{
    (void)state;
    slots_lock_is_refused(in_srcu, out_of_srcu);
    slots_lock_is_refused(in_write, out_of_write);
    slots_lock_is_refused(in_read, out_of_read);
    slots_lock_is_refused(in_rcu, out_of_rcu);
}

static void destroy_inside(struct asked *a)
{
    a->on_flush = NULL;
    tdpmmu_destroy_vm(a->kvm);
    kvm_mmu_uninit_tdp_mmu(a->kvm);
}

static void destroy_by_callback(struct rcu_head *head)
{
    (void)head;
    destroy_inside(&asked);
}

/* A VM is not destroyed by its own callback, nor where rcu_barrier() cannot wait. */
static void not_destroyed_where_it_is_used(void **state)
{
    struct asked *a = asked_world(kinds[0], 0, false);
    struct rcu_head head = { 0 };

    (void)state;
    guest_write(a->vcpus[0], 5);
    a->on_flush = destroy_inside;
    kvm_flush_remote_tlbs(a->kvm);
    assert_int_equal(a->warnings, 2);
    a->on_yield = destroy_inside;
    kvm_mmu_zap_all_fast(a->kvm);
    assert_int_equal(a->warnings, 4);
    call_rcu(&head, destroy_by_callback);
    rcu_barrier();
    assert_int_equal(a->warnings, 6);
    assert_int_equal(kvm_mmu_load(a->vcpus[0]), 0);
    assert_int_equal(guest_write(a->vcpus[0], 5), 1); /* all there */
    tdpmmu_destroy_vm(a->kvm);
    assert_int_equal(a->warnings, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_vcpu_is_asked_and_flushed),
        cmocka_unit_test(no_access_through_an_invalid_root),
        cmocka_unit_test(no_write_is_lost_while_roots_are_zapped),
        cmocka_unit_test(logs_are_drained_before_they_are_read),
        cmocka_unit_test(invalidation_waits_for_accesses),
        cmocka_unit_test(vcpus_come_and_go),
        cmocka_unit_test(flushes_are_those_of_linux),
        cmocka_unit_test(no_flush_for_bits_before_a_yield),
        cmocka_unit_test(a_deletion_waits_for_a_fast_zap),
        cmocka_unit_test(refused_where_a_slot_change_would_wait),
        cmocka_unit_test(not_destroyed_where_it_is_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
