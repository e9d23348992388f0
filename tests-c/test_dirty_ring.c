/* SPDX-License-Identifier: GPL-2.0-only */
/* Dirty rings: pushed by faults, harvested by the rig, reset, never overrun. */
#include "test_helpers.h"

#define RING_BYTES 4096u
#define RING_ENTRIES (RING_BYTES / sizeof(struct kvm_dirty_gfn))
#define SLOT_PAGES 2048u

struct ring_world {
    struct kvm *kvm;
    struct kvm_vcpu *vcpu;
    struct kvm_dirty_gfn *ring;
    uint32_t size;
    uint32_t next; /* the entry the rig looks at */
};

static void count_warning(void *ctx, struct kvm *kvm, const struct tdpmmu_warning *warning)
{
    (void)kvm;
    (void)warning;
    ++*(unsigned *)ctx;
}

static int enable(struct kvm *kvm, uint64_t bytes)
{
    struct kvm_enable_cap cap = { .cap = KVM_CAP_DIRTY_LOG_RING, .args = { bytes } };

    return kvm_vm_ioctl_enable_cap(kvm, &cap);
}

static void set_flags(struct kvm *kvm, uint32_t flags)
{
    struct kvm_userspace_memory_region region = {
        .slot = 3, .flags = flags, .memory_size = SLOT_PAGES << 12, .userspace_addr = 1ull << 40,
    };

    assert_int_equal(kvm_set_memory_region(kvm, &region), 0);
}

static struct ring_world ring_world(unsigned *warnings)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .warn = count_warning };
    struct tdpmmu_vm_config config = {
        .size = sizeof(config), .vendor = TDPMMU_NPT, .ops = &ops, .ops_ctx = warnings,
    };
    struct ring_world w = { .kvm = tdpmmu_create_vm(&config) };

    assert_non_null(w.kvm);
    assert_int_equal(enable(w.kvm, RING_BYTES), 0);
    w.vcpu = tdpmmu_create_vcpu(w.kvm, 0);
    assert_non_null(w.vcpu);
    w.ring = tdpmmu_vcpu_dirty_ring(w.vcpu, &w.size);
    assert_non_null(w.ring);
    assert_int_equal(w.size, RING_ENTRIES);
    assert_int_equal(kvm_mmu_load(w.vcpu), 0);
    set_flags(w.kvm, KVM_MEM_LOG_DIRTY_PAGES);
    return w;
}

static int write_page(struct ring_world *w, gfn_t gfn)
{
    int ret = kvm_tdp_mmu_page_fault(w->vcpu, gfn << 12, PFERR_WRITE_MASK);

    if (ret == RET_PF_FIXED)
        assert_int_equal(tdpmmu_cpu_access(w->vcpu, gfn << 12, PFERR_WRITE_MASK, NULL), 1);
    return ret;
}

/* The rig takes one entry; false if none is dirty. */
static bool harvest(struct ring_world *w, gfn_t *offset)
{
    struct kvm_dirty_gfn *entry = &w->ring[w->next % w->size];

    if (__atomic_load_n(&entry->flags, __ATOMIC_ACQUIRE) != KVM_DIRTY_GFN_F_DIRTY)
        return false;
    assert_int_equal(entry->slot, 3);
    *offset = entry->offset;
    __atomic_store_n(&entry->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    w->next++;
    return true;
}

static uint64_t leaf(struct ring_world *w, gfn_t gfn)
{
    uint64_t sptes[6] = { 0 };
    int root_level, level;

    rcu_read_lock();
    level = kvm_tdp_mmu_get_walk(w->vcpu, gfn << 12, sptes, &root_level);
    rcu_read_unlock();
    return sptes[level];
}

static void pages_come_in_order_and_again_after_reset(void **state)
{
    static const gfn_t pages[] = { 7, 6, 70, 5, 1000 };
    unsigned warnings = 0;
    struct ring_world w = ring_world(&warnings);
    gfn_t offset;

    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 5; i++)
            assert_int_equal(write_page(&w, pages[i]), RET_PF_FIXED);
        for (size_t i = 0; i < 5; i++) {
            assert_true(is_writable_pte(leaf(&w, pages[i])));
            assert_true(harvest(&w, &offset));
            assert_int_equal(offset, pages[i]);
        }
        assert_false(harvest(&w, &offset));
        assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(w.kvm), 5);
        for (size_t i = 0; i < 5; i++)
            assert_false(is_writable_pte(leaf(&w, pages[i])));
        assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(w.kvm), 0);
    }
    assert_int_equal(warnings, 0);
    tdpmmu_destroy_vm(w.kvm);
}

