/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A CPU that sets Dirty, stopped at each of its instructions in turn, while another thread that moves
 * the slot goes on, and empties the CPU's log: a page that was written is in the log of either place.
 */
/* modes: plain (single steps of the library that ships) */
#include "test_helpers.h"

#include <sched.h>
#include <time.h>

#if !defined(__x86_64__)
#error "steps.h is for x86-64"
#endif
#include "steps.h"

#define HVA 0x10000000000ull
#define PAGES 64u
#define PAGE 5u
#define HERE 0x1000u
#define THERE 0x2000u

static struct kvm *kvm;
static struct kvm_vcpu *vcpu;
static gfn_t place;
static int level;
static atomic_uint complaints;
/* The instruction at which the writer stops, while it is wanted: 0 else. */
static atomic_long wanted;
/* The writer stands at that instruction, or has come to its end. */
static atomic_bool stands, is_done, has_moved, acted;

static void note_warning(void *ctx, struct kvm *of, const struct tdpmmu_warning *warning)
{
    (void)ctx, (void)of, (void)warning;
    atomic_fetch_add(&complaints, 1);
}

static kvm_pfn_t small_page(void *ctx, struct kvm *of, const struct kvm_memory_slot *slot, gfn_t gfn,
                            bool write, bool *writable, int *max_level)
{
    (void)ctx, (void)of, (void)write, (void)writable;
    *max_level = 1;
    return (slot->userspace_addr >> 12) + gfn - slot->base_gfn;
}

static int put_slot_at(gfn_t gfn)
{
    struct kvm_userspace_memory_region region = {
        .flags = KVM_MEM_LOG_DIRTY_PAGES, .guest_phys_addr = gfn << 12, .memory_size = PAGES << 12,
        .userspace_addr = HVA,
    };

    return kvm_set_memory_region(kvm, &region);
}

static long microseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The mover may have to wait for what this thread holds, so it is not waited for long. */
static void stand(void)
{
    long end = microseconds() + 3000;

    atomic_store(&stands, true);
    while (!atomic_load(&has_moved) && microseconds() < end)
        sched_yield();
}

static void write_once(void)
{
    level = tdpmmu_cpu_access(vcpu, (HERE + PAGE) << 12, PFERR_WRITE_MASK, NULL);
}

static void *writer_main(void *unused)
{
    long at;

    /* A thread's first use of the library blocks signals. */
    kvm_mmu_load(vcpu);
    kvm_tdp_mmu_page_fault(vcpu, HERE << 12, PFERR_WRITE_MASK);
    tdpmmu_cpu_access(vcpu, HERE << 12, PFERR_WRITE_MASK, NULL);
    tdpmmu_cpu_exit(vcpu);
    atomic_store(&is_done, true);
    while ((at = atomic_load(&wanted)) >= 0) {
        if (at > 0) {
            atomic_store(&acted, run_in_steps(at, stand, write_once));
            atomic_store(&wanted, 0);
            atomic_store(&is_done, true);
        } else {
            sched_yield();
        }
    }
    return unused;
}

/* In the middle of the move: the page before is zapped, the page itself is not. */
static long next_stop;

static void note_change(void *ctx, struct kvm *of, int as_id, gfn_t gfn, int at_level, uint64_t old_spte,
                        uint64_t new_spte, bool shared)
{
    (void)ctx, (void)of, (void)as_id, (void)old_spte, (void)shared;
    if (gfn != HERE + PAGE - 1 || at_level != 1 || is_shadow_present_pte(new_spte) || !next_stop)
        return;
    atomic_store(&wanted, next_stop);
    next_stop = 0;
    while (!atomic_load(&stands) && !atomic_load(&is_done))
        sched_yield();
}

/* A page that the guest may write, Dirty clear, at HERE. */
static void prepare(void)
{
    uint64_t bits[1] = { 0 };
    struct kvm_dirty_log log = { .dirty_bitmap = bits };

    if (place != HERE) {
        assert_int_equal(put_slot_at(HERE), 0);
        place = HERE;
    }
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    for (gfn_t gfn = HERE + PAGE - 1; gfn <= HERE + PAGE; gfn++)
        assert_true(kvm_tdp_mmu_page_fault(vcpu, gfn << 12, PFERR_WRITE_MASK) >= 0);
    tdpmmu_cpu_exit(vcpu);
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(kvm, &log), 0);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
}

static void move_while_it_stands_at(long at)
{
    atomic_store(&stands, false);
    atomic_store(&is_done, false);
    atomic_store(&has_moved, false);
    next_stop = at;
    assert_int_equal(put_slot_at(THERE), 0);
    place = THERE;
    atomic_store(&has_moved, true);
    while (!atomic_load(&is_done))
        sched_yield();
}

static void a_page_is_written_while_its_slot_moves(void **state)
{
    long made = 0, late = 0;
    pthread_t writer;

    (void)state;
    allow_steps();
    assert_int_equal(pthread_create(&writer, NULL, writer_main, NULL), 0);
    while (!atomic_load(&is_done))
        sched_yield();
    for (long at = 1;; at++) {
        uint64_t bits[1] = { 0 };
        struct kvm_dirty_log log = { .dirty_bitmap = bits };

        prepare();
        move_while_it_stands_at(at);
        tdpmmu_cpu_exit(vcpu);
        assert_int_equal(kvm_vm_ioctl_get_dirty_log(kvm, &log), 0);
        if (level > 0)
            made++;
        else
            late++;
        if (level > 0 && !(bits[0] >> PAGE & 1))
            fail_msg("written, and in no log: it stood at instruction %ld", at);
        if (!atomic_load(&acted))
            break;
    }
    atomic_store(&wanted, -1);
    pthread_join(writer, NULL);
    /* It came before the page was zapped, and behind. */
    assert_true(made > 0);
    assert_true(late > 0);
    assert_int_equal(atomic_load(&complaints), 0);
}

static int begin(void **state)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .gfn_to_pfn = small_page, .warn = note_warning,
                              .spte_changed = note_change };
    struct tdpmmu_vm_config config = {
        .size = sizeof(config), .vendor = TDPMMU_EPT, .ops = &ops, .zap_slot_only = 1,
    };

    (void)state;
    kvm = tdpmmu_create_vm(&config);
    vcpu = kvm ? tdpmmu_create_vcpu(kvm, 0) : NULL;
    place = HERE;
    return vcpu && put_slot_at(HERE) == 0 ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    tdpmmu_destroy_vm(kvm);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_is_written_while_its_slot_moves),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
