/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every exported function, called as it must not be: it says no (an error, or
 * where the signature has none exactly one warning), and nothing has changed.
 * `make check-symbols` looks that each public function is named in this file.
 */
#include "test_helpers.h"

#include <limits.h>
#include <unistd.h>

#define BEYOND (UINT64_C(1) << 34) /* first gfn that does not exist: MAXPHYADDR 46 */
#define BAD_POINTER ((void *)0x123456789000)
#define TOP_POINTER ((void *)UINTPTR_MAX) /* what errno-pointers look like */

static struct world *a, *b;    /* two VMs */
static struct kvm_vcpu *bare;  /* a vCPU of a without a root */
static uint64_t own_page[512] __attribute__((aligned(4096))); /* no table of the library's */
static struct kvm_mmu_page own_header;
static struct tdp_iter iter, never_begun;
static uint64_t sptes[6], spte;
static int root_level;
static uint32_t entries;
static struct tdpmmu_check_stats check_stats;
static struct tdpmmu_stats stats;
static struct rcu_head head;

static struct kvm_mmu_page *root_a(void)
{
    return tdpmmu_vcpu_root(a->vcpu);
}

static struct kvm_mmu_page *root_b(void)
{
    return tdpmmu_vcpu_root(b->vcpu);
}

static bool iter_refused(void *root_pt, int level, int min_level, gfn_t gfn)
{
    memset(&iter, 0xff, sizeof(iter));
    tdp_iter_start(&iter, root_pt, level, min_level, gfn);
    return !iter.valid;
}

static bool iter_refused_in_rcu(void *root_pt, int level, int min_level, gfn_t gfn)
{
    bool refused;

    rcu_read_lock();
    refused = iter_refused(root_pt, level, min_level, gfn);
    rcu_read_unlock();
    return refused;
}

static struct kvm *create(struct tdpmmu_vm_config config)
{
    errno = 0;
    return tdpmmu_create_vm(&config);
}

static struct kvm *create_with_ops(size_t size)
{
    struct tdpmmu_ops ops = { .size = size };

    return create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .ops = &ops });
}

static int region(struct kvm *kvm, uint32_t id, uint32_t flags, uint64_t gpa, uint64_t size,
                  uint64_t hva)
{
    struct kvm_userspace_memory_region r = { id, flags, gpa, size, hva };

    return kvm_set_memory_region(kvm, &r);
}

static int map(struct kvm_vcpu *vcpu, gpa_t gpa, int max_level, kvm_pfn_t pfn)
{
    int ret;

    read_lock(&a->kvm->mmu_lock);
    ret = kvm_tdp_mmu_map(vcpu, gpa, PFERR_WRITE_MASK, true, max_level, pfn, false);
    read_unlock(&a->kvm->mmu_lock);
    return ret;
}

static int get_walk(struct kvm_vcpu *vcpu, gpa_t gpa, uint64_t *out, int *level)
{
    int ret;

    rcu_read_lock();
    ret = kvm_tdp_mmu_get_walk(vcpu, gpa, out, level);
    rcu_read_unlock();
    return ret;
}

/* Run a call with a lock that it does not want, or wants. */
#define LOCKED_W(call) (write_lock(&a->kvm->mmu_lock), (call), write_unlock(&a->kvm->mmu_lock))
#define LOCKED_R(call) (read_lock(&a->kvm->mmu_lock), (call), read_unlock(&a->kvm->mmu_lock))
#define IN_RCU(call) (rcu_read_lock(), (call), rcu_read_unlock())

static int ret;
static bool flag;
static const void *pointer;

static bool unmap(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t start, gfn_t end, bool flush)
{
    struct kvm_gfn_range range = { .slot = slot, .start = start, .end = end, .may_block = true };

    return kvm_tdp_mmu_unmap_gfn_range(kvm, &range, flush);
}

static const struct kvm_memory_slot *slot_of(struct world *w)
{
    const struct kvm_memory_slot *slot;

    rcu_read_lock();
    slot = tdpmmu_id_to_memslot(w->kvm, 0, 0);
    rcu_read_unlock();
    return slot;
}

static bool age(const struct kvm_memory_slot *slot, struct kvm *kvm, gfn_t start, gfn_t end)
{
    struct kvm_gfn_range range = { .slot = slot, .start = start, .end = end };

    return kvm_tdp_mmu_age_gfn_range(kvm, &range);
}

static bool test_age(const struct kvm_memory_slot *slot, struct kvm *kvm, gfn_t start, gfn_t end)
{
    struct kvm_gfn_range range = { .slot = slot, .start = start, .end = end };

    return kvm_tdp_mmu_test_age_gfn(kvm, &range);
}

static int get_log(struct kvm *kvm, uint32_t slot, void *bitmap)
{
    struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };

    return kvm_vm_ioctl_get_dirty_log(kvm, &log);
}

static int clear_log(struct kvm *kvm, uint32_t slot, uint64_t first, uint32_t pages, void *bitmap)
{
    struct kvm_clear_dirty_log log = {
        .slot = slot, .first_page = first, .num_pages = pages, .dirty_bitmap = bitmap };

    return kvm_vm_ioctl_clear_dirty_log(kvm, &log);
}

static int enable(struct kvm *kvm, uint32_t number, uint32_t flags, uint64_t argument)
{
    struct kvm_enable_cap cap = { .cap = number, .flags = flags, .args = { argument } };

    return kvm_vm_ioctl_enable_cap(kvm, &cap);
}

static int prefault(struct kvm_vcpu *vcpu, uint64_t gpa, uint64_t size, uint64_t flags)
{
    struct kvm_pre_fault_memory range = { .gpa = gpa, .size = size, .flags = flags };

    return kvm_vcpu_pre_fault_memory(vcpu, &range);
}

static int split(const struct kvm_memory_slot *slot, gfn_t start, gfn_t end, int level)
{
    int ret;

    read_lock(&a->kvm->mmu_lock);
    ret = kvm_tdp_mmu_try_split_huge_pages(a->kvm, slot, start, end, level, true);
    read_unlock(&a->kvm->mmu_lock);
    return ret;
}

/* A table below the root. */
static struct kvm_mmu_page *table_of(struct world *w)
{
    struct kvm_mmu_page *table;

    rcu_read_lock();
    table = sptep_to_sp(spte_to_child_pt(
        __atomic_load_n(tdpmmu_vcpu_root(w->vcpu)->spt, __ATOMIC_RELAXED), 4));
    rcu_read_unlock();
    return table;
}

/* An entry of a, with a table below. */
static struct tdp_iter *entry_a(void)
{
    rcu_read_lock();
    tdp_iter_start(&iter, root_a()->spt, 4, 1, 0);
    rcu_read_unlock();
    return &iter;
}

static void nothing(struct rcu_head *unused)
{
    (void)unused;
}

/*
 * The list; each line becomes a case of call().
 * BAD: an error (the expression) and one warning.  ERRNO: an error and no warning, as
 * the ioctl that is followed.  QUIET: an error, a warning is not promised.  WARN: no error in the signature, so exactly one warning.
 * FINE: extreme values that must simply not crash.
 */
