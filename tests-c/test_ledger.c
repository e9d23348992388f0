/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ledger of owed flushes on a library that makes them all: silence for callers that do their
 * part, and a report for those that do not.  What it says of a library that does not: test_flush_losses.
 */
#include "test_helpers.h"
#include "flush_reports.h"

#define PAGES 64u

static struct world *ledger_world(const struct machine *m)
{
    struct world *w = world_from(m->config);

    keep_ledger(w);
    map_pages(w, 0, PAGES, 1);
    return w;
}

static void end(struct world *w)
{
    assert_no_report();
    world_free(w);
}

static bool zap_leafs(struct world *w, gfn_t start, gfn_t stop)
{
    return kvm_tdp_mmu_zap_leafs(w->kvm, start, stop, false);
}

static void a_caller_who_flushes_is_not_heard_of(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = ledger_world(m);

        write_lock(&w->kvm->mmu_lock);
        assert_true(zap_leafs(w, 3, 5));
        assert_true(tdpmmu_ledger_owes(w->kvm, 0, 0, 4));
        assert_false(tdpmmu_ledger_owes(w->kvm, 0, 5, 100));
        assert_false(tdpmmu_ledger_owes(w->kvm, 1, 3, 5));
        kvm_flush_remote_tlbs_range(w->kvm, 3, 2);
        assert_false(tdpmmu_ledger_owes(w->kvm, 0, 0, 100));
        write_unlock(&w->kvm->mmu_lock);
        /* All of several, at the end. */
        write_lock(&w->kvm->mmu_lock);
        assert_true(zap_leafs(w, 10, 12));
        assert_true(zap_leafs(w, 20, 21));
        assert_false(zap_leafs(w, 20, 21)); /* none of its own */
        kvm_flush_remote_tlbs(w->kvm);
        write_unlock(&w->kvm->mmu_lock);
        end(w);
    }
}

static void a_caller_who_does_not_is(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = ledger_world(m);

        write_lock(&w->kvm->mmu_lock);
        assert_true(zap_leafs(w, 3, 5));
        assert_no_report();
        write_unlock(&w->kvm->mmu_lock);
        assert_int_equal(last_report.start, 3);
        assert_int_equal(last_report.end, 5);
        assert_int_equal(last_report.level, 1);
        assert_int_equal(last_report.as_id, 0);
        assert_int_equal(last_report.old_spte, m->leaf | pfn_for(3) << 12);
        assert_int_equal(last_report.new_spte, SHADOW_NONPRESENT_VALUE);
        assert_one_report(w, TDPMMU_DUE_UNLOCK, "kvm_tdp_mmu_zap_leafs");
        /* Once told it is forgotten. */
        write_lock(&w->kvm->mmu_lock);
        write_unlock(&w->kvm->mmu_lock);
        assert_no_report();
        end(w);
    }
}

static void a_flush_that_is_too_short_pays_a_part(void **state)
{
    struct world *w = ledger_world(&machines[0]);

    (void)state;
    write_lock(&w->kvm->mmu_lock);
    assert_true(zap_leafs(w, 10, 20));
    kvm_flush_remote_tlbs_range(w->kvm, 0, 12);
    kvm_flush_remote_tlbs_range(w->kvm, 13, 100);
    write_unlock(&w->kvm->mmu_lock);
    assert_int_equal(last_report.start, 12);
    assert_int_equal(last_report.end, 13);
    assert_one_report(w, TDPMMU_DUE_UNLOCK, "kvm_tdp_mmu_zap_leafs");
    end(w);
}

/* W and Dirty may be flushed for after mmu_lock, as the kernel does, but before a log is read. */
static void bits_are_due_when_the_log_is_read(void **state)
{
    static unsigned long bitmap[512 / 64];
    struct kvm_dirty_log log = { .slot = SIDE_SLOT, .dirty_bitmap = bitmap };

    (void)state;
    for_each_machine(m) {
        struct world *w = ledger_world(m);

        assert_int_equal(add_slot(w->kvm, SIDE_SLOT, KVM_MEM_LOG_DIRTY_PAGES, SIDE_BASE, 512, SIDE_HVA), 0);
        for (int flushes = 0; flushes < 2; flushes++) {
            for (gfn_t gfn = 0; gfn < 4; gfn++)
                guest_write(w->vcpu, SIDE_BASE + gfn);
            read_lock(&w->kvm->mmu_lock);
            assert_true(kvm_tdp_mmu_wrprot_slot(w->kvm, slot_by_id(w, 0, SIDE_SLOT), 1));
            read_unlock(&w->kvm->mmu_lock);
            assert_no_report();
            assert_true(tdpmmu_ledger_owes(w->kvm, 0, SIDE_BASE, SIDE_BASE + 1));
            if (flushes)
                kvm_flush_remote_tlbs_range(w->kvm, SIDE_BASE, 512);
            assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
            if (!flushes)
                assert_one_report(w, TDPMMU_DUE_HARVEST, "kvm_tdp_mmu_wrprot_slot");
            assert_no_report();
        }
        end(w);
    }
}

