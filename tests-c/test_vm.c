/* SPDX-License-Identifier: GPL-2.0-only */
/* VMs, vCPUs, memory slots, generations. */
#include "test_helpers.h"

/* ---- configuration -------------------------------------------------------- */

static void defaults(void **state)
{
    struct kvm *kvm = tdpmmu_create_vm(NULL);
    struct kvm_vcpu *vcpu;
    struct kvm_mmu_page *root;

    (void)state;
    assert_non_null(kvm);
    vcpu = tdpmmu_create_vcpu(kvm, 7);
    assert_non_null(vcpu);
    assert_ptr_equal(tdpmmu_vcpu_kvm(vcpu), kvm);
    assert_int_equal(tdpmmu_vcpu_id(vcpu), 7);
    assert_int_equal(tdpmmu_vcpu_as_id(vcpu), 0);
    assert_null(tdpmmu_vcpu_root(vcpu));
    assert_int_equal(stats_of(kvm).tables, 0);
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    root = tdpmmu_vcpu_root(vcpu);
    assert_int_equal(root->role.level, 4);
    assert_int_equal(root->role.ad_disabled, 0);
    assert_int_equal(stats_of(kvm).roots, 1);
    tdpmmu_destroy_vcpu(vcpu);
    tdpmmu_destroy_vm(kvm);
}

static struct kvm *try_config(struct tdpmmu_vm_config config)
{
    struct kvm *kvm;

    config.size = sizeof(config);
    errno = 0;
    kvm = tdpmmu_create_vm(&config);
    if (!kvm)
        assert_int_equal(errno, EINVAL);
    return kvm;
}

static void accepted_configs(void **state)
{
    (void)state;
    for (unsigned vendor = 0; vendor <= 1; vendor++)
        for (unsigned root_level = 4; root_level <= 5; root_level++)
            for (unsigned maxphyaddr = 36; maxphyaddr <= 52; maxphyaddr++) {
                struct kvm *kvm = try_config((struct tdpmmu_vm_config){
                    .vendor = vendor, .root_level = root_level, .maxphyaddr = maxphyaddr });
                struct kvm_vcpu *vcpu;

                assert_non_null(kvm);
                vcpu = tdpmmu_create_vcpu(kvm, 0);
                assert_int_equal(kvm_mmu_load(vcpu), 0);
                assert_int_equal(tdpmmu_vcpu_root(vcpu)->role.level, root_level);
                tdpmmu_destroy_vm(kvm);
            }
}

static void refused_configs(void **state)
{
    const struct tdpmmu_vm_config bad[] = {
        { .vendor = 2 }, { .vendor = UINT32_MAX }, { .root_level = 3 }, { .root_level = 6 },
        { .root_level = 1 }, { .maxphyaddr = 35 }, { .maxphyaddr = 53 },
        { .maxphyaddr = UINT32_MAX }, { .ad_disabled = 2 },
        { .vendor = TDPMMU_NPT, .ad_disabled = 1 },
    };

    (void)state;
    tdpmmu_set_warn_handler(world_warn, &process_world);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (try_config(bad[i]))
            fail_msg("config %u was accepted", i);
    tdpmmu_set_warn_handler(NULL, NULL);
}