#define CASES(BAD, ERRNO, QUIET, WARN, FINE) \
    /* types.h has no functions; lock.h */ \
    WARN(tdpmmu_rwlock_init(NULL)) \
    WARN(tdpmmu_read_lock(NULL)) \
    WARN(tdpmmu_read_unlock(NULL)) \
    WARN(tdpmmu_write_lock(NULL)) \
    WARN(tdpmmu_write_unlock(NULL)) \
    BAD(!tdpmmu_rwlock_needbreak(NULL)) \
    BAD(!tdpmmu_read_lock_held(NULL)) \
    BAD(!tdpmmu_write_lock_held(NULL)) \
    WARN(tdpmmu_read_unlock(&a->kvm->mmu_lock)) \
    WARN(tdpmmu_write_unlock(&a->kvm->mmu_lock)) \
    WARN(LOCKED_W(tdpmmu_write_lock(&a->kvm->mmu_lock))) \
    WARN(LOCKED_W(tdpmmu_read_lock(&a->kvm->mmu_lock))) \
    WARN(LOCKED_R(tdpmmu_write_lock(&a->kvm->mmu_lock))) \
    WARN(LOCKED_W(tdpmmu_read_unlock(&a->kvm->mmu_lock))) \
    WARN(LOCKED_R(tdpmmu_write_unlock(&a->kvm->mmu_lock))) \
    /* rcu.h */ \
    WARN(rcu_read_unlock()) \
    WARN(tdpmmu_rcu_read_unlock_slow()) \
    FINE((tdpmmu_rcu_read_lock_slow(), rcu_read_unlock())) \
    FINE((rcu_read_lock(), rcu_read_unlock())) \
    FINE(rcu_read_lock_held()) \
    FINE(tdpmmu_rcu_readers_fence_free()) \
    WARN(IN_RCU(synchronize_rcu())) \
    WARN(IN_RCU(rcu_barrier())) \
    WARN(call_rcu(NULL, nothing)) \
    WARN(call_rcu(&head, NULL)) \
    WARN(IN_RCU((call_rcu(&head, nothing), call_rcu(&head, nothing)))) \
    /* vm.h: VMs and vCPUs */ \
    BAD(!create((struct tdpmmu_vm_config){ .size = 0 }) && errno == EINVAL) \
    BAD(!create((struct tdpmmu_vm_config){ .size = 7 }) && errno == EINVAL) \
    BAD(!create((struct tdpmmu_vm_config){ .size = SIZE_MAX }) && errno == EINVAL) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .vendor = 2 })) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .root_level = 3 })) \
    BAD(!create_with_ops(0) && errno == EINVAL) \
    BAD(!create_with_ops(SIZE_MAX) && errno == EINVAL) \
    FINE(tdpmmu_destroy_vm(NULL)) \
    WARN(LOCKED_W(tdpmmu_destroy_vm(a->kvm))) \
    WARN(LOCKED_R(tdpmmu_destroy_vm(a->kvm))) \
    WARN(IN_RCU(tdpmmu_destroy_vm(a->kvm))) \
    BAD((errno = 0, !tdpmmu_create_vcpu(NULL, 0) && errno == EINVAL)) \
    ERRNO((errno = 0, !tdpmmu_create_vcpu(a->kvm, -1) && errno == EINVAL)) \
    ERRNO((errno = 0, !tdpmmu_create_vcpu(a->kvm, INT32_MIN) && errno == EINVAL)) \
    ERRNO((errno = 0, !tdpmmu_create_vcpu(a->kvm, 4096) && errno == EINVAL)) \
    QUIET((errno = 0, !tdpmmu_create_vcpu(a->kvm, 0) && errno == EEXIST)) \
    FINE(tdpmmu_destroy_vcpu(NULL)) \
    BAD(!tdpmmu_vcpu_kvm(NULL)) \
    BAD(tdpmmu_vcpu_id(NULL) == -EINVAL) \
    BAD(tdpmmu_vcpu_as_id(NULL) == -EINVAL) \
    BAD(tdpmmu_vcpu_set_as_id(NULL, 0) == -EINVAL) \
    BAD(tdpmmu_vcpu_set_as_id(a->vcpu, 2) == -EINVAL) \
    BAD(tdpmmu_vcpu_set_as_id(a->vcpu, -1) == -EINVAL) \
    /* vm.h: slots */ \
    BAD(region(NULL, 1, 0, 0, 4096, 4096) == -EINVAL) \
    BAD(kvm_set_memory_region(a->kvm, NULL) == -EINVAL) \
    ERRNO(region(a->kvm, 1, 0, BEYOND << 12, 4096, 4096) == -EINVAL) \
    ERRNO(region(a->kvm, 1, 0, UINT64_MAX, UINT64_MAX, UINT64_MAX) == -EINVAL) \
    ERRNO(region(a->kvm, 1, 0, 1ull << 40, 123, 4096) == -EINVAL) \
    ERRNO(region(a->kvm, UINT32_MAX, 0, 1ull << 40, 4096, 4096) == -EINVAL) \
    ERRNO(region(a->kvm, 1, ~0u, 1ull << 40, 4096, 4096) == -EINVAL) \
    ERRNO(region(a->kvm, 1, 0, 0, 4096, 4096) == -EEXIST) \
    ERRNO(region(a->kvm, 1, 0, 0, 0, 0) == -EINVAL) \
    BAD((LOCKED_W(ret = region(a->kvm, 0, 0, 0, 0, 0)), ret == -EINVAL)) \
    BAD((LOCKED_R(ret = region(a->kvm, 0, 0, 0, 0, 0)), ret == -EINVAL)) \
    BAD((IN_RCU(ret = region(a->kvm, 0, 0, 0, 0, 0)), ret == -EINVAL)) \
    BAD((IN_RCU(pointer = gfn_to_memslot(NULL, 0)), !pointer)) \
    QUIET((IN_RCU(pointer = gfn_to_memslot(a->kvm, UINT64_MAX)), !pointer)) \
    BAD(!gfn_to_memslot(a->kvm, 0)) \
    BAD((IN_RCU(pointer = kvm_vcpu_gfn_to_memslot(NULL, 0)), !pointer)) \
    QUIET((IN_RCU(pointer = kvm_vcpu_gfn_to_memslot(a->vcpu, UINT64_MAX)), !pointer)) \
    BAD(!kvm_vcpu_gfn_to_memslot(a->vcpu, 0)) \
    BAD((IN_RCU(pointer = tdpmmu_id_to_memslot(NULL, 0, 0)), !pointer)) \
    BAD((IN_RCU(pointer = tdpmmu_id_to_memslot(a->kvm, 2, 0)), !pointer)) \
    BAD((IN_RCU(pointer = tdpmmu_id_to_memslot(a->kvm, -1, 0)), !pointer)) \
    BAD((IN_RCU(pointer = tdpmmu_id_to_memslot(a->kvm, 0, -1)), !pointer)) \
    QUIET((IN_RCU(pointer = tdpmmu_id_to_memslot(a->kvm, 0, KVM_USER_MEM_SLOTS)), !pointer)) \
    BAD((IN_RCU(pointer = tdpmmu_id_to_memslot(a->kvm, 0, INT32_MAX)), !pointer)) \
    BAD(!tdpmmu_id_to_memslot(a->kvm, 0, 0)) \
    BAD(tdpmmu_memslots_generation(NULL, 0) == 0) \
    BAD(tdpmmu_memslots_generation(a->kvm, 2) == 0) \
    BAD(tdpmmu_memslots_generation(a->kvm, -1) == 0) \
    /* vm.h: the rest */ \
    WARN(kvm_flush_remote_tlbs(NULL)) \
    WARN(kvm_flush_remote_tlbs_range(NULL, 0, 1)) \
    WARN(kvm_flush_remote_tlbs_range(a->kvm, BEYOND, 1)) \
    BAD(tdpmmu_get_stats(NULL, &stats, sizeof(stats)) == -EINVAL) \
    BAD(tdpmmu_get_stats(a->kvm, NULL, sizeof(stats)) == -EINVAL) \
    BAD(tdpmmu_get_stats(a->kvm, &stats, 0) == -EINVAL) \
    BAD(tdpmmu_get_stats(a->kvm, &stats, SIZE_MAX) == -EINVAL) \
    BAD(tdpmmu_get_stats(a->kvm, &stats, (size_t)SSIZE_MAX + 1) == -EINVAL) \
    BAD((IN_RCU(flag = kvm_tdp_mmu_get_root(TOP_POINTER)), !flag)) \
    BAD((IN_RCU(flag = kvm_tdp_mmu_get_root(TOP_POINTER - 127)), !flag)) \
    WARN(kvm_tdp_mmu_put_root(a->kvm, TOP_POINTER)) \
    WARN(kvm_tdp_mmu_put_root(a->kvm, TOP_POINTER - 127)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_zap_sp(a->kvm, TOP_POINTER - 127)), !flag)) \
    BAD((LOCKED_W(flag = zap_gfn_range(a->kvm, TOP_POINTER, 0, 8, false)), !flag)) \
    QUIET(tdpmmu_table_hpa(TOP_POINTER) == INVALID_PAGE) \
    QUIET(tdpmmu_table_hpa(TOP_POINTER - 127) == INVALID_PAGE) \
    BAD(iter_refused_in_rcu(TOP_POINTER - 4095, 4, 1, 0)) \
    QUIET(!sptep_to_sp(TOP_POINTER)) \
    FINE(tdpmmu_set_warn_handler(world_warn, &process_world)) \
    FINE(tdpmmu_version()) \
    /* primitives.h; what changes cannot be: test_kernel_h.c */ \
    BAD((LOCKED_W(ret = tdpmmu_set_spte(NULL, entry_a(), SHADOW_NONPRESENT_VALUE, TDPMMU_SET_ALONE)), ret == -EINVAL)) \
    BAD((LOCKED_W(ret = tdpmmu_set_spte(a->kvm, NULL, SHADOW_NONPRESENT_VALUE, TDPMMU_SET_ALONE)), ret == -EINVAL)) \
    BAD((LOCKED_W(ret = tdpmmu_set_spte(b->kvm, entry_a(), SHADOW_NONPRESENT_VALUE, TDPMMU_SET_ALONE)), ret == -EINVAL)) \
    BAD((LOCKED_W(ret = tdpmmu_set_spte(a->kvm, &never_begun, SHADOW_NONPRESENT_VALUE, TDPMMU_SET_ALONE)), ret == -EINVAL)) \
    BAD((LOCKED_W(ret = tdpmmu_set_spte(a->kvm, entry_a(), SHADOW_NONPRESENT_VALUE, (enum tdpmmu_set)5)), ret == -EINVAL)) \
    BAD((LOCKED_W(ret = tdpmmu_set_spte(a->kvm, entry_a(), SHADOW_NONPRESENT_VALUE, (enum tdpmmu_set)-1)), ret == -EINVAL)) \
    BAD((LOCKED_W(ret = tdpmmu_set_spte(a->kvm, entry_a(), UINT64_MAX, TDPMMU_SET_ALONE)), ret == -EINVAL)) \
    BAD((LOCKED_W(flag = tdpmmu_iter_yield(NULL, entry_a(), true, false)), !flag)) \
    BAD((LOCKED_W(flag = tdpmmu_iter_yield(a->kvm, NULL, true, false)), !flag)) \
    BAD((LOCKED_W(flag = tdpmmu_iter_yield(a->kvm, entry_a(), true, false)), !flag)) /* not in RCU */ \
    BAD(!tdpmmu_alloc_sp(NULL)) \
    BAD((LOCKED_W(IN_RCU(ret = tdpmmu_link_sp(NULL, entry_a(), root_a(), false))), ret == -EINVAL)) \
    BAD((LOCKED_W(IN_RCU(ret = tdpmmu_link_sp(a->kvm, NULL, root_a(), false))), ret == -EINVAL)) \
    BAD((LOCKED_W(IN_RCU(ret = tdpmmu_link_sp(a->kvm, entry_a(), NULL, false))), ret == -EINVAL)) \
    BAD((LOCKED_W(IN_RCU(ret = tdpmmu_link_sp(a->kvm, entry_a(), BAD_POINTER, false))), ret == -EINVAL)) \
    BAD((LOCKED_W(IN_RCU(ret = tdpmmu_link_sp(a->kvm, entry_a(), TOP_POINTER, false))), ret == -EINVAL)) \
    BAD((LOCKED_W(IN_RCU(ret = tdpmmu_link_sp(a->kvm, entry_a(), table_of(a), false))), ret == -EINVAL)) \
    BAD((LOCKED_W(ret = tdpmmu_link_sp(a->kvm, entry_a(), table_of(a), false)), ret == -EINVAL)) \
    WARN(tdpmmu_free_sp(NULL)) \
    WARN(tdpmmu_free_sp(BAD_POINTER)) \
    WARN(tdpmmu_free_sp(TOP_POINTER)) \
    WARN(tdpmmu_free_sp(&own_header)) \
    WARN(tdpmmu_free_sp(table_of(a))) \
    BAD((IN_RCU(ret = kvm_mmu_max_mapping_level(NULL, slot_of(a), 0, 3)), ret == 1)) \
    BAD((IN_RCU(ret = kvm_mmu_max_mapping_level(a->kvm, NULL, 0, 3)), ret == 1)) \
    BAD((IN_RCU(ret = kvm_mmu_max_mapping_level(a->kvm, slot_of(b), 0, 3)), ret == 1)) \
    BAD((IN_RCU(ret = kvm_mmu_max_mapping_level(a->kvm, BAD_POINTER, 0, 3)), ret == 1)) \
    QUIET((IN_RCU(ret = kvm_mmu_max_mapping_level(a->kvm, slot_of(a), UINT64_MAX, 3)), ret == 1)) \
    QUIET((IN_RCU(ret = kvm_mmu_max_mapping_level(a->kvm, slot_of(a), 0, INT32_MIN)), ret == 1)) \
    /* tdp_iter.h: values */ \
    FINE(is_shadow_present_pte(UINT64_MAX)) \
    FINE(is_large_pte(UINT64_MAX)) \
    FINE((is_last_spte(UINT64_MAX, INT32_MIN), is_last_spte(UINT64_MAX, INT32_MAX))) \
    FINE(is_frozen_spte(UINT64_MAX)) \
    FINE(is_writable_pte(UINT64_MAX)) \
    FINE(spte_to_pfn(UINT64_MAX)) \
    QUIET(!is_mmio_spte(NULL, UINT64_MAX)) \
    QUIET(!is_accessed_spte(NULL, UINT64_MAX)) \
    QUIET(!is_dirty_spte(NULL, UINT64_MAX)) \
    QUIET(!is_executable_pte(NULL, UINT64_MAX)) \
    FINE(get_mmio_spte_generation(UINT64_MAX)) \
    QUIET(get_mmio_spte_gfn(NULL, UINT64_MAX) == 0) \
    QUIET((IN_RCU(pointer = spte_to_child_pt(UINT64_MAX, 1)), !pointer)) \
    QUIET((IN_RCU(pointer = spte_to_child_pt(UINT64_C(0x000ffffffffff827), 4)), !pointer)) \
    QUIET((IN_RCU(pointer = spte_to_child_pt(0x827, 2)), !pointer)) \
    QUIET((IN_RCU(pointer = spte_to_child_pt(0x827, 0)), !pointer)) \
    QUIET((IN_RCU(pointer = spte_to_child_pt(0x827, 6)), !pointer)) \
    QUIET((IN_RCU(pointer = spte_to_child_pt(0x827, INT32_MIN)), !pointer)) \
    QUIET((IN_RCU(pointer = spte_to_child_pt(((uint64_t)(uintptr_t)own_page & 0xffffffffff000) | 0x827, \
                                             2)), !pointer)) \
    QUIET(!sptep_to_sp(NULL)) \
    QUIET(!sptep_to_sp(own_page)) \
    QUIET(!sptep_to_sp(BAD_POINTER)) \
    QUIET(!to_shadow_page(0)) \
    QUIET(!to_shadow_page(INVALID_PAGE)) \
    QUIET(!to_shadow_page((uint64_t)(uintptr_t)own_page)) \
    /* tdp_iter.h: the walk */ \
    WARN(IN_RCU(tdp_iter_start(NULL, root_a()->spt, 4, 1, 0))) \
    BAD(iter_refused_in_rcu(NULL, 4, 1, 0)) \
    BAD(iter_refused_in_rcu(own_page, 4, 1, 0)) \
    BAD(iter_refused_in_rcu(BAD_POINTER, 4, 1, 0)) \
    BAD(iter_refused_in_rcu(root_a()->spt + 1, 4, 1, 0)) \
    BAD(iter_refused_in_rcu((char *)root_a()->spt + 1, 4, 1, 0)) \
    BAD(iter_refused_in_rcu(root_a()->spt, 0, 1, 0)) \
    BAD(iter_refused_in_rcu(root_a()->spt, 3, 1, 0)) \
    BAD(iter_refused_in_rcu(root_a()->spt, 5, 1, 0)) \
    BAD(iter_refused_in_rcu(root_a()->spt, 6, 1, 0)) \
    BAD(iter_refused_in_rcu(root_a()->spt, INT32_MAX, 1, 0)) \
    BAD(iter_refused_in_rcu(root_a()->spt, 4, 0, 0)) \
    BAD(iter_refused_in_rcu(root_a()->spt, 4, 5, 0)) \
    BAD(iter_refused_in_rcu(root_a()->spt, 4, INT32_MIN, 0)) \
    BAD(iter_refused_in_rcu(root_a()->spt, 4, 1, BEYOND)) \
    BAD(iter_refused_in_rcu(root_a()->spt, 4, 1, UINT64_MAX)) \
    BAD(iter_refused(root_a()->spt, 4, 1, 0)) \
    WARN(IN_RCU(tdp_iter_next(NULL))) \
    QUIET((tdp_iter_next(&never_begun), !never_begun.valid)) \
    WARN(IN_RCU(tdp_iter_restart(NULL))) \
    QUIET((tdp_iter_restart(&never_begun), !never_begun.valid)) \
    QUIET(!tdp_iter_root_pt(NULL)) \
    QUIET(!tdp_iter_root_pt(&never_begun)) \
    /* tdp_mmu.h: set up and roots */ \
    BAD(kvm_mmu_init_tdp_mmu(NULL) == -EINVAL) \
    QUIET(kvm_mmu_init_tdp_mmu(a->kvm) == -EBUSY) \
    WARN(kvm_mmu_uninit_tdp_mmu(NULL)) \
    WARN(LOCKED_W(kvm_mmu_uninit_tdp_mmu(a->kvm))) \
    WARN(LOCKED_R(kvm_mmu_uninit_tdp_mmu(a->kvm))) \
    WARN(IN_RCU(kvm_mmu_uninit_tdp_mmu(a->kvm))) \
    BAD(kvm_tdp_mmu_get_vcpu_root_hpa(NULL) == INVALID_PAGE) \
    BAD((IN_RCU(flag = kvm_tdp_mmu_get_root(NULL)), !flag)) \
    BAD((IN_RCU(flag = kvm_tdp_mmu_get_root(&own_header)), !flag)) \
    BAD((IN_RCU(flag = kvm_tdp_mmu_get_root(sptep_to_sp(spte_to_child_pt( \
            __atomic_load_n(root_a()->spt, __ATOMIC_RELAXED), 4)))), !flag)) \
    BAD(!kvm_tdp_mmu_get_root(root_a())) \
    WARN(kvm_tdp_mmu_put_root(NULL, root_a())) \
    WARN(kvm_tdp_mmu_put_root(a->kvm, NULL)) \
    WARN(kvm_tdp_mmu_put_root(a->kvm, root_b())) \
    WARN(kvm_tdp_mmu_put_root(a->kvm, &own_header)) \
    BAD(kvm_mmu_load(NULL) == -EINVAL) \
    BAD((LOCKED_W(ret = kvm_mmu_load(bare)), ret == -EINVAL)) \
    WARN(kvm_mmu_unload(NULL)) \
    BAD(!tdpmmu_vcpu_root(NULL)) \
    WARN(kvm_tdp_mmu_invalidate_all_roots(NULL)) \
    WARN(kvm_tdp_mmu_invalidate_all_roots(a->kvm)) \
    WARN(LOCKED_R(kvm_tdp_mmu_invalidate_all_roots(a->kvm))) \
    WARN(kvm_tdp_mmu_zap_invalidated_roots(NULL)) \
    WARN(LOCKED_W(kvm_tdp_mmu_zap_invalidated_roots(a->kvm))) \
    WARN(LOCKED_R(kvm_tdp_mmu_zap_invalidated_roots(a->kvm))) \
    WARN(kvm_mmu_zap_all_fast(NULL)) \
    WARN(LOCKED_W(kvm_mmu_zap_all_fast(a->kvm))) \
    WARN(LOCKED_R(kvm_mmu_zap_all_fast(a->kvm))) \
    WARN(kvm_tdp_mmu_zap_all(NULL)) \
    WARN(kvm_tdp_mmu_zap_all(a->kvm)) \
    WARN(LOCKED_R(kvm_tdp_mmu_zap_all(a->kvm))) \
    /* tdp_mmu.h: faults */ \
    BAD(map(NULL, 0, 1, 5) == -EINVAL) \
    BAD(map(a->vcpu, BEYOND << 12, 1, 5) == -EINVAL) \
    BAD(map(a->vcpu, UINT64_MAX, 1, 5) == -EINVAL) \
    BAD(map(a->vcpu, 0x5000, 0, 5) == -EINVAL) \
    BAD(map(a->vcpu, 0x5000, -1, 5) == -EINVAL) \
    BAD(map(a->vcpu, 0x5000, 4, 5) == -EINVAL) \
    BAD(map(a->vcpu, 0x5000, INT32_MAX, 5) == -EINVAL) \
    BAD(map(a->vcpu, 0x5000, 1, BEYOND) == -EINVAL) \
    BAD(map(b->vcpu, 0x5000, 1, 5) == -EINVAL) /* the lock of the other VM */ \
    BAD(kvm_tdp_mmu_map(a->vcpu, 0x5000, 0, true, 1, 5, false) == -EINVAL) \
    BAD((IN_RCU(ret = kvm_tdp_mmu_map(a->vcpu, 0x5000, 0, true, 1, 5, false)), ret == -EINVAL)) \
    BAD(kvm_tdp_mmu_page_fault(NULL, 0, 0) == -EINVAL) \
    QUIET(kvm_tdp_mmu_page_fault(a->vcpu, UINT64_MAX, 0) == RET_PF_EMULATE) \
    BAD((LOCKED_W(ret = kvm_tdp_mmu_page_fault(a->vcpu, 0x5000, 0)), ret == -EINVAL)) \
    BAD((LOCKED_R(ret = kvm_tdp_mmu_page_fault(a->vcpu, 0x5000, 0)), ret == -EINVAL)) \
    BAD((IN_RCU(ret = kvm_tdp_mmu_page_fault(a->vcpu, 0x5000, 0)), ret == -EINVAL)) \
    BAD(prefault(NULL, 0, 4096, 0) == -EINVAL) \
    BAD(kvm_vcpu_pre_fault_memory(a->vcpu, NULL) == -EINVAL) \
    ERRNO(prefault(a->vcpu, 1, 4096, 0) == -EINVAL) \
    ERRNO(prefault(a->vcpu, 0, 0, 0) == -EINVAL) \
    ERRNO(prefault(a->vcpu, 0, 4095, 0) == -EINVAL) \
    ERRNO(prefault(a->vcpu, UINT64_MAX & ~4095ull, 8192, 0) == -EINVAL) \
    ERRNO(prefault(a->vcpu, 0, 4096, 1) == -EINVAL) \
    BAD((LOCKED_W(ret = prefault(a->vcpu, 0x7000, 4096, 0)), ret == -EINVAL)) \
    BAD((LOCKED_R(ret = prefault(a->vcpu, 0x7000, 4096, 0)), ret == -EINVAL)) \
    BAD((IN_RCU(ret = prefault(a->vcpu, 0x7000, 4096, 0)), ret == -EINVAL)) \
    QUIET(prefault(a->vcpu, BEYOND << 12, 4096, 0) == -ENOENT) \
    BAD(get_walk(NULL, 0, sptes, &root_level) == -EINVAL) \
    BAD(get_walk(bare, 0, sptes, &root_level) == -EINVAL) \
    BAD(get_walk(a->vcpu, 0, NULL, &root_level) == -EINVAL) \
    BAD(get_walk(a->vcpu, 0, sptes, NULL) == -EINVAL) \
    BAD(get_walk(a->vcpu, BEYOND << 12, sptes, &root_level) == -EINVAL) \
    BAD(get_walk(a->vcpu, UINT64_MAX, sptes, &root_level) == -EINVAL) \
    BAD(kvm_tdp_mmu_get_walk(a->vcpu, 0, sptes, &root_level) == -EINVAL) \
    /* tdp_mmu.h: zapping */ \
    WARN(LOCKED_W(zap_gfn_range(NULL, root_a(), 0, 8, false))) \
    WARN(LOCKED_W(zap_gfn_range(a->kvm, NULL, 0, 8, false))) \
    WARN(LOCKED_W(zap_gfn_range(a->kvm, root_b(), 0, 8, false))) \
    WARN(LOCKED_W(zap_gfn_range(a->kvm, &own_header, 0, 8, false))) \
    WARN(LOCKED_W(zap_gfn_range(a->kvm, sptep_to_sp(spte_to_child_pt( \
            __atomic_load_n(root_a()->spt, __ATOMIC_RELAXED), 4)), 0, 8, false))) \
    WARN(LOCKED_W(zap_gfn_range(a->kvm, root_a(), 8, 0, false))) \
    WARN(LOCKED_W(zap_gfn_range(a->kvm, root_a(), BEYOND, BEYOND + 8, false))) \
    WARN(zap_gfn_range(a->kvm, root_a(), 0, 8, false)) \
    WARN(LOCKED_R(zap_gfn_range(a->kvm, root_a(), 0, 8, true))) \
    WARN(LOCKED_W(zap_gfn_range(b->kvm, root_b(), 0, 8, true))) /* the other VM's lock */ \
    WARN(LOCKED_W(kvm_tdp_mmu_zap_gfn_range(NULL, 0, 8))) \
    WARN(LOCKED_W(kvm_tdp_mmu_zap_gfn_range(a->kvm, 8, 0))) \
    WARN(LOCKED_W(kvm_tdp_mmu_zap_gfn_range(a->kvm, UINT64_MAX, UINT64_MAX))) \
    WARN(kvm_tdp_mmu_zap_gfn_range(a->kvm, 0, 8)) \
    WARN(LOCKED_R(kvm_tdp_mmu_zap_gfn_range(a->kvm, 0, 8))) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_zap_leafs(NULL, 0, 8, true)), flag)) /* pending stays pending */ \
    WARN(LOCKED_W(kvm_tdp_mmu_zap_leafs(a->kvm, 8, 0, false))) \
    WARN(LOCKED_W(kvm_tdp_mmu_zap_leafs(a->kvm, BEYOND, BEYOND, false))) \
    WARN(kvm_tdp_mmu_zap_leafs(a->kvm, 0, 8, false)) \
    WARN(LOCKED_R(kvm_tdp_mmu_zap_leafs(a->kvm, 0, 8, false))) \
    BAD((LOCKED_W(flag = unmap(NULL, slot_of(a), 0, 8, true)), flag)) \
    WARN(LOCKED_W(kvm_tdp_mmu_unmap_gfn_range(a->kvm, NULL, false))) \
    WARN(LOCKED_W(unmap(a->kvm, NULL, 0, 8, false))) \
    WARN(LOCKED_W(unmap(a->kvm, slot_of(b), 0, 8, false))) \
    WARN(LOCKED_W(unmap(a->kvm, BAD_POINTER, 0, 8, false))) \
    WARN(LOCKED_W(unmap(a->kvm, slot_of(a), 8, 0, false))) \
    WARN(LOCKED_W(unmap(a->kvm, slot_of(a), BEYOND, BEYOND + 1, false))) \
    WARN(LOCKED_W(unmap(a->kvm, slot_of(a), 0, WORLD_SLOT_PAGES + 1, false))) \
    WARN(unmap(a->kvm, slot_of(a), 0, 8, false)) \
    WARN(LOCKED_R(unmap(a->kvm, slot_of(a), 0, 8, false))) \
    /* vm.h: the later options */ \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .nx_huge_pages = 2 })) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .no_eager_split = ~0u })) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .no_pml = 2 })) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .dirty_log = 4 })) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), \
                                           .dirty_log = KVM_DIRTY_LOG_INITIALLY_SET })) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), \
                                           .vendor = TDPMMU_NPT, .ad_disabled = 1 })) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .zap_slot_only = 2 })) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .l1tf_cache_bits = 35 })) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .l1tf_cache_bits = 47 })) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .pml_oldest_first = 2 })) \
    BAD(!create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .slots_generation = 1 })) \
    /* vm.h: switches */ \
    BAD(enable(NULL, 0, 0, 0) == -EINVAL) \
    BAD(kvm_vm_ioctl_enable_cap(a->kvm, NULL) == -EINVAL) \
    ERRNO(enable(a->kvm, UINT32_MAX, 0, 0) == -EINVAL) \
    ERRNO(enable(a->kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 1, 0) == -EINVAL) \
    ERRNO(enable(a->kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, KVM_DIRTY_LOG_INITIALLY_SET) == -EINVAL) \
    ERRNO(enable(a->kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, UINT64_MAX) == -EINVAL) \
    ERRNO(enable(a->kvm, KVM_CAP_DISABLE_QUIRKS2, 0, 1 << 11) == -EINVAL) \
    ERRNO(enable(a->kvm, KVM_CAP_DISABLE_QUIRKS2, 0, UINT64_MAX) == -EINVAL) \
    FINE(enable(a->kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, 0)) /* as it is */ \
    BAD(tdpmmu_set_eager_page_split(NULL, true) == -EINVAL) \
    FINE(tdpmmu_set_eager_page_split(a->kvm, true)) /* as it is */ \
    /* tdp_mmu.h: faults without the lock */ \
    BAD((IN_RCU(pointer = kvm_tdp_mmu_fast_pf_get_last_sptep(NULL, 0, &spte)), !pointer)) \
    BAD((IN_RCU(pointer = kvm_tdp_mmu_fast_pf_get_last_sptep(bare, 0, &spte)), !pointer)) \
    BAD((IN_RCU(pointer = kvm_tdp_mmu_fast_pf_get_last_sptep(a->vcpu, 0, NULL)), !pointer)) \
    BAD((IN_RCU(pointer = kvm_tdp_mmu_fast_pf_get_last_sptep(a->vcpu, BEYOND, &spte)), !pointer)) \
    BAD((IN_RCU(pointer = kvm_tdp_mmu_fast_pf_get_last_sptep(a->vcpu, UINT64_MAX, &spte)), !pointer)) \
    BAD(!kvm_tdp_mmu_fast_pf_get_last_sptep(a->vcpu, 0, &spte)) \
    BAD(tdpmmu_fast_page_fault(NULL, 0, 3) == -EINVAL) \
    BAD(tdpmmu_fast_page_fault(bare, 0, 3) == -EINVAL) \
    BAD(tdpmmu_fast_page_fault(a->vcpu, BEYOND << 12, 3) == -EINVAL) \
    BAD(tdpmmu_fast_page_fault(a->vcpu, UINT64_MAX, 3) == -EINVAL) \
    QUIET(tdpmmu_fast_page_fault(a->vcpu, 0, UINT64_MAX) == RET_PF_INVALID) \
    /* dirty_log.h */ \
    WARN(LOCKED_R(kvm_tdp_mmu_wrprot_slot(NULL, slot_of(a), 1))) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_wrprot_slot(a->kvm, NULL, 1)), !flag)) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_wrprot_slot(a->kvm, slot_of(b), 1)), !flag)) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_wrprot_slot(a->kvm, BAD_POINTER, 1)), !flag)) \
    BAD(!kvm_tdp_mmu_wrprot_slot(a->kvm, slot_of(a), 1)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_wrprot_slot(a->kvm, slot_of(a), 1)), !flag)) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_wrprot_slot(a->kvm, slot_of(a), 0)), !flag)) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_wrprot_slot(a->kvm, slot_of(a), 4)), !flag)) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_wrprot_slot(a->kvm, slot_of(a), INT32_MIN)), !flag)) \
    WARN(LOCKED_R(kvm_tdp_mmu_clear_dirty_slot(NULL, slot_of(a)))) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_clear_dirty_slot(a->kvm, NULL)), !flag)) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_clear_dirty_slot(a->kvm, slot_of(b))), !flag)) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_clear_dirty_slot(a->kvm, BAD_POINTER)), !flag)) \
    BAD(!kvm_tdp_mmu_clear_dirty_slot(a->kvm, slot_of(a))) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_clear_dirty_slot(a->kvm, slot_of(a))), !flag)) \
    WARN(LOCKED_W(kvm_tdp_mmu_clear_dirty_pt_masked(NULL, slot_of(a), 0, ~0ul, true))) \
    WARN(LOCKED_W(kvm_tdp_mmu_clear_dirty_pt_masked(a->kvm, NULL, 0, ~0ul, true))) \
    WARN(LOCKED_W(kvm_tdp_mmu_clear_dirty_pt_masked(a->kvm, slot_of(b), 0, ~0ul, true))) \
    WARN(LOCKED_W(kvm_tdp_mmu_clear_dirty_pt_masked(a->kvm, slot_of(a), WORLD_SLOT_PAGES, ~0ul, true))) \
    WARN(LOCKED_W(kvm_tdp_mmu_clear_dirty_pt_masked(a->kvm, slot_of(a), UINT64_MAX, ~0ul, true))) \
    FINE(LOCKED_W(kvm_tdp_mmu_clear_dirty_pt_masked(a->kvm, slot_of(a), WORLD_SLOT_PAGES - 1, ~0ul, true))) \
    FINE(LOCKED_W(kvm_tdp_mmu_clear_dirty_pt_masked(a->kvm, slot_of(a), 0, 0, true))) \
    WARN(kvm_tdp_mmu_clear_dirty_pt_masked(a->kvm, slot_of(a), 0, ~0ul, true)) \
    WARN(LOCKED_R(kvm_tdp_mmu_clear_dirty_pt_masked(a->kvm, slot_of(a), 0, ~0ul, true))) \
    WARN(LOCKED_W(kvm_tdp_mmu_slot_set_dirty(NULL, slot_of(a)))) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_slot_set_dirty(a->kvm, NULL)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_slot_set_dirty(a->kvm, slot_of(b))), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_slot_set_dirty(a->kvm, BAD_POINTER)), !flag)) \
    BAD(!kvm_tdp_mmu_slot_set_dirty(a->kvm, slot_of(a))) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_slot_set_dirty(a->kvm, slot_of(a))), !flag)) \
    WARN(LOCKED_W(kvm_tdp_mmu_write_protect_gfn(NULL, slot_of(a), 0, 1))) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_write_protect_gfn(a->kvm, NULL, 0, 1)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_write_protect_gfn(a->kvm, slot_of(b), 0, 1)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_write_protect_gfn(a->kvm, BAD_POINTER, 0, 1)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_write_protect_gfn(a->kvm, slot_of(a), WORLD_SLOT_PAGES, 1)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_write_protect_gfn(a->kvm, slot_of(a), UINT64_MAX, 1)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_write_protect_gfn(a->kvm, slot_of(a), 0, 0)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_write_protect_gfn(a->kvm, slot_of(a), 0, 4)), !flag)) \
    BAD(!kvm_tdp_mmu_write_protect_gfn(a->kvm, slot_of(a), 0, 1)) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_write_protect_gfn(a->kvm, slot_of(a), 0, 1)), !flag)) \
    BAD(get_log(NULL, 0, own_page) == -EINVAL) \
    BAD(kvm_vm_ioctl_get_dirty_log(a->kvm, NULL) == -EINVAL) \
    BAD(get_log(a->kvm, 0, NULL) == -EINVAL) \
    ERRNO(get_log(a->kvm, 0, own_page) == -ENOENT) /* not logged */ \
    ERRNO(get_log(a->kvm, 5, own_page) == -ENOENT) \
    ERRNO(get_log(a->kvm, 1 << 16, own_page) == -ENOENT) \
    ERRNO(get_log(a->kvm, 2 << 16, own_page) == -EINVAL) \
    ERRNO(get_log(a->kvm, UINT32_MAX, own_page) == -EINVAL) \
    BAD((LOCKED_W(ret = get_log(a->kvm, 0, own_page)), ret == -EINVAL)) \
    BAD((LOCKED_R(ret = get_log(a->kvm, 0, own_page)), ret == -EINVAL)) \
    BAD((IN_RCU(ret = get_log(a->kvm, 0, own_page)), ret == -EINVAL)) \
    BAD(clear_log(NULL, 0, 0, 64, own_page) == -EINVAL) \
    BAD(kvm_vm_ioctl_clear_dirty_log(a->kvm, NULL) == -EINVAL) \
    BAD(clear_log(a->kvm, 0, 0, 64, NULL) == -EINVAL) \
    ERRNO(clear_log(a->kvm, 0, 0, 64, own_page) == -ENOENT) \
    ERRNO(clear_log(a->kvm, 5, 0, 64, own_page) == -ENOENT) \
    ERRNO(clear_log(a->kvm, 2 << 16, 0, 64, own_page) == -EINVAL) \
    BAD((LOCKED_W(ret = clear_log(a->kvm, 0, 0, 64, own_page)), ret == -EINVAL)) \
    BAD((LOCKED_R(ret = clear_log(a->kvm, 0, 0, 64, own_page)), ret == -EINVAL)) \
    BAD((IN_RCU(ret = clear_log(a->kvm, 0, 0, 64, own_page)), ret == -EINVAL)) \
    BAD(!tdpmmu_vcpu_dirty_ring(NULL, NULL)) \
    QUIET((entries = 7, !tdpmmu_vcpu_dirty_ring(a->vcpu, &entries) && entries == 0)) \
    BAD(kvm_vm_ioctl_reset_dirty_pages(NULL) == -EINVAL) \
    QUIET(kvm_vm_ioctl_reset_dirty_pages(a->kvm) == -EINVAL) /* it has none */ \
    BAD((LOCKED_W(ret = kvm_vm_ioctl_reset_dirty_pages(a->kvm)), ret == -EINVAL)) \
    BAD((LOCKED_R(ret = kvm_vm_ioctl_reset_dirty_pages(a->kvm)), ret == -EINVAL)) \
    BAD((IN_RCU(ret = kvm_vm_ioctl_reset_dirty_pages(a->kvm)), ret == -EINVAL)) \
    ERRNO(enable(a->kvm, KVM_CAP_DIRTY_LOG_RING, 0, 4096) == -EINVAL) /* vCPUs exist */ \
    WARN(tdpmmu_mark_page_dirty(NULL, 0, 0)) \
    WARN(tdpmmu_mark_page_dirty(a->kvm, 2, 0)) \
    WARN(tdpmmu_mark_page_dirty(a->kvm, -1, 0)) \
    WARN(tdpmmu_mark_page_dirty(a->kvm, 0, BEYOND)) \
    WARN(tdpmmu_mark_page_dirty(a->kvm, 0, UINT64_MAX)) \
    FINE(tdpmmu_mark_page_dirty(a->kvm, 0, 0)) /* not logged */ \
    FINE(tdpmmu_mark_page_dirty(a->kvm, 1, BEYOND - 1)) /* in no slot */ \
    /* huge_pages.h */ \
    BAD((LOCKED_R(ret = kvm_tdp_mmu_try_split_huge_pages(NULL, slot_of(a), 0, 8, 1, true)), ret == -EINVAL)) \
    BAD(split(NULL, 0, 8, 1) == -EINVAL) \
    BAD(split(slot_of(b), 0, 8, 1) == -EINVAL) \
    BAD(split(BAD_POINTER, 0, 8, 1) == -EINVAL) \
    BAD(split(slot_of(a), 8, 0, 1) == -EINVAL) \
    BAD(split(slot_of(a), BEYOND, BEYOND + 8, 1) == -EINVAL) \
    BAD(split(slot_of(a), 0, 8, 0) == -EINVAL) \
    BAD(split(slot_of(a), 0, 8, 3) == -EINVAL) \
    BAD(split(slot_of(a), 0, 8, INT32_MAX) == -EINVAL) \
    FINE(split(slot_of(a), 0, 0, 1)) \
    BAD((LOCKED_R(ret = kvm_tdp_mmu_try_split_huge_pages(a->kvm, slot_of(a), 0, 8, 1, false)), ret == -EINVAL)) \
    BAD((LOCKED_W(ret = kvm_tdp_mmu_try_split_huge_pages(a->kvm, slot_of(a), 0, 8, 1, true)), ret == -EINVAL)) \
    BAD(kvm_tdp_mmu_try_split_huge_pages(a->kvm, slot_of(a), 0, 8, 1, true) == -EINVAL) \
    BAD(kvm_tdp_mmu_try_split_huge_pages(a->kvm, slot_of(a), 0, 8, 1, false) == -EINVAL) \
    WARN(LOCKED_R(kvm_tdp_mmu_zap_collapsible_sptes(NULL, slot_of(a)))) \
    WARN(LOCKED_R(kvm_tdp_mmu_zap_collapsible_sptes(a->kvm, NULL))) \
    WARN(LOCKED_R(kvm_tdp_mmu_zap_collapsible_sptes(a->kvm, slot_of(b)))) \
    WARN(LOCKED_R(kvm_tdp_mmu_zap_collapsible_sptes(a->kvm, BAD_POINTER))) \
    WARN(kvm_tdp_mmu_zap_collapsible_sptes(a->kvm, slot_of(a))) \
    WARN(LOCKED_W(kvm_tdp_mmu_zap_collapsible_sptes(a->kvm, slot_of(a)))) \
    WARN(LOCKED_R(kvm_tdp_mmu_recover_huge_pages(NULL, slot_of(a)))) \
    WARN(LOCKED_R(kvm_tdp_mmu_recover_huge_pages(a->kvm, NULL))) \
    WARN(LOCKED_R(kvm_tdp_mmu_recover_huge_pages(a->kvm, slot_of(b)))) \
    WARN(LOCKED_R(kvm_tdp_mmu_recover_huge_pages(a->kvm, BAD_POINTER))) \
    WARN(kvm_tdp_mmu_recover_huge_pages(a->kvm, slot_of(a))) \
    WARN(LOCKED_W(kvm_tdp_mmu_recover_huge_pages(a->kvm, slot_of(a)))) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_zap_sp(NULL, table_of(a))), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_zap_sp(a->kvm, NULL)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_zap_sp(a->kvm, &own_header)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_zap_sp(a->kvm, BAD_POINTER)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_zap_sp(a->kvm, root_a())), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_zap_sp(a->kvm, table_of(b))), !flag)) \
    BAD(!kvm_tdp_mmu_zap_sp(a->kvm, table_of(a))) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_zap_sp(a->kvm, table_of(a))), !flag)) \
    BAD(tdpmmu_set_nx_huge_pages(NULL, true) == -EINVAL) \
    BAD((LOCKED_W(ret = tdpmmu_set_nx_huge_pages(a->kvm, true)), ret == -EINVAL)) \
    BAD((LOCKED_R(ret = tdpmmu_set_nx_huge_pages(a->kvm, true)), ret == -EINVAL)) \
    BAD((IN_RCU(ret = tdpmmu_set_nx_huge_pages(a->kvm, true)), ret == -EINVAL)) \
    FINE(tdpmmu_set_nx_huge_pages(a->kvm, false)) /* as it is */ \
    BAD(tdpmmu_nx_recover(NULL, 1) == -EINVAL) \
    BAD(tdpmmu_nx_recover(a->kvm, 0) == -EINVAL) \
    BAD((LOCKED_W(ret = tdpmmu_nx_recover(a->kvm, 1)), ret == -EINVAL)) \
    BAD((LOCKED_R(ret = tdpmmu_nx_recover(a->kvm, 1)), ret == -EINVAL)) \
    BAD((IN_RCU(ret = tdpmmu_nx_recover(a->kvm, 1)), ret == -EINVAL)) \
    FINE(tdpmmu_nx_recover(a->kvm, UINT32_MAX)) /* none is listed */ \
    BAD(tdpmmu_set_nx_recovery(NULL, 1, 1) == -EINVAL) \
    FINE(tdpmmu_set_nx_recovery(a->kvm, UINT32_MAX, UINT32_MAX)) \
    FINE(tdpmmu_set_nx_recovery(a->kvm, UINT32_MAX, 0)) \
    FINE(tdpmmu_set_nx_recovery(a->kvm, 0, UINT32_MAX)) \
    /* notifier.h */ \
    BAD(!age(slot_of(a), NULL, 0, 8)) \
    BAD(!age(NULL, a->kvm, 0, 8)) \
    BAD(!age(slot_of(b), a->kvm, 0, 8)) \
    BAD(!age(BAD_POINTER, a->kvm, 0, 8)) \
    BAD(!age(slot_of(a), a->kvm, 8, 0)) \
    BAD(!age(slot_of(a), a->kvm, BEYOND, BEYOND + 1)) \
    BAD(!age(slot_of(a), a->kvm, 0, WORLD_SLOT_PAGES + 1)) \
    BAD(!kvm_tdp_mmu_age_gfn_range(a->kvm, NULL)) \
    BAD(!test_age(slot_of(a), NULL, 0, 8)) \
    BAD(!test_age(NULL, a->kvm, 0, 8)) \
    BAD(!test_age(slot_of(b), a->kvm, 0, 8)) \
    BAD(!test_age(BAD_POINTER, a->kvm, 0, 8)) \
    BAD(!test_age(slot_of(a), a->kvm, 8, 0)) \
    BAD(!test_age(slot_of(a), a->kvm, BEYOND, BEYOND + 1)) \
    BAD(!test_age(slot_of(a), a->kvm, 0, WORLD_SLOT_PAGES + 1)) \
    BAD(!kvm_tdp_mmu_test_age_gfn(a->kvm, NULL)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_zap_hva_range(NULL, WORLD_HVA, WORLD_HVA + 4096)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_zap_hva_range(a->kvm, WORLD_HVA + 1, WORLD_HVA)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_zap_hva_range(a->kvm, WORLD_HVA, WORLD_HVA)), !flag)) \
    BAD(!kvm_tdp_mmu_zap_hva_range(a->kvm, WORLD_HVA, WORLD_HVA + 4096)) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_zap_hva_range(a->kvm, WORLD_HVA, WORLD_HVA + 4096)), !flag)) \
    FINE(LOCKED_W(kvm_tdp_mmu_zap_hva_range(a->kvm, 0, WORLD_HVA))) \
    FINE(LOCKED_W(kvm_tdp_mmu_zap_hva_range(a->kvm, WORLD_HVA + (WORLD_SLOT_PAGES << 12), UINT64_MAX))) \
    BAD(!kvm_tdp_mmu_age_hva_range(NULL, WORLD_HVA, WORLD_HVA + 4096)) \
    BAD(!kvm_tdp_mmu_age_hva_range(a->kvm, WORLD_HVA + 1, WORLD_HVA)) \
    BAD(!kvm_tdp_mmu_age_hva_range(a->kvm, UINT64_MAX, UINT64_MAX)) \
    BAD(!kvm_tdp_mmu_test_age_hva(NULL, WORLD_HVA)) \
    BAD(!kvm_tdp_mmu_test_age_hva(a->kvm, UINT64_MAX)) \
    QUIET(!kvm_tdp_mmu_test_age_hva(a->kvm, 0)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_set_spte_hva(NULL, WORLD_HVA, 5, false)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_set_spte_hva(a->kvm, WORLD_HVA, BEYOND, false)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_set_spte_hva(a->kvm, WORLD_HVA, KVM_PFN_ERR_FAULT, false)), !flag)) \
    BAD((LOCKED_W(flag = kvm_tdp_mmu_set_spte_hva(a->kvm, UINT64_MAX, 5, false)), !flag)) \
    BAD(!kvm_tdp_mmu_set_spte_hva(a->kvm, WORLD_HVA, 5, false)) \
    BAD((LOCKED_R(flag = kvm_tdp_mmu_set_spte_hva(a->kvm, WORLD_HVA, 5, false)), !flag)) \
    WARN(kvm_mmu_invalidate_begin(NULL)) \
    WARN(kvm_mmu_invalidate_begin(a->kvm)) \
    WARN(LOCKED_R(kvm_mmu_invalidate_begin(a->kvm))) \
    WARN(kvm_mmu_invalidate_range_add(NULL, 0, 8)) \
    WARN(kvm_mmu_invalidate_range_add(a->kvm, 0, 8)) \
    WARN(LOCKED_R(kvm_mmu_invalidate_range_add(a->kvm, 0, 8))) \
    WARN(LOCKED_W(kvm_mmu_invalidate_range_add(a->kvm, 8, 0))) \
    WARN(LOCKED_W(kvm_mmu_invalidate_range_add(a->kvm, 0, 8))) /* none is under way */ \
    WARN(LOCKED_W(kvm_mmu_invalidate_range_add(a->kvm, BEYOND, BEYOND + 8))) \
    WARN(kvm_mmu_invalidate_end(NULL)) \
    WARN(kvm_mmu_invalidate_end(a->kvm)) \
    WARN(LOCKED_R(kvm_mmu_invalidate_end(a->kvm))) \
    WARN(LOCKED_W(kvm_mmu_invalidate_end(a->kvm))) /* none is under way */ \
    WARN(kvm_mmu_notifier_invalidate_range_start(NULL, WORLD_HVA, WORLD_HVA + 4096, true)) \
    WARN(kvm_mmu_notifier_invalidate_range_start(a->kvm, WORLD_HVA, WORLD_HVA, true)) \
    WARN(LOCKED_W(kvm_mmu_notifier_invalidate_range_start(a->kvm, WORLD_HVA, WORLD_HVA + 4096, true))) \
    WARN(IN_RCU(kvm_mmu_notifier_invalidate_range_start(a->kvm, WORLD_HVA, WORLD_HVA + 4096, true))) \
    WARN(kvm_mmu_notifier_invalidate_range_end(NULL, WORLD_HVA, WORLD_HVA + 4096)) \
    WARN(kvm_mmu_notifier_invalidate_range_end(a->kvm, WORLD_HVA + 1, WORLD_HVA)) \
    WARN(kvm_mmu_notifier_invalidate_range_end(a->kvm, WORLD_HVA, WORLD_HVA + 4096)) /* none is under way */ \
    WARN(LOCKED_R(kvm_mmu_notifier_invalidate_range_end(a->kvm, WORLD_HVA, WORLD_HVA + 4096))) \
    BAD(!kvm_mmu_notifier_clear_flush_young(NULL, WORLD_HVA, WORLD_HVA + 4096)) \
    BAD(!kvm_mmu_notifier_clear_flush_young(a->kvm, WORLD_HVA, WORLD_HVA)) \
    BAD(!kvm_mmu_notifier_clear_young(NULL, WORLD_HVA, WORLD_HVA + 4096)) \
    BAD(!kvm_mmu_notifier_clear_young(a->kvm, UINT64_MAX, 0)) \
    BAD(!kvm_mmu_notifier_test_young(NULL, WORLD_HVA)) \
    BAD(!kvm_mmu_notifier_test_young(a->kvm, UINT64_MAX)) \
    QUIET(tdpmmu_table_hpa(NULL) == INVALID_PAGE) \
    QUIET(tdpmmu_table_hpa(&own_header) == INVALID_PAGE) \
    QUIET(tdpmmu_table_hpa(BAD_POINTER) == INVALID_PAGE) \
    /* trace.h */ \
    QUIET(tdpmmu_trace_name(-1) == NULL && tdpmmu_trace_name(TDPMMU_TRACE_COUNT) == NULL) \
    BAD(tdpmmu_trace_enable(NULL, TDPMMU_TRACE_ALL) == -EINVAL) \
    BAD(tdpmmu_trace_enable(a->kvm, TDPMMU_TRACE_ALL + 1) == -EINVAL) \
    BAD(tdpmmu_trace_enable(a->kvm, UINT64_MAX) == -EINVAL) \
    BAD(tdpmmu_trace_ring_size(0) == -EINVAL) \
    BAD(tdpmmu_trace_ring_size(63) == -EINVAL) \
    BAD(tdpmmu_trace_ring_size(100) == -EINVAL) \
    BAD(tdpmmu_trace_ring_size(SIZE_MAX) == -EINVAL) \
    BAD(tdpmmu_trace_read(NULL, 8, NULL) == 0) \
    FINE(tdpmmu_trace_read(NULL, 0, NULL)) \
    BAD(tdpmmu_trace_write(-1) == -EINVAL) \
    QUIET(tdpmmu_trace_write(1 << 20) == -EBADF) \
    BAD(tdpmmu_trace_mark(NULL, "text") == -EINVAL) \
    BAD(tdpmmu_trace_mark(a->kvm, NULL) == -EINVAL) \
    BAD(tdpmmu_trace_mark(a->kvm, "two\nlines") == -EINVAL) \
    BAD(tdpmmu_trace_mark(a->kvm, "\xc3\xa4") == -EINVAL) \
    FINE(tdpmmu_trace_mark(a->kvm, "nobody wants it")) \
    /* rig.h */ \
    BAD(tdpmmu_fail_nth(0, 1) == -EINVAL) \
    BAD(tdpmmu_fail_nth(TDPMMU_FAIL_HERE, 1) == -EINVAL) \
    BAD(tdpmmu_fail_nth(TDPMMU_FAIL_ANY + 1, 1) == -EINVAL) \
    QUIET(tdpmmu_fail_count(~TDPMMU_FAIL_ANY) == 0) \
    BAD(tdpmmu_cpu_access(NULL, 0, 0, NULL) == -EINVAL) \
    BAD(tdpmmu_cpu_access(bare, 0, 0, NULL) == -EINVAL) \
    BAD(tdpmmu_cpu_access(a->vcpu, BEYOND << 12, 0, NULL) == -EINVAL) \
    BAD(tdpmmu_cpu_access(a->vcpu, UINT64_MAX, 0, NULL) == -EINVAL) \
    BAD(tdpmmu_check(NULL) == -EINVAL) \
    BAD(tdpmmu_check_report(NULL, NULL, NULL) == -EINVAL) \
    BAD(tdpmmu_check_always(NULL, 1) == -EINVAL) \
    BAD(tdpmmu_check_stats(NULL, &check_stats, sizeof(check_stats)) == -EINVAL) \
    BAD(tdpmmu_check_stats(a->kvm, NULL, sizeof(check_stats)) == -EINVAL) \
    BAD(tdpmmu_check_stats(a->kvm, &check_stats, 0) == -EINVAL) \
    BAD(tdpmmu_check_stats(a->kvm, &check_stats, SIZE_MAX) == -EINVAL) \
    FINE(tdpmmu_check(a->kvm)) \
    BAD(tdpmmu_cpu_exit(NULL) == -EINVAL) \
    FINE(tdpmmu_cpu_exit(bare)) \
    /* rig_ledger.h */ \
    BAD(tdpmmu_ledger_attach(NULL, NULL, NULL) == -EINVAL) \
    BAD(tdpmmu_ledger_detach(NULL) == -EINVAL) \
    BAD(tdpmmu_ledger_owes(NULL, 0, 0, 1) == false) \
    BAD(tdpmmu_ledger_owes(a->kvm, 2, 0, 1) == false) \
    FINE(tdpmmu_ledger_owes(a->kvm, 0, 5, 1)) \
    BAD(tdpmmu_cpus_check(NULL) == -EINVAL) \
    QUIET(tdpmmu_cpus_check(a->kvm) == -ENOENT) \
    BAD(tdpmmu_page_is_dirty(NULL, 0, 0) == -EINVAL) \
    BAD(tdpmmu_page_is_dirty(a->kvm, -1, 0) == -EINVAL) \
    BAD(tdpmmu_page_is_dirty(a->kvm, 0, BEYOND) == -EINVAL) \
    QUIET(tdpmmu_page_is_dirty(a->kvm, 1, 0) == -ENOENT) \
    /* rig_cpu.h; more in test_cpu_caches.c */ \
    BAD(tdpmmu_cpus_attach(NULL, NULL) == -EINVAL) \
    BAD(tdpmmu_cpus_attach(a->kvm, NULL) == -EINVAL) \
    BAD(tdpmmu_cpus_detach(NULL) == -EINVAL) \
    BAD(tdpmmu_cpus_detach(a->kvm) == -EINVAL) \
    BAD(tdpmmu_cpu_access_full(NULL, 0, 0, NULL) == -EINVAL) \
    BAD(tdpmmu_cpu_access_full(a->vcpu, 0, 0, NULL) == -EINVAL) \
    BAD(tdpmmu_cpu_fill(NULL, 0) == -EINVAL) \
    BAD(tdpmmu_cpu_fill(a->vcpu, BEYOND << 12) == -EINVAL) \
    BAD(tdpmmu_cpu_drop(NULL, 0) == -EINVAL) \
    BAD(tdpmmu_cpu_drop(a->vcpu, 0) == -EINVAL) \
    BAD(tdpmmu_cpu_cached(NULL, 0, NULL) == -EINVAL) \
    BAD(tdpmmu_cpu_cached(a->vcpu, 0, NULL) == -EINVAL) \
    /* rig_explore.h: not the library that explores */ \
    QUIET(tdpmmu_explore_main(0, NULL, NULL, 0) == 3) \
    QUIET(tdpmmu_explore_main(-1, NULL, NULL, -1) == 3) \
    FINE(tdpmmu_explore_failed(NULL, NULL, 0)) \
    FINE(tdpmmu_schedule_point(NULL, true)) \
    FINE(tdpmmu_explore_name(NULL, SIZE_MAX, NULL)) \
    FINE(tdpmmu_explore_pass_time(UINT64_MAX)) \
    FINE(tdpmmu_explore_ignore(NULL, SIZE_MAX)) \
    QUIET(!tdpmmu_explore_alloc(SIZE_MAX))

