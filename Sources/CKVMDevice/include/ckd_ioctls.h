/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ioctls that are answered: on what, number, handler.  Whatever is not here is refused with ENOTTY.
 * A handler gets a copy of the structure that the number names (NULL if it names none) and the argument
 * itself; it returns what ioctl() returns, or a negative errno.  Where the number says so (_IOR) the
 * structure is copied back.
 */
#ifndef CKD_IOCTLS_H
#define CKD_IOCTLS_H

#include "ckd_objects.h"

#ifndef KVM_SET_USER_MEMORY_REGION2 /* as <linux/kvm.h> has it from Linux 6.8 on */
struct kvm_userspace_memory_region2 {
    uint32_t slot;
    uint32_t flags;
    uint64_t guest_phys_addr;
    uint64_t memory_size;
    uint64_t userspace_addr;
    uint64_t guest_memfd_offset;
    uint32_t guest_memfd;
    uint32_t pad1;
    uint64_t pad2[14];
};
#define KVM_SET_USER_MEMORY_REGION2 _IOW(KVMIO, 0x49, struct kvm_userspace_memory_region2)
#endif
#ifndef KVM_PRE_FAULT_MEMORY
#define KVM_PRE_FAULT_MEMORY _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
#endif

#define CKD_IOCTLS(ROW)                                                  \
    ROW(CKD_SYSTEM, KVM_GET_API_VERSION, ckd_get_api_version)            \
    ROW(CKD_SYSTEM, KVM_CREATE_VM, ckd_create_vm)                        \
    ROW(CKD_SYSTEM, KVM_CHECK_EXTENSION, ckd_check_extension)            \
    ROW(CKD_SYSTEM, KVM_GET_VCPU_MMAP_SIZE, ckd_get_vcpu_mmap_size)      \
    ROW(CKD_SYSTEM, KVM_GET_SUPPORTED_CPUID, ckd_get_supported_cpuid)    \
    ROW(CKD_SYSTEM, KVM_GET_MSR_INDEX_LIST, ckd_get_msr_list)            \
    ROW(CKD_SYSTEM, KVM_GET_MSR_FEATURE_INDEX_LIST, ckd_get_msr_list)    \
    ROW(CKD_VM, KVM_CHECK_EXTENSION, ckd_check_extension)                \
    ROW(CKD_VM, KVM_CREATE_VCPU, ckd_create_vcpu)                        \
    ROW(CKD_VM, KVM_SET_USER_MEMORY_REGION, ckd_set_region)              \
    ROW(CKD_VM, KVM_SET_USER_MEMORY_REGION2, ckd_set_region2)            \
    ROW(CKD_VM, KVM_GET_DIRTY_LOG, ckd_get_dirty_log)                    \
    ROW(CKD_VM, KVM_CLEAR_DIRTY_LOG, ckd_clear_dirty_log)                \
    ROW(CKD_VM, KVM_RESET_DIRTY_RINGS, ckd_reset_dirty_rings)            \
    ROW(CKD_VM, KVM_ENABLE_CAP, ckd_enable_cap)                          \
    ROW(CKD_VM, KVM_GET_STATS_FD, ckd_get_stats_fd)                      \
    ROW(CKD_VM, KVM_GET_TSC_KHZ, ckd_get_tsc_khz)                        \
    ROW(CKD_VM, KVM_CREATE_IRQCHIP, ckd_create_irqchip)                  \
    ROW(CKD_VM, KVM_SET_TSS_ADDR, ckd_set_tss_addr)                      \
    ROW(CKD_VM, KVM_SET_IDENTITY_MAP_ADDR, ckd_set_identity_map_addr)    \
    ROW(CKD_VM, KVM_SET_NR_MMU_PAGES, ckd_set_nr_mmu_pages)              \
    ROW(CKD_VCPU, KVM_RUN, ckd_run)                                      \
    ROW(CKD_VCPU, KVM_GET_REGS, ckd_get_regs)                            \
    ROW(CKD_VCPU, KVM_SET_REGS, ckd_set_regs)                            \
    ROW(CKD_VCPU, KVM_GET_SREGS, ckd_get_sregs)                          \
    ROW(CKD_VCPU, KVM_SET_SREGS, ckd_set_sregs)                          \
    ROW(CKD_VCPU, KVM_GET_MP_STATE, ckd_get_mp_state)                    \
    ROW(CKD_VCPU, KVM_SET_MP_STATE, ckd_set_mp_state)                    \
    ROW(CKD_VCPU, KVM_SET_CPUID2, ckd_set_cpuid)                         \
    ROW(CKD_VCPU, KVM_GET_CPUID2, ckd_get_cpuid)                         \
    ROW(CKD_VCPU, KVM_SET_SIGNAL_MASK, ckd_set_signal_mask)              \
    ROW(CKD_VCPU, KVM_PRE_FAULT_MEMORY, ckd_pre_fault_memory)            \
    ROW(CKD_VCPU, KVM_GET_TSC_KHZ, ckd_get_tsc_khz)

#define CKD_DECLARE(kind, number, handler) \
    int handler(struct ckd_object *object, void *structure, uint64_t argument);
CKD_IOCTLS(CKD_DECLARE)
#undef CKD_DECLARE

/* ioctl() on one of our descriptors: what it returns, or a negative errno. */
long ckd_ioctl(struct ckd_object *object, unsigned long number, uint64_t argument);
/* ioctl() on another descriptor has succeeded: userfaultfd is looked at. */
void ckd_saw_ioctl(unsigned long number);

#endif