/* A size smaller than the leading field, or a tail that asks for the unknown. */
static void config_sizes(void **state)
{
    struct {
        struct tdpmmu_vm_config known;
        uint64_t later[4];
    } big = { .known = { .size = sizeof(big) } };
    struct tdpmmu_vm_config small = { .vendor = TDPMMU_NPT, .root_level = 99 };
    struct kvm *kvm;

    (void)state;
    tdpmmu_set_warn_handler(world_warn, &process_world);
    kvm = tdpmmu_create_vm(&big.known);
    assert_non_null(kvm);
    tdpmmu_destroy_vm(kvm);

    big.later[3] = 1ull << 40;
    errno = 0;
    assert_null(tdpmmu_create_vm(&big.known));
    assert_int_equal(errno, E2BIG);

    for (size_t size = 0; size < sizeof(size_t); size++) {
        small.size = size;
        errno = 0;
        assert_null(tdpmmu_create_vm(&small));
        assert_int_equal(errno, EINVAL);
    }
    small.size = SIZE_MAX; /* must be refused without a look at the tail */
    errno = 0;
    assert_null(tdpmmu_create_vm(&small));
    assert_true(errno == EINVAL || errno == E2BIG);

    /* The first version's options ended with ops_ctx; there is none with fewer. */
    small.root_level = 0;
    small.size = offsetof(struct tdpmmu_vm_config, nx_huge_pages) - 1;
    errno = 0;
    assert_null(tdpmmu_create_vm(&small));
    assert_int_equal(errno, EINVAL);
    small.size = sizeof(small);
    kvm = tdpmmu_create_vm(&small);
    assert_non_null(kvm);
    tdpmmu_destroy_vm(kvm);
    tdpmmu_set_warn_handler(NULL, NULL);
}

static void ops_are_copied(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);

    (void)state;
    memset(&w->ops, 0, sizeof(w->ops));
    world_forget(w);
    map_pages(w, 0, 1, 1);
    assert_int_equal(w->change_count, 4);
    world_free(w);
}

/* ---- vCPUs ---------------------------------------------------------------- */

static void vcpu_ids(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);

    (void)state;
    assert_non_null(tdpmmu_create_vcpu(w->kvm, 4095));
    errno = 0;
    assert_null(tdpmmu_create_vcpu(w->kvm, 4096));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(tdpmmu_create_vcpu(w->kvm, -1));
    assert_int_equal(errno, EINVAL);
    errno = 0;
    assert_null(tdpmmu_create_vcpu(w->kvm, 0));
    assert_int_equal(errno, EEXIST);
    tdpmmu_destroy_vcpu(w->vcpu);
    w->vcpu = tdpmmu_create_vcpu(w->kvm, 0); /* the id is free again */
    assert_non_null(w->vcpu);
    world_forget(w);
    world_free(w);
}

