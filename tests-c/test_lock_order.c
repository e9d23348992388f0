/* SPDX-License-Identifier: GPL-2.0-only */
/* docs/LOCKING.md, "Order": a lock taken out of it, a wait where none may be, a thread that ends. */
#include "test_helpers.h"

#include <unistd.h>

static uint64_t log_bits[4];

static struct world *logged_world(void)
{
    struct world *w = world_new(TDPMMU_EPT, 4);

    assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, WORLD_SLOT_PAGES, 128,
                              WORLD_HVA + (WORLD_SLOT_PAGES << 12)), 0);
    world_forget(w);
    return w;
}

/* What takes the slots lock. */
static int change_slot(struct kvm *kvm)
{
    return add_slot(kvm, 2, 0, 2 * WORLD_SLOT_PAGES, 1, WORLD_HVA);
}

static int get_log(struct kvm *kvm)
{
    struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = log_bits };

    return kvm_vm_ioctl_get_dirty_log(kvm, &log);
}

static int clear_log(struct kvm *kvm)
{
    struct kvm_clear_dirty_log log = { .slot = 1, .num_pages = 128, .dirty_bitmap = log_bits };

    return kvm_vm_ioctl_clear_dirty_log(kvm, &log);
}

static int enable_cap(struct kvm *kvm)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, .args = { 1 } };

    return kvm_vm_ioctl_enable_cap(kvm, &cap);
}

static int reset_rings(struct kvm *kvm) { return kvm_vm_ioctl_reset_dirty_pages(kvm); }

static int (*const slots_lock_takers[])(struct kvm *) = {
    change_slot, get_log, clear_log, enable_cap, reset_rings,
};

static void assert_each_refused(struct world *w, struct kvm *kvm)
{
    for (size_t i = 0; i < sizeof(slots_lock_takers) / sizeof(*slots_lock_takers); i++) {
        assert_int_equal(slots_lock_takers[i](kvm), -EINVAL);
        assert_int_equal(warnings(w), 1);
        assert_int_equal(w->last_warning.kind, TDPMMU_WARN_LOCK);
        world_forget(w);
    }
}

static void slots_lock_inside_srcu(void **state)
{
    struct world *w = logged_world();
    int idx;

    (void)state;
    idx = srcu_read_lock(&w->kvm->srcu);
    assert_each_refused(w, w->kvm);
    srcu_read_unlock(&w->kvm->srcu, idx);
    assert_int_equal(get_log(w->kvm), 0);
    world_free(w);
}

static void slots_lock_under_mmu_lock(void **state)
{
    struct world *w = logged_world();

    (void)state;
    write_lock(&w->kvm->mmu_lock);
    assert_each_refused(w, w->kvm);
    write_unlock(&w->kvm->mmu_lock);
    read_lock(&w->kvm->mmu_lock);
    assert_each_refused(w, w->kvm);
    read_unlock(&w->kvm->mmu_lock);
    rcu_read_lock();
    assert_each_refused(w, w->kvm);
    rcu_read_unlock();
    assert_int_equal(enable_cap(w->kvm), 0);
    world_free(w);
}

/* Ranks are of kinds of locks: another VM's mmu_lock is in the way as well. */
static void slots_lock_under_another_vms_lock(void **state)
{
    struct world *w = logged_world(), *other = world_new(TDPMMU_NPT, 4);
    int idx;

    (void)state;
    read_lock(&other->kvm->mmu_lock);
    assert_each_refused(w, w->kvm);
    read_unlock(&other->kvm->mmu_lock);
    idx = srcu_read_lock(&other->kvm->srcu);
    assert_each_refused(w, w->kvm);
    srcu_read_unlock(&other->kvm->srcu, idx);
    world_free(other);
    tdpmmu_set_warn_handler(world_warn, &process_world);
    world_free(w);
}

/* A rig's own locks and domains have no rank. */
static void own_locks_are_no_matter(void **state)
{
    struct world *w = logged_world();
    rwlock_t lock = { 0 };
    struct srcu_struct domain;
    int idx;

    (void)state;
    assert_int_equal(init_srcu_struct(&domain), 0);
    write_lock(&lock);
    idx = srcu_read_lock(&domain);
    assert_int_equal(change_slot(w->kvm), 0);
    synchronize_rcu();
    rcu_barrier();
    synchronize_srcu(&w->kvm->srcu);
    srcu_read_unlock(&domain, idx);
    write_unlock(&lock);
    cleanup_srcu_struct(&domain);
    world_free(w);
}

static void wait_rcu(struct kvm *kvm) { (void)kvm; synchronize_rcu(); }
static void wait_expedited(struct kvm *kvm) { (void)kvm; synchronize_rcu_expedited(); }
static void wait_barrier(struct kvm *kvm) { (void)kvm; rcu_barrier(); }
static void wait_poll(struct kvm *kvm) { (void)kvm; cond_synchronize_rcu(get_state_synchronize_rcu()); }
static void wait_srcu(struct kvm *kvm) { synchronize_srcu(&kvm->srcu); }
static void wait_srcu_barrier(struct kvm *kvm) { srcu_barrier(&kvm->srcu); }

