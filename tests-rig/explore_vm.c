/* SPDX-License-Identifier: GPL-2.0-only */
/* Scenarios: slots, dirty logs, roots, NX. */
#include "guest.h"

static bool was_written;  /* the guest has written GFN */
static bool in_log;       /* and a dirty log says so */

static void logged_with(enum tdpmmu_vendor vendor)
{
    make_guest_with((struct tdpmmu_vm_config){.vendor = vendor}, 2, KVM_MEM_LOG_DIRTY_PAGES);
    fault_in(0, GFN, 0);
}

static void logged(void) { logged_with(TDPMMU_EPT); }
static void logged_npt(void) { logged_with(TDPMMU_NPT); }

static void plain(void)
{
    make_guest(TDPMMU_EPT, 2);
    fault_in(0, GFN, PFERR_WRITE_MASK);
    use(0, GFN, true);
}

static void write_page(void)
{
    fault_in(0, GFN, PFERR_WRITE_MASK);
    if (use(0, GFN, true))
        was_written = true;
}

static void harvest(void)
{
    static uint64_t bitmap[SLOT_PAGES / 64];
    struct kvm_dirty_log log = {.slot = 0, .dirty_bitmap = bitmap};

    tdpmmu_explore_assert(kvm_vm_ioctl_get_dirty_log(guest.kvm, &log) == 0);
    in_log |= bitmap[GFN / 64] >> (GFN % 64) & 1;
}

static bool nothing_is_lost(void)
{
    harvest();
    tdpmmu_explore_assert(!was_written || in_log);
    return guest_is_sound();
}

static void switch_logging(void)
{
    struct kvm_userspace_memory_region region = {.flags = KVM_MEM_LOG_DIRTY_PAGES, .memory_size = SLOT_PAGES << 12,
                                                 .userspace_addr = HVA};

    tdpmmu_explore_assert(kvm_set_memory_region(guest.kvm, &region) == 0);
    tdpmmu_schedule_point(&was_written, true);
    was_written = false; /* what was written before need not be logged */
}

static void delete_slot(void)
{
    struct kvm_userspace_memory_region region = {.userspace_addr = HVA};

    tdpmmu_explore_assert(kvm_set_memory_region(guest.kvm, &region) == 0);
    tdpmmu_schedule_point(&guest.moves, true);
    guest.moves++;
    guest.freed_until = guest.moves;
}

static void fault_once(void)
{
    if (kvm_mmu_load(guest.vcpu[0]) == 0 && fault(0, GFN, PFERR_WRITE_MASK) == RET_PF_FIXED)
        use(0, GFN, true);
}

static void zap_all(void)
{
    kvm_mmu_zap_all_fast(guest.kvm);
}

static void load_and_fault(void)
{
    tdpmmu_explore_assert(kvm_mmu_load(guest.vcpu[0]) == 0);
    (void)fault(0, GFN, PFERR_WRITE_MASK);
}

static void reload_b(void)
{
    kvm_mmu_unload(guest.vcpu[1]);
    tdpmmu_explore_assert(kvm_mmu_load(guest.vcpu[1]) == 0);
}

static void unload_a(void)
{
    kvm_mmu_unload(guest.vcpu[0]);
}

/* A root that is invalid and zapped, and that one CPU still has. */
static void last_reference(void)
{
    plain();
    kvm_mmu_zap_all_fast(guest.kvm);
    kvm_mmu_unload(guest.vcpu[1]);
}

static void visit_roots(void)
{
    kvm_tdp_mmu_zap_invalidated_roots(guest.kvm);
}

static void nx_guest(void)
{
    guest.level = 2;
    make_guest_with((struct tdpmmu_vm_config){.vendor = TDPMMU_EPT, .nx_huge_pages = 1}, 2, 0);
    fault_in(0, GFN, PFERR_FETCH_MASK);
    fault_in(0, GFN + 1, PFERR_WRITE_MASK);
}

static void fetch(void)
{
    fault_in(0, GFN + 1, PFERR_FETCH_MASK);
}

static void nx_recovery(void)
{
    tdpmmu_explore_assert(tdpmmu_nx_recover(guest.kvm, 1) >= 0);
}

static void nx_off(void)
{
    tdpmmu_explore_assert(tdpmmu_set_nx_huge_pages(guest.kvm, false) == 0);
}