/* Put the bug in: let ringIsFull answer false in Sources/MMU/DirtyRing.swift. */
static void a_full_ring_loses_nothing(void **state)
{
    unsigned warnings = 0;
    struct ring_world w = ring_world(&warnings);
    static bool dirty[SLOT_PAGES];
    gfn_t offset, gfn = 0;
    unsigned seen = 0, refused = 0;

    (void)state;
    memset(dirty, 0, sizeof(dirty));
    while (gfn < SLOT_PAGES) {
        int ret;

        /* Past the soft limit of the page-fault path, as a device might. */
        read_lock(&w.kvm->mmu_lock);
        ret = kvm_tdp_mmu_map(w.vcpu, gfn << 12, PFERR_WRITE_MASK, true, 1, gfn, false);
        read_unlock(&w.kvm->mmu_lock);
        if (ret == RET_PF_FIXED) {
            gfn++;
            continue;
        }
        assert_int_equal(ret, -ENOBUFS);
        assert_int_equal(kvm_tdp_mmu_page_fault(w.vcpu, gfn << 12, PFERR_WRITE_MASK), -ENOBUFS);
        assert_false(is_shadow_present_pte(leaf(&w, gfn)));
        refused++;
        while (harvest(&w, &offset))
            dirty[offset] = true;
        assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(w.kvm), w.size);
    }
    while (harvest(&w, &offset))
        dirty[offset] = true;
    for (gfn = 0; gfn < SLOT_PAGES; gfn++)
        seen += dirty[gfn];
    assert_int_equal(seen, SLOT_PAGES);
    assert_true(refused >= SLOT_PAGES / RING_ENTRIES - 1);
    assert_int_equal(warnings, 0);
    tdpmmu_destroy_vm(w.kvm);
}

static void the_fault_path_stops_with_room_left(void **state)
{
    unsigned warnings = 0;
    struct ring_world w = ring_world(&warnings);
    gfn_t gfn = 0, offset;

    (void)state;
    while (write_page(&w, gfn) == RET_PF_FIXED)
        gfn++;
    assert_true(gfn > 0 && gfn < w.size);
    assert_int_equal(write_page(&w, gfn), -ENOBUFS);
    assert_true(harvest(&w, &offset));
    assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(w.kvm), 1);
    assert_int_equal(write_page(&w, gfn), RET_PF_FIXED);
    assert_int_equal(warnings, 0);
    tdpmmu_destroy_vm(w.kvm);
}

/* The ring's memory is the rig's to write: nonsense in it must harm nobody. */
static void nonsense_in_the_ring_is_harmless(void **state)
{
    unsigned warnings = 0;
    struct ring_world w = ring_world(&warnings);

    (void)state;
    for (gfn_t gfn = 0; gfn < 4; gfn++)
        assert_int_equal(write_page(&w, gfn), RET_PF_FIXED);
    w.ring[0].slot = UINT32_MAX;
    w.ring[1].slot = 99;
    w.ring[2].offset = UINT64_MAX;
    w.ring[3].offset = SLOT_PAGES;
    for (int i = 0; i < 4; i++)
        __atomic_store_n(&w.ring[i].flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(w.kvm), 4);
    for (gfn_t gfn = 0; gfn < 4; gfn++)
        assert_true(is_writable_pte(leaf(&w, gfn)));
    assert_int_equal(warnings, 0);
    tdpmmu_destroy_vm(w.kvm);
}

static void sizes_and_times_that_cannot_be(void **state)
{
    static const uint64_t sizes[] = { 0, 1, 2048, 4097, 6144, 2 << 20, UINT64_MAX };
    unsigned warnings = 0;
    struct ring_world w = ring_world(&warnings);
    struct tdpmmu_ops ops = { .size = sizeof(ops), .warn = count_warning };
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops, .ops_ctx = &warnings };
    struct kvm *other = tdpmmu_create_vm(&config);
    uint32_t size = 1;

    (void)state;
    assert_int_equal(enable(w.kvm, RING_BYTES), -EINVAL); /* it has a vCPU */
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        assert_int_equal(enable(other, sizes[i]), sizes[i] == 2 << 20 ? -E2BIG : -EINVAL);
    assert_int_equal(warnings, 0); /* as the ioctl: the errno alone */
    assert_null(tdpmmu_vcpu_dirty_ring(tdpmmu_create_vcpu(other, 0), &size));
    assert_int_equal(size, 0);
    assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(other), -EINVAL);
    tdpmmu_destroy_vm(other);
    tdpmmu_destroy_vm(w.kvm);
}