/* Somebody else's flush is as good. */
static void *flush_all(void *kvm)
{
    kvm_flush_remote_tlbs(kvm);
    return NULL;
}

static void any_threads_flush_pays(void **state)
{
    struct world *w = ledger_world(&machines[0]);
    pthread_t thread;

    (void)state;
    write_lock(&w->kvm->mmu_lock);
    assert_true(zap_leafs(w, 0, PAGES));
    assert_int_equal(pthread_create(&thread, NULL, flush_all, w->kvm), 0);
    pthread_join(thread, NULL);
    write_unlock(&w->kvm->mmu_lock);
    end(w);
}

/* What is taken away while a flush goes round is not paid by it. */
static struct kvm *zapped_under;

static void zap_under_flush(struct world *w)
{
    zapped_under = w->kvm;
    w->on_flush = NULL;
    assert_true(zap_leafs(w, 8, 9));
}

static void a_flush_does_not_pay_what_came_after_its_beginning(void **state)
{
    struct world *w = ledger_world(&machines[0]);

    (void)state;
    write_lock(&w->kvm->mmu_lock);
    w->on_flush = zap_under_flush;
    kvm_flush_remote_tlbs(w->kvm);
    assert_ptr_equal(zapped_under, w->kvm);
    assert_true(tdpmmu_ledger_owes(w->kvm, 0, 8, 9));
    write_unlock(&w->kvm->mmu_lock);
    assert_one_report(w, TDPMMU_DUE_UNLOCK, "kvm_tdp_mmu_zap_leafs");
    end(w);
}

static void aging_and_splitting_owe_nothing(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = ledger_world(m);
        struct kvm_gfn_range range = { .slot = slot_by_id(w, 0, 0), .start = 0, .end = 4096, .may_block = true };

        assert_int_equal(map_page(w, 1024, 2), RET_PF_FIXED);
        assert_true(kvm_tdp_mmu_age_gfn_range(w->kvm, &range));
        write_lock(&w->kvm->mmu_lock);
        assert_int_equal(kvm_tdp_mmu_try_split_huge_pages(w->kvm, range.slot, 0, 4096, 1, false), 0);
        assert_false(tdpmmu_ledger_owes(w->kvm, 0, 0, 4096));
        write_unlock(&w->kvm->mmu_lock);
        end(w);
    }
}

/* Under a root that every vCPU has left. */
static void invalid_roots_owe_nothing(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = ledger_world(m);

        write_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_invalidate_all_roots(w->kvm);
        kvm_tdp_mmu_zap_all(w->kvm);
        assert_false(tdpmmu_ledger_owes(w->kvm, 0, 0, UINT64_MAX));
        write_unlock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_zap_invalidated_roots(w->kvm);
        end(w);
    }
}

static void one_ledger_at_a_time(void **state)
{
    struct world *w = ledger_world(&machines[0]);

    (void)state;
    assert_int_equal(tdpmmu_ledger_attach(w->kvm, report, NULL), -EBUSY);
    assert_int_equal(atomic_load(&w->warnings), 1);
    world_forget(w);
    assert_int_equal(tdpmmu_ledger_detach(w->kvm), 0);
    assert_int_equal(tdpmmu_ledger_detach(w->kvm), -ENOENT);
    /* Nobody looks. */
    write_lock(&w->kvm->mmu_lock);
    assert_true(zap_leafs(w, 0, PAGES));
    assert_false(tdpmmu_ledger_owes(w->kvm, 0, 0, PAGES));
    write_unlock(&w->kvm->mmu_lock);
    keep_ledger(w);
    end(w); /* attached: what it has goes with the VM */
}