static void ring_guest(void)
{
    struct kvm_enable_cap cap = {.cap = 192 /* KVM_CAP_DIRTY_LOG_RING */, .args = {16384}};
    struct kvm_userspace_memory_region region = {.flags = KVM_MEM_LOG_DIRTY_PAGES, .memory_size = SLOT_PAGES << 12,
                                                 .userspace_addr = HVA};
    static struct tdpmmu_ops ops;
    struct tdpmmu_vm_config config = {.size = sizeof(config), .ops = &ops, .vendor = TDPMMU_NPT};

    ops = (struct tdpmmu_ops){.size = sizeof(ops), .gfn_to_pfn = guest_pfn, .flush_tlb = guest_flush,
                              .spte_changed = guest_changed, .vcpu_request = guest_request};
    guest.level = 1;
    guest.is_writable = true;
    guest.kvm = tdpmmu_create_vm(&config);
    tdpmmu_explore_assert(guest.kvm && kvm_vm_ioctl_enable_cap(guest.kvm, &cap) == 0);
    guest.vcpu[0] = tdpmmu_create_vcpu(guest.kvm, 0);
    tdpmmu_explore_assert(guest.vcpu[0] && kvm_set_memory_region(guest.kvm, &region) == 0);
    tdpmmu_explore_assert(kvm_mmu_load(guest.vcpu[0]) == 0);
    guest.slot = the_slot();
    fault_in(0, GFN, 0);
    tdpmmu_explore_name(&guest.kvm->mmu_lock, sizeof(guest.kvm->mmu_lock), "mmu_lock");
}

static uint32_t next_entry;

static void read_ring(void)
{
    uint32_t entries;
    struct kvm_dirty_gfn *ring = tdpmmu_vcpu_dirty_ring(guest.vcpu[0], &entries);

    for (;; next_entry++) {
        tdpmmu_schedule_point(&ring[next_entry % entries].flags, true);
        if (ring[next_entry % entries].flags != KVM_DIRTY_GFN_F_DIRTY)
            break;
        in_log |= ring[next_entry % entries].offset == GFN;
        ring[next_entry % entries].flags = KVM_DIRTY_GFN_F_RESET;
    }
}

static void reap(void)
{
    read_ring();
    tdpmmu_explore_assert(kvm_vm_ioctl_reset_dirty_pages(guest.kvm) >= 0);
}

/* From here on what is written has to be in the ring anew. */
static void reap_and_forget(void)
{
    reap();
    tdpmmu_schedule_point(&was_written, true);
    was_written = in_log = false;
}

static void write_twice(void)
{
    write_page();
    if (use(0, GFN, true)) /* by what the CPU remembers, if it may */
        was_written = true;
}

static bool ring_has_it(void)
{
    tdpmmu_cpu_exit(guest.vcpu[0]);
    read_ring();
    tdpmmu_explore_assert(!was_written || in_log);
    return guest_is_sound();
}

#define SCENARIO(n, what, up, see, ...) \
    {.name = n, .about = what, .set_up = up, .prepare = warm_up, .thread = {__VA_ARGS__}, .check = see}
/* Zapping a root is thousands of steps at words that the other thread reads. */
#define RANDOM(n, what, up, see, ...) \
    {.name = n, .about = what, .set_up = up, .prepare = warm_up, .thread = {__VA_ARGS__}, .check = see, \
     .flags = TDPMMU_SCENARIO_RANDOM}

static const struct tdpmmu_scenario scenarios[] = {
    SCENARIO("log_harvest_pml", "a page is written while the dirty log is read: PML", logged, nothing_is_lost, write_page, harvest),
    SCENARIO("log_harvest", "the same by write-protection", logged_npt, nothing_is_lost, write_page, harvest),
    SCENARIO("log_two_harvests", "two read the dirty log", logged_npt, nothing_is_lost, write_page, harvest, harvest),
    SCENARIO("log_switch", "dirty logging is switched on beside a fault", plain, guest_is_sound, write_page, switch_logging),
    SCENARIO("ring_reset", "a page goes into a ring that is read and reset", ring_guest, ring_has_it, write_page, reap),
    SCENARIO("ring_again", "a page is written again beside a reset", ring_guest, ring_has_it, write_twice, reap_and_forget),
    RANDOM("slot_delete", "a slot goes away beside a fault in it", plain, guest_is_sound, fault_once, delete_slot),
    RANDOM("root_zap_all", "all roots are invalidated beside a load and a fault", plain, guest_is_sound, load_and_fault, zap_all),
    RANDOM("root_two_zaps", "two invalidate all roots", plain, guest_is_sound, zap_all, zap_all),
    SCENARIO("root_unload", "the last two references to a root are dropped", plain, guest_is_sound, unload_a, reload_b),
    SCENARIO("root_last", "the last reference is dropped while a walk comes to the root", last_reference, guest_is_sound,
             unload_a, visit_roots),
    SCENARIO("nx_recovery_fetch", "a split is recovered beside a fetch through it", nx_guest, guest_is_sound, fetch, nx_recovery),
    RANDOM("nx_switch_fetch", "NX is switched off beside a fetch", nx_guest, guest_is_sound, fetch, nx_off),
    RANDOM("root_three", "a load, an unload and an invalidation", plain, guest_is_sound, reload_b, unload_a, zap_all),
};

int main(int argc, char **argv)
{
    return tdpmmu_explore_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(*scenarios));
}