enum { FIRST = __COUNTER__ };

static bool said_no;

#define RUN_BAD(expression) case __COUNTER__ - FIRST - 1: said_no = (expression); \
    expected = 1; text = #expression; break;
#define RUN_ERRNO(expression) case __COUNTER__ - FIRST - 1: said_no = (expression); \
    expected = 0; text = #expression; break;
#define RUN_QUIET(expression) case __COUNTER__ - FIRST - 1: said_no = (expression); \
    expected = -1; text = #expression; break;
#define RUN_WARN(expression) case __COUNTER__ - FIRST - 1: (void)(expression); said_no = true; \
    expected = 1; text = #expression; break;
#define RUN_FINE(expression) case __COUNTER__ - FIRST - 1: (void)(expression); said_no = true; \
    expected = 0; text = #expression; break;

/* Makes call number i; false when there is none. */
static bool call(int i, int *expected_out, const char **text_out)
{
    int expected = 0;
    const char *text = NULL;

    switch (i) {
        CASES(RUN_BAD, RUN_ERRNO, RUN_QUIET, RUN_WARN, RUN_FINE)
    default:
        return false;
    }
    *expected_out = expected;
    *text_out = text;
    return true;
}

static struct tdpmmu_stats comparable(struct world *w)
{
    struct tdpmmu_stats s = stats_of(w->kvm);