static void a_look_takes_no_page_out_of_the_log(void **state)
{
    static unsigned long bitmap[512 / 64];
    struct kvm_dirty_log log = { .slot = SIDE_SLOT, .dirty_bitmap = bitmap };

    (void)state;
    for_each_machine(m) {
        struct world *w = ledger_world(m);

        assert_int_equal(tdpmmu_page_is_dirty(w->kvm, 0, 3), -ENOENT);
        assert_int_equal(add_slot(w->kvm, SIDE_SLOT, KVM_MEM_LOG_DIRTY_PAGES, SIDE_BASE, 512, SIDE_HVA), 0);
        assert_int_equal(tdpmmu_page_is_dirty(w->kvm, 0, SIDE_BASE + 100), 0);
        guest_write(w->vcpu, SIDE_BASE + 100);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(tdpmmu_page_is_dirty(w->kvm, 0, SIDE_BASE + 100), 1);
            assert_int_equal(tdpmmu_page_is_dirty(w->kvm, 0, SIDE_BASE + 99), 0);
            assert_int_equal(tdpmmu_page_is_dirty(w->kvm, 0, SIDE_BASE + 101), 0);
            assert_int_equal(tdpmmu_page_is_dirty(w->kvm, 1, SIDE_BASE + 100), -ENOENT);
        }
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
        assert_int_equal(bitmap[1], 1ul << 36);
        assert_int_equal(tdpmmu_page_is_dirty(w->kvm, 0, SIDE_BASE + 100), 0);
        /* Under PML the CPU has it, and no bitmap yet. */
        guest_write(w->vcpu, SIDE_BASE + 100);
        assert_int_equal(tdpmmu_page_is_dirty(w->kvm, 0, SIDE_BASE + 100), 1);
        end(w);
    }
}

static struct world *cached_world(const struct machine *m)
{
    static const struct tdpmmu_cpus_config cpus = {
        .size = sizeof(cpus), .flags = TDPMMU_CPUS_FILL_NEVER, .check_every = UINT32_MAX };
    struct world *w = ledger_world(m);

    assert_int_equal(tdpmmu_cpus_check(w->kvm), -ENOENT);
    assert_int_equal(tdpmmu_cpus_attach(w->kvm, &cpus), 0);
    assert_int_equal(tdpmmu_cpus_check(w->kvm), 0);
    return w;
}

/* Not used yet, and reported; what is owed is not. */
static void what_cpus_keep_is_found(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct world *w = cached_world(m);

        for (gfn_t gfn = 3; gfn < 6; gfn++)
            assert_true(tdpmmu_cpu_access(w->vcpu, gfn << 12, PFERR_WRITE_MASK, NULL) > 0);
        assert_int_equal(tdpmmu_cpus_check(w->kvm), 0);
        read_lock(&w->kvm->mmu_lock);
        kvm_tdp_mmu_wrprot_slot(w->kvm, slot_by_id(w, 0, 0), 1);
        read_unlock(&w->kvm->mmu_lock);
        assert_int_equal(tdpmmu_cpus_check(w->kvm), 0); /* it may be flushed for still */
        kvm_flush_remote_tlbs(w->kvm);
        for (gfn_t gfn = 3; gfn < 6; gfn++)
            assert_true(tdpmmu_cpu_access(w->vcpu, gfn << 12, 0, NULL) > 0);
        write_lock(&w->kvm->mmu_lock);
        assert_true(zap_leafs(w, 4, 6));
        kvm_flush_remote_tlbs_range(w->kvm, 5, 1);
        write_unlock(&w->kvm->mmu_lock);
        assert_one_report(w, TDPMMU_DUE_UNLOCK, "kvm_tdp_mmu_zap_leafs");
        assert_int_equal(tdpmmu_cpus_check(w->kvm), 1); /* gfn 4 */
        assert_int_equal(w->last_warning.kind, TDPMMU_WARN_SPTE);
        world_forget(w);
        kvm_flush_remote_tlbs(w->kvm);
        assert_int_equal(tdpmmu_cpus_check(w->kvm), 0);
        end(w);
    }
}

/* An SPTE that lets a CPU write to a page that no log has. */
static void writes_that_no_log_sees_are_found(void **state)
{
    static unsigned long bitmap[512 / 64];
    struct kvm_dirty_log log = { .slot = SIDE_SLOT, .dirty_bitmap = bitmap };

    (void)state;
    for_each_machine(m) {
        struct world *w = cached_world(m);

        assert_int_equal(add_slot(w->kvm, SIDE_SLOT, KVM_MEM_LOG_DIRTY_PAGES, SIDE_BASE, 512, SIDE_HVA), 0);
        guest_write(w->vcpu, SIDE_BASE + 9);
        guest_write(w->vcpu, SIDE_BASE + 10);
        assert_int_equal(tdpmmu_cpus_check(w->kvm), 0);
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(w->kvm, &log), 0);
        *entry_of(w->vcpu, SIDE_BASE + 9, 1) |= W_BIT | m->dirty;
        assert_int_equal(tdpmmu_cpu_fill(w->vcpu, (SIDE_BASE + 9) << 12), 1);
        assert_int_equal(tdpmmu_cpu_fill(w->vcpu, (SIDE_BASE + 10) << 12), 1);
        assert_int_equal(tdpmmu_cpus_check(w->kvm), 1);
        assert_int_equal(w->last_warning.kind, TDPMMU_WARN_SPTE);
        world_forget(w);
        tdpmmu_mark_page_dirty(w->kvm, 0, SIDE_BASE + 9);
        assert_int_equal(tdpmmu_cpus_check(w->kvm), 0);
        end(w);
    }
}