static void vcpu_address_space(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    struct kvm_mmu_page *normal = tdpmmu_vcpu_root(w->vcpu);

    (void)state;
    assert_int_equal(tdpmmu_vcpu_set_as_id(w->vcpu, 1), 0);
    assert_int_equal(tdpmmu_vcpu_as_id(w->vcpu), 1);
    assert_null(tdpmmu_vcpu_root(w->vcpu));
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(tdpmmu_vcpu_root(w->vcpu)->role.smm, 1);
    assert_ptr_not_equal(tdpmmu_vcpu_root(w->vcpu), normal);
    assert_int_equal(stats_of(w->kvm).roots, 2);
    assert_int_equal(tdpmmu_vcpu_set_as_id(w->vcpu, 0), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_ptr_equal(tdpmmu_vcpu_root(w->vcpu), normal); /* roots are kept and found again */
    assert_no_warning(w);
    assert_int_equal(tdpmmu_vcpu_set_as_id(w->vcpu, 2), -EINVAL);
    assert_int_equal(tdpmmu_vcpu_set_as_id(w->vcpu, -1), -EINVAL);
    assert_int_equal(tdpmmu_vcpu_as_id(w->vcpu), 0);
    world_forget(w);
    world_free(w);
}

/* ---- slots ---------------------------------------------------------------- */

#define GFN (16ull * GIB_PAGES) /* above the world's own slot */

static void slot_add_and_find(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    const struct kvm_memory_slot *slot;

    (void)state;
    assert_int_equal(add_slot(w->kvm, 5, KVM_MEM_LOG_DIRTY_PAGES, GFN, 10, 0x7000), 0);
    rcu_read_lock();
    slot = tdpmmu_id_to_memslot(w->kvm, 0, 5);
    assert_non_null(slot);
    assert_int_equal(slot->base_gfn, GFN);
    assert_int_equal(slot->npages, 10);
    assert_int_equal(slot->userspace_addr, 0x7000);
    assert_int_equal(slot->flags, KVM_MEM_LOG_DIRTY_PAGES);
    assert_int_equal(slot->id, 5);
    assert_int_equal(slot->as_id, 0);
    assert_ptr_equal(gfn_to_memslot(w->kvm, GFN), slot);
    assert_ptr_equal(gfn_to_memslot(w->kvm, GFN + 9), slot);
    assert_null(gfn_to_memslot(w->kvm, GFN - 1));
    assert_null(gfn_to_memslot(w->kvm, GFN + 10));
    assert_null(tdpmmu_id_to_memslot(w->kvm, 0, 6));
    assert_null(tdpmmu_id_to_memslot(w->kvm, 1, 5));
    rcu_read_unlock();
    world_free(w);
}

static void slots_of_two_address_spaces(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);

    (void)state;
    assert_int_equal(add_slot(w->kvm, 1u << 16 | 0, 0, 0, 100, 0x200000), 0);
    rcu_read_lock();
    assert_int_equal(tdpmmu_id_to_memslot(w->kvm, 1, 0)->npages, 100);
    assert_int_equal(tdpmmu_id_to_memslot(w->kvm, 1, 0)->as_id, 1);
    assert_int_equal(gfn_to_memslot(w->kvm, 0)->as_id, 0);
    assert_int_equal(kvm_vcpu_gfn_to_memslot(w->vcpu, 0)->as_id, 0);
    rcu_read_unlock();
    assert_int_equal(tdpmmu_vcpu_set_as_id(w->vcpu, 1), 0);
    rcu_read_lock();
    assert_int_equal(kvm_vcpu_gfn_to_memslot(w->vcpu, 0)->as_id, 1);
    assert_null(kvm_vcpu_gfn_to_memslot(w->vcpu, 100));
    rcu_read_unlock();
    world_free(w);
}

static void slot_delete_move_flags(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);

    (void)state;
    assert_int_equal(add_slot(w->kvm, 5, 0, GFN, 512, 0x200000), 0);
    map_pages(w, GFN, 1, 1);

    assert_int_equal(add_slot(w->kvm, 5, KVM_MEM_LOG_DIRTY_PAGES, GFN, 512, 0x200000), 0);
    rcu_read_lock();
    assert_int_equal(tdpmmu_id_to_memslot(w->kvm, 0, 5)->flags, KVM_MEM_LOG_DIRTY_PAGES);
    rcu_read_unlock();
    assert_int_equal(add_slot(w->kvm, 5, 0, GFN, 512, 0x200000), 0);

    /* A move zaps everything and makes the vCPU load a new root. */
    assert_int_equal(add_slot(w->kvm, 5, 0, GFN + 1024, 512, 0x200000), 0);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    rcu_read_lock();
    assert_null(gfn_to_memslot(w->kvm, GFN));
    assert_non_null(gfn_to_memslot(w->kvm, GFN + 1024));
    rcu_read_unlock();
    assert_int_equal(map_page(w, GFN + 1024, 1), RET_PF_RETRY);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(map_page(w, GFN + 1024, 1), RET_PF_FIXED);

    assert_int_equal(delete_slot(w->kvm, 5), 0);
    assert_int_equal(stats_of(w->kvm).pages_4k, 0);
    rcu_read_lock();
    assert_null(gfn_to_memslot(w->kvm, GFN + 1024));
    assert_null(tdpmmu_id_to_memslot(w->kvm, 0, 5));
    rcu_read_unlock();
    assert_no_warning(w);
    assert_int_equal(delete_slot(w->kvm, 5), -EINVAL);
    world_forget(w);
    world_free(w);
}

