/* SPDX-License-Identifier: GPL-2.0-only */
/* Scenarios: faults beside what takes pages away. */
#include "guest.h"

static void one_page(void)
{
    make_guest(TDPMMU_EPT, 3);
    fault_in(0, GFN + 1, PFERR_WRITE_MASK);
}

static void fault_a(void)
{
    fault_in(0, GFN, PFERR_WRITE_MASK);
    use(0, GFN, true);
}

static void fault_b(void)
{
    fault_in(1, GFN, PFERR_WRITE_MASK);
    use(1, GFN, true);
}

static void zap(void)
{
    write_lock(&guest.kvm->mmu_lock);
    if (kvm_tdp_mmu_zap_leafs(guest.kvm, GFN, GFN + 2, false))
        kvm_flush_remote_tlbs_range(guest.kvm, GFN, 2);
    write_unlock(&guest.kvm->mmu_lock);
}

static void host_takes_back(void)
{
    take_back(false);
}

static const struct tdpmmu_scenario scenarios[] = {
    {.name = "fault_zap", .about = "a fault and an access beside a zap of the page", .set_up = one_page, .prepare = warm_up,
     .thread = {fault_a, zap}, .check = guest_is_sound, .tear_down = free_guest},
    {.name = "fault_fault", .about = "two CPUs fault at one page", .set_up = one_page, .prepare = warm_up,
     .thread = {fault_a, fault_b}, .check = guest_is_sound, .tear_down = free_guest},
    {.name = "fault_notifier", .about = "the host takes a page back while it is mapped", .set_up = one_page,
     .prepare = warm_up, .thread = {fault_a, host_takes_back}, .check = guest_is_sound, .tear_down = free_guest},
};

int main(int argc, char **argv)
{
    return tdpmmu_explore_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(*scenarios));
}