/* The smallest ring, and after how many pages the vCPU stops: 64 entries are kept, and 512 more
 * for what the CPU logs by itself. */
static void sizes_and_reserve(void **state)
{
    static const struct { uint32_t vendor, no_pml, smallest, reserve; } kinds[] = {
        { TDPMMU_NPT, 0, 4096, 64 }, { TDPMMU_EPT, 1, 4096, 64 }, { TDPMMU_EPT, 0, 16384, 576 } };

    (void)state;
    for (int k = 0; k < 3; k++) {
        unsigned warnings = 0;
        struct tdpmmu_ops ops = { .size = sizeof(ops), .warn = count_warning };
        struct tdpmmu_vm_config config = {
            .size = sizeof(config), .vendor = kinds[k].vendor, .no_pml = kinds[k].no_pml,
            .ops = &ops, .ops_ctx = &warnings };
        struct ring_world w = { .kvm = tdpmmu_create_vm(&config) };
        gfn_t gfn = 0, offset;

        assert_int_equal(enable(w.kvm, kinds[k].smallest / 2), -EINVAL);
        assert_int_equal(enable(w.kvm, kinds[k].smallest), 0);
        assert_int_equal(enable(w.kvm, 65536), -EINVAL); /* once */
        w.vcpu = tdpmmu_create_vcpu(w.kvm, 0);
        w.ring = tdpmmu_vcpu_dirty_ring(w.vcpu, &w.size);
        assert_int_equal(w.size, kinds[k].smallest / 16);
        assert_int_equal(kvm_mmu_load(w.vcpu), 0);
        set_flags(w.kvm, KVM_MEM_LOG_DIRTY_PAGES);
        while (write_page(&w, gfn) == RET_PF_FIXED)
            gfn++;
        assert_int_equal(gfn, w.size - kinds[k].reserve);
        assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(w.kvm), 0); /* nothing harvested */
        assert_int_equal(write_page(&w, gfn), -ENOBUFS);
        assert_true(harvest(&w, &offset));
        assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(w.kvm), 1);
        assert_int_equal(write_page(&w, gfn), RET_PF_FIXED);
        assert_int_equal(write_page(&w, gfn + 1), -ENOBUFS);
        assert_int_equal(warnings, 0); /* as the ioctl: the errno alone */
        tdpmmu_destroy_vm(w.kvm);
    }
}

/* With PML the CPU dirties without a fault: it is stopped when its log has gone into the ring, which had
 * room for all of it; what no ring takes is told. */
static void pml_stops_before_the_ring_is_full(void **state)
{
    struct tdpmmu_ops ops = { .size = sizeof(ops), .warn = count_warning };
    unsigned warnings = 0, written = 0, named = 0;
    struct tdpmmu_vm_config config = { .size = sizeof(config), .ops = &ops, .ops_ctx = &warnings };
    struct ring_world w = { .kvm = tdpmmu_create_vm(&config) };
    uint64_t error_code;

    (void)state;
    assert_int_equal(enable(w.kvm, 16384), 0);
    w.vcpu = tdpmmu_create_vcpu(w.kvm, 0);
    w.ring = tdpmmu_vcpu_dirty_ring(w.vcpu, &w.size);
    assert_int_equal(kvm_mmu_load(w.vcpu), 0);
    set_flags(w.kvm, 0);
    for (gfn_t gfn = 0; gfn < SLOT_PAGES; gfn++) {
        read_lock(&w.kvm->mmu_lock); /* as 4K pages */
        assert_int_equal(kvm_tdp_mmu_map(w.vcpu, gfn << 12, PFERR_WRITE_MASK, true, 1, gfn, false), RET_PF_FIXED);
        read_unlock(&w.kvm->mmu_lock);
    }
    set_flags(w.kvm, KVM_MEM_LOG_DIRTY_PAGES); /* all writable and clean */
    for (gfn_t gfn = 0; gfn < SLOT_PAGES; gfn++) {
        int ret = tdpmmu_cpu_access(w.vcpu, gfn << 12, PFERR_WRITE_MASK, &error_code);

        assert_true(ret == 1 || ret == -ENOBUFS);
        written += ret == 1;
        assert_int_equal(is_dirty_spte(w.kvm, leaf(&w, gfn)), ret == 1);
    }
    assert_int_equal(tdpmmu_cpu_exit(w.vcpu), 0); /* it was full, so it has been emptied */
    for (uint32_t i = 0; i < w.size; i++)
        named += w.ring[i].flags == KVM_DIRTY_GFN_F_DIRTY;
    assert_int_equal(written, 512);
    assert_int_equal(named, written);
    assert_int_equal(tdpmmu_cpu_access(w.vcpu, 0, PFERR_WRITE_MASK, NULL), 1); /* dirty already */
    assert_int_equal(warnings, 0);
    tdpmmu_mark_page_dirty(w.kvm, 0, 3); /* no vCPU, no ring, no bitmap */
    assert_int_equal(warnings, 1);
    tdpmmu_destroy_vm(w.kvm);
}