static void many_slots(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    const unsigned count = 600;

    (void)state;
    for (unsigned i = 0; i < count; i++) {
        unsigned mixed = i * 7 % count; /* not in order of gfn */

        assert_int_equal(add_slot(w->kvm, 1 + mixed, 0, GFN + mixed * 4, 3, 0x1000), 0);
    }
    rcu_read_lock();
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(gfn_to_memslot(w->kvm, GFN + i * 4)->id, 1 + i);
        assert_int_equal(gfn_to_memslot(w->kvm, GFN + i * 4 + 2)->id, 1 + i);
        assert_null(gfn_to_memslot(w->kvm, GFN + i * 4 + 3));
    }
    rcu_read_unlock();
    for (unsigned i = 0; i < count; i += 2)
        assert_int_equal(delete_slot(w->kvm, 1 + i), 0);
    rcu_read_lock();
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(gfn_to_memslot(w->kvm, GFN + i * 4) != NULL, i % 2);
    rcu_read_unlock();
    world_free(w);
}

struct slot_case {
    const char *name;
    int error;
    struct kvm_userspace_memory_region region;
};

/* Slot 5 is [GFN, GFN + 512) at hva 0x200000; each case must change nothing. */
static void slot_refusals(void **state)
{
    const uint64_t gpa = GFN << 12, size = 512 << 12, hva = 0x200000, top = 1ull << 46;
    const struct slot_case cases[] = {
        { "unaligned gpa", -EINVAL, { 6, 0, gpa * 2 + 1, size, hva } },
        { "unaligned size", -EINVAL, { 6, 0, gpa * 2, size + 5, hva } },
        { "unaligned hva", -EINVAL, { 6, 0, gpa * 2, size, hva + 8 } },
        { "gpa wraps", -EINVAL, { 6, 0, UINT64_MAX << 12, size, hva } },
        { "size wraps", -EINVAL, { 6, 0, gpa * 2, UINT64_MAX << 12, hva } },
        { "hva wraps", -EINVAL, { 6, 0, gpa * 2, size, UINT64_MAX << 12 } },
        { "ends beyond MAXPHYADDR", -EINVAL, { 6, 0, top - size + 4096, size, hva } },
        { "begins beyond MAXPHYADDR", -EINVAL, { 6, 0, top, size, hva } },
        { "id too high", -EINVAL, { KVM_USER_MEM_SLOTS, 0, gpa * 2, size, hva } },
        { "address space 2", -EINVAL, { 2u << 16, 0, gpa * 2, size, hva } },
        { "unknown flag", -EINVAL, { 6, 1u << 9, gpa * 2, size, hva } },
        { "resize", -EINVAL, { 5, 0, gpa, size * 2, hva } },
        { "other host memory", -EINVAL, { 5, 0, gpa, size, hva * 2 } },
        { "becomes read-only", -EINVAL, { 5, KVM_MEM_READONLY, gpa, size, hva } },
        { "nothing to delete", -EINVAL, { 6, 0, gpa * 2, 0, 0 } },
        { "overlaps the tail", -EEXIST, { 6, 0, gpa + size - 4096, size, hva } },
        { "overlaps the head", -EEXIST, { 6, 0, gpa - size + 4096, size, hva } },
        { "covers", -EEXIST, { 6, 0, gpa - size, 3 * size, hva } },
        { "is covered", -EEXIST, { 6, 0, gpa + 4096, 4096, hva } },
        { "moves onto another", -EEXIST, { 5, 0, 4096, size, hva } },
    };
    struct world *w = world_new(TDPMMU_EPT, 4);
    uint64_t generation, sum;
    struct tdpmmu_stats before, after;

    (void)state;
    assert_int_equal(add_slot(w->kvm, 5, 0, GFN, 512, hva), 0);
    map_pages(w, GFN, 8, 1);
    generation = tdpmmu_memslots_generation(w->kvm, 0);
    sum = checksum(w->vcpu);
    before = stats_of(w->kvm);
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int ret;

        world_forget(w);
        ret = kvm_set_memory_region(w->kvm, &cases[i].region);
        if (ret != cases[i].error)
            fail_msg("%s: got %d, expected %d", cases[i].name, ret, cases[i].error);
        assert_in_range(warnings(w), 0, 1);
        after = stats_of(w->kvm);
        after.warnings = before.warnings;
        assert_memory_equal(&before, &after, sizeof(before));
        assert_int_equal(tdpmmu_memslots_generation(w->kvm, 0), generation);
        assert_int_equal(checksum(w->vcpu), sum);
        rcu_read_lock();
        assert_null(tdpmmu_id_to_memslot(w->kvm, 0, 6));
        assert_int_equal(tdpmmu_id_to_memslot(w->kvm, 0, 5)->base_gfn, GFN);
        rcu_read_unlock();
    }
    world_forget(w);
    /* Just fits: up to MAXPHYADDR, and touching a neighbour. */
    assert_int_equal(add_slot(w->kvm, 6, 0, (top >> 12) - 512, 512, hva), 0);
    assert_int_equal(add_slot(w->kvm, 7, 0, GFN + 512, 1, hva), 0);
    assert_int_equal(add_slot(w->kvm, KVM_USER_MEM_SLOTS - 1, 0, GFN - 1, 1, hva), 0);
    world_free(w);
}

