/* SPDX-License-Identifier: GPL-2.0-only */
/* Scenarios: faults and accesses beside what takes pages and rights away. */
#include "guest.h"

static void one_page(void)
{
    make_guest(TDPMMU_EPT, 3);
    fault_in(0, GFN + 1, PFERR_WRITE_MASK);
}

static void one_page_npt(void)
{
    make_guest(TDPMMU_NPT, 3);
    fault_in(0, GFN + 1, PFERR_WRITE_MASK);
}

static void a_mapped_page(void)
{
    one_page();
    fault_in(0, GFN, PFERR_WRITE_MASK);
    use(0, GFN, true);
}

static void no_page(void)
{
    make_guest(TDPMMU_EPT, 3);
}

static void a_huge_page(void)
{
    guest.level = 2;
    make_guest(TDPMMU_EPT, 3);
    fault_in(0, GFN, PFERR_WRITE_MASK);
}

static void a_split_page(void)
{
    make_guest(TDPMMU_EPT, 3);
    fault_in(0, GFN, PFERR_WRITE_MASK);
    fault_in(0, GFN + 1, PFERR_WRITE_MASK);
    guest.level = 2;
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

static void read_b(void)
{
    fault_in(1, GFN, 0);
    use(1, GFN, false);
}

static void use_a(void)
{
    use(0, GFN, true);
    use(0, GFN, true);
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
    take_back(1);
}

static void host_takes_all_back(void)
{
    take_back(512);
}

static void split(void)
{
    read_lock(&guest.kvm->mmu_lock);
    tdpmmu_explore_assert(kvm_tdp_mmu_try_split_huge_pages(guest.kvm, guest.slot, GFN, GFN + 512, 1, true) == 0);
    read_unlock(&guest.kvm->mmu_lock);
    kvm_flush_remote_tlbs_range(guest.kvm, GFN, 512);
}

static void recover(void)
{
    read_lock(&guest.kvm->mmu_lock);
    kvm_tdp_mmu_recover_huge_pages(guest.kvm, guest.slot);
    read_unlock(&guest.kvm->mmu_lock);
}

static void collapse(void)
{
    read_lock(&guest.kvm->mmu_lock);
    kvm_tdp_mmu_zap_collapsible_sptes(guest.kvm, guest.slot);
    read_unlock(&guest.kvm->mmu_lock);
}

static bool was_young, was_written;

/* A CPU's write will set Dirty. */
static void a_clean_page(void)
{
    one_page();
    fault_in(0, GFN, 0);
    read_lock(&guest.kvm->mmu_lock);
    tdpmmu_explore_assert(kvm_tdp_mmu_clear_dirty_slot(guest.kvm, guest.slot));
    read_unlock(&guest.kvm->mmu_lock);
}

static void write_b(void)
{
    was_written = use(1, GFN, true);
}

static void age(void)
{
    write_lock(&guest.kvm->mmu_lock);
    was_young = kvm_tdp_mmu_age_hva_range(guest.kvm, HVA + (GFN << 12), HVA + ((GFN + 1) << 12));
    write_unlock(&guest.kvm->mmu_lock);
}

static bool look_at_age(void)
{
    int level;

    /* The page stays, and what the CPU wrote stays dirty. */
    tdpmmu_explore_assert(was_written && was_young);
    tdpmmu_explore_assert(leaf_of(0, GFN, &level) & (UINT64_C(1) << 9));
    return guest_is_sound();
}

static void write_protect(void)
{
    bool flush;

    read_lock(&guest.kvm->mmu_lock);
    flush = kvm_tdp_mmu_wrprot_slot(guest.kvm, guest.slot, 1);
    read_unlock(&guest.kvm->mmu_lock);
    if (flush)
        kvm_flush_remote_tlbs_range(guest.kvm, 0, SLOT_PAGES);
}

static void fast_fault(void)
{
    int ret = tdpmmu_fast_page_fault(guest.vcpu[1], GFN << 12, PFERR_WRITE_MASK | PFERR_PRESENT_MASK);

    tdpmmu_explore_assert(ret >= 0);
    use(1, GFN, true);
}

static void a_protected_page(void)
{
    a_mapped_page();
    write_protect();
}

#define SCENARIO(n, what, up, ...) \
    {.name = n, .about = what, .set_up = up, .prepare = warm_up, .thread = {__VA_ARGS__}, .check = guest_is_sound, \
     .end = guest_end}

static struct kvm_mmu_page *table;

static void a_table(void)
{
    one_page();
    fault_in(0, GFN, PFERR_WRITE_MASK);
    table = table_of(0, GFN);
}

static void look_at_table(void)
{
    (void)tdpmmu_fast_page_fault(guest.vcpu[1], GFN << 12, PFERR_WRITE_MASK | PFERR_PRESENT_MASK);
}

static void zap_table(void)
{
    write_lock(&guest.kvm->mmu_lock);
    tdpmmu_explore_assert(kvm_tdp_mmu_zap_sp(guest.kvm, table));
    kvm_flush_remote_tlbs(guest.kvm);
    write_unlock(&guest.kvm->mmu_lock);
}

/* What a CPU's faults remember is not a table that is gone: all is at rest, and a fault ends well at once. */
static bool a_fault_ends_well(void)
{
    int level, ret;

    tdpmmu_explore_assert(kvm_mmu_load(guest.vcpu[1]) == 0);
    ret = fault(1, GFN, PFERR_WRITE_MASK);
    tdpmmu_explore_assert(ret == RET_PF_FIXED || ret == RET_PF_SPURIOUS);
    tdpmmu_explore_assert(leaf_of(1, GFN, &level) != 0);
    return guest_is_sound();
}

static const struct tdpmmu_scenario scenarios[] = {
    SCENARIO("fault_zap", "a fault and an access beside a zap of the page", one_page, fault_a, zap),
    SCENARIO("fault_zap_npt", "the same with nested page tables of AMD", one_page_npt, fault_a, zap),
    SCENARIO("fault_fault", "two CPUs fault at one page", one_page, fault_a, fault_b),
    SCENARIO("fault_tables", "two CPUs fault where no table is yet", no_page, fault_a, fault_b),
    SCENARIO("read_write", "one CPU reads a page that another writes", one_page, fault_a, read_b),
    SCENARIO("fault_notifier", "the host takes a page back that is faulted in", one_page, fault_a, host_takes_back),
    SCENARIO("use_notifier", "the host takes a page back that the guest uses", a_mapped_page, use_a, host_takes_back),
    SCENARIO("use_zap", "a page is zapped that the guest uses", a_mapped_page, use_a, zap),
    SCENARIO("zap_zap", "two zap the same page", a_mapped_page, zap, host_takes_back),
    SCENARIO("split_use", "a huge page is split that the guest writes to", a_huge_page, split, use_a),
    SCENARIO("split_fault", "a huge page is split beside a fault in it", a_huge_page, split, fault_b),
    SCENARIO("split_split", "two split the same page", a_huge_page, split, split),
    SCENARIO("split_notifier", "the host takes back what is split", a_huge_page, split, host_takes_all_back),
    SCENARIO("recover_use", "a huge page is put together that the guest uses", a_split_page, recover, use_a),
    SCENARIO("recover_fault", "a huge page is put together beside a fault in it", a_split_page, recover, fault_b),
    SCENARIO("collapse_fault", "small pages are zapped for a huge one beside a fault", a_split_page, collapse, fault_b),
    SCENARIO("fast_fault_zap", "a fault without mmu_lock beside a zap", a_protected_page, fast_fault, zap),
    SCENARIO("fast_fault_protect", "the same beside write-protection", a_mapped_page, fast_fault, write_protect),
    {.name = "age_use", .about = "a page is aged that a CPU writes to", .set_up = a_clean_page, .prepare = warm_up,
     .thread = {write_b, age}, .check = look_at_age},
    {.name = "memory_zap", .about = "what a fault remembers of a table that is zapped", .set_up = a_table,
     .prepare = warm_up, .thread = {look_at_table, zap_table}, .check = a_fault_ends_well, .end = guest_end},
    SCENARIO("fault_fault_zap", "two faults and a zap", one_page, fault_a, fault_b, zap),
    SCENARIO("use_fault_notifier", "a CPU uses and another faults what the host takes back", a_mapped_page, use_a, fault_b,
             host_takes_back),
};

int main(int argc, char **argv)
{
    return tdpmmu_explore_main(argc, argv, scenarios, sizeof(scenarios) / sizeof(*scenarios));
}