    s.warnings = (uint64_t)tdpmmu_vcpu_root(w->vcpu)->tdp_mmu_root_count; /* this too must stay */
    return s;
}

static void setup_worlds(void)
{
    a = world_new(TDPMMU_EPT, 4);
    b = world_new(TDPMMU_NPT, 4);
    bare = tdpmmu_create_vcpu(a->kvm, 1);
    map_pages(a, 0, 8, 1);
    map_pages(a, 512, 512, 2);
    map_pages(b, 0, 8, 1);
    world_forget(a);
    world_forget(b);
}

static void each_call_says_no_and_changes_nothing(void **state)
{
    struct tdpmmu_stats stats_a, stats_b;
    uint64_t sum_a, sum_b;
    const char *text = NULL;
    int expected = 0, failures = 0, calls;

    (void)state;
    setup_worlds();
    stats_a = comparable(a);
    stats_b = comparable(b);
    sum_a = checksum(a->vcpu);
    sum_b = checksum(b->vcpu);
    for (calls = 0;; calls++) {
        struct tdpmmu_stats now_a, now_b;
        unsigned heard;

        atomic_store(&b->warnings, 0);
        world_forget(a);
        said_no = false;
        if (!call(calls, &expected, &text))
            break;
        heard = warnings(a) + atomic_load(&b->warnings);
        if (!said_no) {
            print_error("not refused: %s\n", text);
            failures++;
        }
        if (expected >= 0 ? heard != (unsigned)expected : heard > 1) {
            print_error("%u warnings, not %d: %s\n", heard, expected, text);
            failures++;
        }
        if (rcu_read_lock_held() || tdpmmu_read_lock_held(&a->kvm->mmu_lock) ||
            tdpmmu_write_lock_held(&a->kvm->mmu_lock)) {
            fail_msg("a lock is held after: %s", text);
        }
        now_a = comparable(a);
        now_b = comparable(b);
        if (memcmp(&now_a, &stats_a, sizeof(stats_a)) || memcmp(&now_b, &stats_b, sizeof(stats_b))) {
            print_error("the counters moved: %s\n", text);
            failures++;
            stats_a = now_a;
            stats_b = now_b;
        }
        if (checksum(a->vcpu) != sum_a || checksum(b->vcpu) != sum_b) {
            print_error("the tables changed: %s\n", text);
            failures++;
            sum_a = checksum(a->vcpu);
            sum_b = checksum(b->vcpu);
        }
        if (a->flush_count + a->change_count + b->flush_count + b->change_count) {
            print_error("a callback was called: %s\n", text);
            failures++;
            world_forget(b);
        }
    }
    rcu_barrier(); /* `head` is ours again */
    assert_true(calls > 300);
    assert_int_equal(failures, 0);
    /* And all still works. */
    world_forget(a);
    world_forget(b);
    assert_int_equal(map_page(a, 2000, 1), RET_PF_FIXED);
    assert_int_equal(map_page(b, 2000, 1), RET_PF_FIXED);
    world_free(b);
    world_free(a);
}