static void generation_moves(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);
    uint64_t seen, now;

    (void)state;
    seen = tdpmmu_memslots_generation(w->kvm, 0);
    assert_int_equal(add_slot(w->kvm, 5, 0, GFN, 512, 0x200000), 0);
    now = tdpmmu_memslots_generation(w->kvm, 0);
    assert_true(now > seen);
    seen = now;
    assert_int_equal(add_slot(w->kvm, 5, 0, GFN + 512, 512, 0x200000), 0);
    now = tdpmmu_memslots_generation(w->kvm, 0);
    assert_true(now > seen);
    seen = now;
    assert_int_equal(delete_slot(w->kvm, 5), 0);
    now = tdpmmu_memslots_generation(w->kvm, 0);
    assert_true(now > seen);
    world_free(w);
}

/* ---- the whole fault path -------------------------------------------------- */

static kvm_pfn_t odd_pfn(void *ctx, struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn,
                         bool write, bool *writable, int *max_level)
{
    (void)ctx;
    (void)kvm;
    (void)slot;
    assert_int_equal(*max_level, KVM_MAX_HUGEPAGE_LEVEL);
    assert_false(rcu_read_lock_held());
    *writable = true;
    *max_level = PG_LEVEL_4K;
    if (gfn == 1)
        return KVM_PFN_ERR_FAULT;
    if (gfn == 2)
        return KVM_PFN_ERR_HWPOISON;
    if (gfn == 3 && write)
        return KVM_PFN_ERR_RO_FAULT;
    return 0x777000 + gfn;
}

static void gfn_to_pfn_callback(void **state)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .gfn_to_pfn = odd_pfn, .warn = world_warn };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops,
                                       .ops_ctx = &process_world };
    struct kvm *kvm = tdpmmu_create_vm(&config);
    struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(kvm, 0);

    (void)state;
    assert_int_equal(add_slot(kvm, 0, 0, 0, 4096, 0x200000), 0);
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, 0, 0), RET_PF_RETRY); /* no root yet */
    assert_int_equal(kvm_mmu_load(vcpu), 0);
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, 0x5000, PFERR_WRITE_MASK), RET_PF_FIXED);
    kvm_tdp_mmu_page_fault(vcpu, 0x5123, PFERR_WRITE_MASK); /* may still take Dirty away, as 6.12 does */
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, 0x5123, PFERR_WRITE_MASK), RET_PF_SPURIOUS);
    assert_int_equal(spte_to_pfn(spte_at(vcpu, 5, 1)), 0x777005);
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, 0x1000, 0), -EFAULT);
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, 0x2000, 0), -EHWPOISON);
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, 0x3000, PFERR_WRITE_MASK), RET_PF_EMULATE);
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, 0x10000000, 0), RET_PF_EMULATE); /* no slot */
    assert_int_equal(kvm_tdp_mmu_page_fault(vcpu, 1ull << 46, 0), RET_PF_EMULATE);
    tdpmmu_destroy_vm(kvm);
}