/* With rings there are no bitmaps, whatever slot one asks for. */
static void no_bitmaps_beside_rings(void **state)
{
    unsigned warnings = 0;
    struct ring_world w = ring_world(&warnings);
    uint64_t bits[SLOT_PAGES / 64] = { 0 };
    struct kvm_dirty_log log = { .slot = 3, .dirty_bitmap = bits };
    struct kvm_clear_dirty_log clear = { .slot = 3, .num_pages = 64, .dirty_bitmap = bits };

    (void)state;
    assert_int_equal(kvm_vm_ioctl_get_dirty_log(w.kvm, &log), -ENXIO);
    assert_int_equal(kvm_vm_ioctl_clear_dirty_log(w.kvm, &clear), -ENXIO);
    assert_int_equal(warnings, 0);
    tdpmmu_destroy_vm(w.kvm);
}

/* Rings are reset in the order in which their vCPUs were made, as recorded kernels do. */
static void rings_are_reset_in_order(void **state)
{
    enum { VCPUS = 3 };
    struct tdpmmu_vm_config config = { .vendor = TDPMMU_NPT, .no_pml = 1 };
    struct kvm_vcpu *vcpus[VCPUS];
    struct kvm_dirty_gfn *ring;
    struct world *w;
    uint32_t size;

    (void)state;
    w = world_from(config);
    tdpmmu_destroy_vcpu(w->vcpu); /* a VM with a vCPU takes no rings */
    assert_int_equal(enable(w->kvm, RING_BYTES), 0);
    assert_int_equal(add_slot(w->kvm, 0, KVM_MEM_LOG_DIRTY_PAGES, 0, WORLD_SLOT_PAGES, WORLD_HVA), 0);
    for (int i = 0; i < VCPUS; i++) {
        vcpus[i] = tdpmmu_create_vcpu(w->kvm, 10 - i);
        assert_int_equal(kvm_mmu_load(vcpus[i]), 0);
    }
    for (int i = VCPUS - 1; i >= 0; i--)
        assert_int_equal(kvm_tdp_mmu_page_fault(vcpus[i], (gfn_t)(100 + i) << 12, PFERR_WRITE_MASK), RET_PF_FIXED);
    for (int i = 0; i < VCPUS; i++) {
        ring = tdpmmu_vcpu_dirty_ring(vcpus[i], &size);
        assert_int_equal(ring[0].offset, 100 + i);
        __atomic_store_n(&ring[0].flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    }
    world_forget(w);
    assert_int_equal(kvm_vm_ioctl_reset_dirty_pages(w->kvm), VCPUS);
    assert_int_equal(atomic_load(&w->change_count), VCPUS);
    for (int i = 0; i < VCPUS; i++)
        assert_int_equal(w->change[i].gfn, 100 + i);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_and_reserve),
        cmocka_unit_test(pml_stops_before_the_ring_is_full),
        cmocka_unit_test(rings_are_reset_in_order),
        cmocka_unit_test(no_bitmaps_beside_rings),
        cmocka_unit_test(pages_come_in_order_and_again_after_reset),
        cmocka_unit_test(a_full_ring_loses_nothing),
        cmocka_unit_test(the_fault_path_stops_with_room_left),
        cmocka_unit_test(nonsense_in_the_ring_is_harmless),
        cmocka_unit_test(sizes_and_times_that_cannot_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