static void bad_gfn(void) { tdpmmu_mark_page_dirty(a->kvm, 0, BEYOND); }
static void bad_level(void) { map(a->vcpu, 0, 9, 5); }
static void bad_pfn(void) { map(a->vcpu, 0, 1, BEYOND); }
static void bad_root(void) { kvm_tdp_mmu_put_root(a->kvm, TOP_POINTER); }
static void bad_vendor(void) { create((struct tdpmmu_vm_config){ .size = sizeof(struct tdpmmu_vm_config), .vendor = 7 }); }
static void bad_config_size(void) { create((struct tdpmmu_vm_config){ .size = 7 }); }
static void bad_as_id(void) { tdpmmu_vcpu_set_as_id(a->vcpu, 5); }
static void bad_events(void) { tdpmmu_trace_ring_size(100); }
static void bad_size(void) { tdpmmu_get_stats(a->kvm, &stats, SIZE_MAX); }

static const struct tdpmmu_warning *last_of(struct world *w)
{
    return atomic_load(&w->warnings) ? &w->last_warning : &process_world.last_warning;
}

/* A warning names the function and the argument, and has its value. */
static void warnings_name_what_is_wrong(void **state)
{
    static const struct {
        void (*call)(void);
        const char *function, *field;
        uint64_t value;
    } cases[] = {
        { bad_gfn, "tdpmmu_mark_page_dirty", "gfn", BEYOND },
        { bad_level, "kvm_tdp_mmu_map", "max_level", 9 },
        { bad_pfn, "kvm_tdp_mmu_map", "pfn", BEYOND },
        { bad_root, "kvm_tdp_mmu_put_root", "root", UINT64_MAX },
        { bad_vendor, "tdpmmu_create_vm", "vendor", 7 },
        { bad_config_size, "tdpmmu_create_vm", "config", 7 },
        { bad_as_id, "tdpmmu_vcpu_set_as_id", "as_id", 5 },
        { bad_events, "tdpmmu_trace_ring_size", "events", 100 },
        { bad_size, "tdpmmu_get_stats", "size", UINT64_MAX },
    };

    (void)state;
    setup_worlds();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        world_forget(a);
        cases[i].call();
        assert_int_equal(warnings(a), 1);
        assert_string_equal(last_of(a)->function, cases[i].function);
        assert_non_null(strstr(last_of(a)->text, cases[i].field));
        assert_int_equal(last_of(a)->value[0], cases[i].value);
        assert_int_equal(last_of(a)->kind, TDPMMU_WARN_ARGUMENT);
    }
    world_forget(a);
    world_free(b);
    world_free(a);
}