static void a_look_at_rings(void **state)
{
    (void)state;
    for_each_machine(m) {
        struct tdpmmu_vm_config config = m->config;
        struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { 16384 } };
        struct kvm_dirty_gfn *ring;
        struct kvm_vcpu *vcpu;
        struct kvm *kvm;

        config.size = sizeof(config);
        kvm = tdpmmu_create_vm(&config);
        assert_non_null(kvm);
        assert_int_equal(kvm_vm_ioctl_enable_cap(kvm, &cap), 0);
        assert_non_null(tdpmmu_create_vcpu(kvm, 0));
        vcpu = tdpmmu_create_vcpu(kvm, 1);
        assert_int_equal(add_slot(kvm, 3, KVM_MEM_LOG_DIRTY_PAGES, 512, 512, WORLD_HVA), 0);
        assert_int_equal(kvm_mmu_load(vcpu), 0);
        assert_int_equal(tdpmmu_page_is_dirty(kvm, 0, 517), 0);
        guest_write(vcpu, 517);
        assert_int_equal(tdpmmu_page_is_dirty(kvm, 0, 517), 1);
        assert_int_equal(tdpmmu_page_is_dirty(kvm, 0, 518), 0);
        tdpmmu_cpu_exit(vcpu);
        assert_int_equal(tdpmmu_page_is_dirty(kvm, 0, 517), 1);
        ring = tdpmmu_vcpu_dirty_ring(vcpu, NULL);
        for (int i = 0; ring[i].flags & KVM_DIRTY_GFN_F_DIRTY; i++)
            __atomic_store_n(&ring[i].flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
        assert_in_range(kvm_vm_ioctl_reset_dirty_pages(kvm), 1, 2);
        assert_int_equal(tdpmmu_page_is_dirty(kvm, 0, 517), 0);
        tdpmmu_destroy_vm(kvm);
    }
}

static void use_meanwhile(void *ctx, struct kvm *kvm)
{
    struct world *w = ctx;

    (void)kvm;
    guest_access(w->vcpu, SIDE_BASE + 5, PFERR_WRITE_MASK);
    guest_access(w->vcpu, SIDE_BASE + 6, PFERR_FETCH_MASK); /* splits: no execution through huge pages */
}

/* A fault in a callback of an operation goes by a fault's rules, and leaves the operation's debts to it. */
static void a_fault_in_a_callback_is_a_fault(void **state)
{
    struct tdpmmu_ops ops = { .yielded = use_meanwhile };
    struct world *w = world_from((struct tdpmmu_vm_config){ .nx_huge_pages = 1, .no_eager_split = 1, .ops = &ops });

    (void)state;
    world_forges(w); /* Linux's own lost writes, docs/KERNELS.md */
    keep_ledger(w);
    assert_int_equal(add_slot(w->kvm, 1, 0, SIDE_BASE, 512, SIDE_HVA), 0);
    assert_int_equal(guest_access(w->vcpu, SIDE_BASE, PFERR_WRITE_MASK), 2);
    assert_int_equal(add_slot(w->kvm, 1, KVM_MEM_LOG_DIRTY_PAGES, SIDE_BASE, 512, SIDE_HVA), 0);
    assert_int_not_equal(spte_at(w->vcpu, SIDE_BASE + 7, 1), NO_SPTE);
    assert_no_report();
    w->fault = "the log has it not";
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_caller_who_flushes_is_not_heard_of),
        cmocka_unit_test(a_caller_who_does_not_is),
        cmocka_unit_test(a_flush_that_is_too_short_pays_a_part),
        cmocka_unit_test(bits_are_due_when_the_log_is_read),
        cmocka_unit_test(any_threads_flush_pays),
        cmocka_unit_test(a_flush_does_not_pay_what_came_after_its_beginning),
        cmocka_unit_test(aging_and_splitting_owe_nothing),
        cmocka_unit_test(invalid_roots_owe_nothing),
        cmocka_unit_test(one_ledger_at_a_time),
        cmocka_unit_test(a_look_takes_no_page_out_of_the_log),
        cmocka_unit_test(what_cpus_keep_is_found),
        cmocka_unit_test(writes_that_no_log_sees_are_found),
        cmocka_unit_test(a_look_at_rings),
        cmocka_unit_test(a_fault_in_a_callback_is_a_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