/* With no callback the pfn is the frame of the slot's host address, at any level. */
static void default_pfn(void **state)
{
    struct world *w = world_new(TDPMMU_NPT, 4);
    int level;
    uint64_t spte;

    (void)state;
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, 0x40000000 + 0x5000, PFERR_WRITE_MASK),
                     RET_PF_FIXED);
    spte = walk_end(w->vcpu, GIB_PAGES + 5, &level);
    assert_int_equal(level, PG_LEVEL_1G);
    assert_int_equal(spte_to_pfn(spte), (WORLD_HVA >> 12) + GIB_PAGES);
    assert_true(is_writable_pte(spte));

    assert_int_equal(add_slot(w->kvm, 5, KVM_MEM_READONLY, GFN, 512, WORLD_HVA), 0);
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, GFN << 12, 0), RET_PF_FIXED);
    assert_false(is_writable_pte(walk_end(w->vcpu, GFN, &level)));
    assert_int_equal(kvm_tdp_mmu_page_fault(w->vcpu, GFN << 12, PFERR_WRITE_MASK), RET_PF_EMULATE);
    world_free(w);
}

/* Destroying a VM takes its vCPUs, roots and tables along, silently. */
static void destroy_takes_all(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 5);

    (void)state;
    for (int id = 1; id < 20; id++) {
        struct kvm_vcpu *vcpu = tdpmmu_create_vcpu(w->kvm, id);

        assert_int_equal(tdpmmu_vcpu_set_as_id(vcpu, id & 1), 0);
        assert_int_equal(kvm_mmu_load(vcpu), 0);
    }
    map_pages(w, 0, 100, 1);
    world_forget(w);
    tdpmmu_destroy_vm(w->kvm);
    assert_no_warning(w);
    tdpmmu_set_warn_handler(NULL, NULL);
    free(w);
}

/* uninit twice is harmless; init makes the VM usable again. */
static void uninit_and_init(void **state)
{
    struct world *w = world_new(TDPMMU_EPT, 4);

    (void)state;
    map_pages(w, 0, 10, 1);
    assert_int_equal(kvm_mmu_init_tdp_mmu(w->kvm), -EBUSY);
    world_forget(w);
    kvm_mmu_uninit_tdp_mmu(w->kvm);
    assert_int_equal(stats_of(w->kvm).tables, 0);
    assert_null(tdpmmu_vcpu_root(w->vcpu));
    assert_no_warning(w);
    assert_int_equal(map_page(w, 0, 1), -EINVAL);
    assert_int_not_equal(kvm_mmu_load(w->vcpu), 0);
    assert_int_equal(kvm_mmu_init_tdp_mmu(w->kvm), 0);
    assert_int_equal(kvm_mmu_load(w->vcpu), 0);
    world_forget(w);
    map_pages(w, 0, 10, 1);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(accepted_configs),
        cmocka_unit_test(refused_configs),
        cmocka_unit_test(config_sizes),
        cmocka_unit_test(ops_are_copied),
        cmocka_unit_test(vcpu_ids),
        cmocka_unit_test(vcpu_address_space),
        cmocka_unit_test(slot_add_and_find),
        cmocka_unit_test(slots_of_two_address_spaces),
        cmocka_unit_test(slot_delete_move_flags),
        cmocka_unit_test(many_slots),
        cmocka_unit_test(slot_refusals),
        cmocka_unit_test(generation_moves),
        cmocka_unit_test(gfn_to_pfn_callback),
        cmocka_unit_test(default_pfn),
        cmocka_unit_test(destroy_takes_all),
        cmocka_unit_test(uninit_and_init),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