static void (*const waits[])(struct kvm *) = {
    wait_rcu, wait_expedited, wait_barrier, wait_poll, wait_srcu, wait_srcu_barrier,
};

static void assert_no_wait(struct world *w)
{
    for (size_t i = 0; i < sizeof(waits) / sizeof(*waits); i++) {
        waits[i](w->kvm);
        assert_int_equal(warnings(w), 1);
        world_forget(w);
    }
}

static void waits_under_mmu_lock(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);

    (void)state;
    read_lock(&w->kvm->mmu_lock);
    assert_no_wait(w);
    read_unlock(&w->kvm->mmu_lock);
    write_lock(&w->kvm->mmu_lock);
    assert_no_wait(w);
    write_unlock(&w->kvm->mmu_lock);
    rcu_read_lock();
    assert_no_wait(w);
    rcu_read_unlock();
    for (size_t i = 0; i < sizeof(waits) / sizeof(*waits); i++)
        waits[i](w->kvm);
    world_free(w);
}

/* Readers of kvm->srcu may wait for RCU, whose readers wait for none of them. */
static void waits_inside_srcu(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    int idx;

    (void)state;
    idx = srcu_read_lock(&w->kvm->srcu);
    synchronize_rcu();
    rcu_barrier();
    assert_no_warning(w);
    synchronize_srcu(&w->kvm->srcu);
    assert_int_equal(warnings(w), 1);
    world_forget(w);
    srcu_read_unlock(&w->kvm->srcu, idx);
    world_free(w);
}

/* The callback that runs under the slots lock changes a slot: refused, no deadlock. */
static int committed;

static void change_slot_again(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot)
{
    (void)ctx, (void)slot;
    committed = change_slot(kvm);
    synchronize_rcu(); /* this may be */
}

static void slots_lock_twice(void **state)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .slot_committing = change_slot_again };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops };
    struct kvm *kvm;

    (void)state;
    tdpmmu_set_warn_handler(world_warn, &process_world);
    atomic_store(&process_world.warnings, 0);
    kvm = tdpmmu_create_vm(&config);
    committed = 0;
    assert_int_equal(add_slot(kvm, 0, 0, 0, 128, WORLD_HVA), 0);
    assert_int_equal(add_slot(kvm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, 128, WORLD_HVA), 0);
    assert_int_equal(committed, -EINVAL);
    assert_int_equal(atomic_exchange(&process_world.warnings, 0), 1);
    assert_int_equal(process_world.last_warning.kind, TDPMMU_WARN_LOCK);
    tdpmmu_destroy_vm(kvm);
    tdpmmu_set_warn_handler(NULL, NULL);
}

/* Threads that end ---------------------------------------------------------- */

static void *end_holding_read(void *lock)
{
    read_lock((rwlock_t *)lock);
    read_lock((rwlock_t *)lock);
    return NULL;
}

static void *end_holding_write(void *lock)
{
    write_lock((rwlock_t *)lock);
    return NULL;
}

static void *end_in_reader(void *unused)
{
    rcu_read_lock();
    return unused;
}

static void *end_in_srcu(void *srcu)
{
    srcu_read_lock((struct srcu_struct *)srcu);
    return NULL;
}

static void run(void *(*body)(void *), void *argument)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, body, argument), 0);
    pthread_join(thread, NULL);
}

static void assert_thread_ended_badly(struct world *w, const char *function)
{
    assert_int_equal(warnings(w), 1);
    assert_string_equal(process_world.last_warning.function, function);
    world_forget(w);
}

/* One warning each, and the VM can still be used. */
static void threads_end(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);

    (void)state;
    run(end_holding_read, &w->kvm->mmu_lock);
    assert_thread_ended_badly(w, "read_lock");
    assert_int_equal(w->kvm->mmu_lock.state, 0);
    run(end_holding_write, &w->kvm->mmu_lock);
    assert_thread_ended_badly(w, "write_lock");
    assert_int_equal(w->kvm->mmu_lock.state, 0);
    run(end_in_reader, NULL);
    assert_thread_ended_badly(w, "rcu_read_lock");
    run(end_in_srcu, &w->kvm->srcu);
    assert_thread_ended_badly(w, "srcu_read_lock");
    assert_int_equal(change_slot(w->kvm), 0);
    world_free(w);
}

/* A rig's own lock may be gone by then: told, not touched. */
static void thread_ends_with_own_lock(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    rwlock_t lock = { 0 };

    (void)state;
    run(end_holding_write, &lock);
    assert_thread_ended_badly(w, "write_lock");
    assert_int_equal(lock.state, 1u << 31);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_lock_inside_srcu),
        cmocka_unit_test(slots_lock_under_mmu_lock),
        cmocka_unit_test(slots_lock_under_another_vms_lock),
        cmocka_unit_test(own_locks_are_no_matter),
        cmocka_unit_test(waits_under_mmu_lock),
        cmocka_unit_test(waits_inside_srcu),
        cmocka_unit_test(slots_lock_twice),
        cmocka_unit_test(threads_end),
        cmocka_unit_test(thread_ends_with_own_lock),
    };

    return cmocka_run_group_tests_name("lock_order", tests, NULL, NULL);
}