/* With no TDP MMU set up there is nothing to work on. */
static void after_uninit(void **state)
{
    (void)state;
    setup_worlds();
    kvm_mmu_uninit_tdp_mmu(a->kvm);
    world_forget(a);
    assert_int_equal(kvm_mmu_load(a->vcpu), -EINVAL);
    assert_int_equal(kvm_tdp_mmu_get_vcpu_root_hpa(a->vcpu), INVALID_PAGE);
    assert_int_equal(map(a->vcpu, 0, 1, 5), -EINVAL);
    assert_int_equal(kvm_tdp_mmu_page_fault(a->vcpu, 0, 0), -EINVAL);
    assert_int_equal(get_walk(a->vcpu, 0, sptes, &root_level), -EINVAL);
    assert_int_equal(tdpmmu_cpu_access(a->vcpu, 0, 0, NULL), -EINVAL);
    LOCKED_W(kvm_tdp_mmu_zap_all(a->kvm));
    LOCKED_W(flag = kvm_tdp_mmu_zap_leafs(a->kvm, 0, 8, false));
    assert_false(flag);
    kvm_mmu_zap_all_fast(a->kvm);
    kvm_mmu_uninit_tdp_mmu(a->kvm); /* a second time */
    assert_int_equal(stats_of(a->kvm).tables, 0);
    tdpmmu_destroy_vm(a->kvm);
    free(a);
    world_forget(b);
    world_free(b);
}

/* The default handler writes one line to stderr and goes on. */
static void default_handler(void **state)
{
    char line[512] = "";
    FILE *capture = tmpfile();
    int saved = dup(2);

    (void)state;
    assert_non_null(capture);
    tdpmmu_set_warn_handler(NULL, NULL);
    fflush(stderr);
    dup2(fileno(capture), 2);
    tdpmmu_rwlock_init(NULL);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    rewind(capture);
    assert_non_null(fgets(line, sizeof(line), capture));
    assert_non_null(strchr(line, '\n'));
    assert_non_null(strstr(line, "tdpmmu_rwlock_init"));
    assert_null(fgets(line, sizeof(line), capture)); /* one line only */
    fclose(capture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_says_no_and_changes_nothing),
        cmocka_unit_test(warnings_name_what_is_wrong),
        cmocka_unit_test(after_uninit),
        cmocka_unit_test(default_handler),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
