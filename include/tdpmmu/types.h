/* SPDX-License-Identifier: GPL-2.0-only */
/* The field's small types, levels, fault bits, and the page-table page. */
#ifndef TDPMMU_TYPES_H
#define TDPMMU_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TDPMMU_VERSION_MAJOR 0
#define TDPMMU_VERSION_MINOR 1
#define TDPMMU_VERSION_PATCH 0

#ifdef __cplusplus
#define TDPMMU_BEGIN_DECLS extern "C" {
#define TDPMMU_END_DECLS }
#else
#define TDPMMU_BEGIN_DECLS
#define TDPMMU_END_DECLS
#endif

typedef uint64_t gfn_t;     /* guest frame number: gpa >> 12 */
typedef uint64_t gpa_t;     /* guest-physical address, bytes */
typedef uint64_t hpa_t;     /* host-physical address of a table, bytes */
typedef uint64_t kvm_pfn_t; /* host frame number, or one of KVM_PFN_* */

/*
 * A pointer to an SPTE that RCU protects.  Dereference it only through
 * struct tdp_iter or the functions of tdp_iter.h, inside an RCU reader.
 */
typedef uint64_t *tdp_ptep_t;

#define PG_LEVEL_NONE 0
#define PG_LEVEL_4K 1
#define PG_LEVEL_2M 2
#define PG_LEVEL_1G 3
#define PG_LEVEL_512G 4
#define PG_LEVEL_256T 5
#define KVM_MAX_HUGEPAGE_LEVEL PG_LEVEL_1G
#define PT64_ROOT_4LEVEL 4
#define PT64_ROOT_5LEVEL 5
#define PT64_ROOT_MAX_LEVEL PT64_ROOT_5LEVEL
#define SPTE_ENT_PER_PAGE 512

/* Number of 4K pages that one entry at a level covers. */
#define KVM_PAGES_PER_HPAGE(level) (UINT64_C(1) << (((level) - 1) * 9))

#define INVALID_PAGE (~(hpa_t)0)

/* A pfn with any of these bits set is no page but an answer. */
#define KVM_PFN_ERR_MASK (UINT64_C(0x7ff) << 52)
#define KVM_PFN_NOSLOT (UINT64_C(1) << 63)      /* no memory there: MMIO */
#define KVM_PFN_ERR_FAULT (KVM_PFN_ERR_MASK)        /* host cannot map: -EFAULT */
#define KVM_PFN_ERR_HWPOISON (KVM_PFN_ERR_MASK + 1) /* poisoned: -EHWPOISON */
#define KVM_PFN_ERR_RO_FAULT (KVM_PFN_ERR_MASK + 2) /* write to read-only memory */

/* Page-fault error code bits (as the CPU gives them to KVM). */
#define PFERR_PRESENT_MASK (UINT64_C(1) << 0)
#define PFERR_WRITE_MASK (UINT64_C(1) << 1)
#define PFERR_USER_MASK (UINT64_C(1) << 2)
#define PFERR_RSVD_MASK (UINT64_C(1) << 3)
#define PFERR_FETCH_MASK (UINT64_C(1) << 4)
#define PFERR_GUEST_FINAL_MASK (UINT64_C(1) << 32)
#define PFERR_GUEST_PAGE_MASK (UINT64_C(1) << 33)

/* What handling a fault came to. */
enum tdpmmu_ret_pf {
    RET_PF_CONTINUE = 0,        /* nothing decided yet; never returned to a caller */
    RET_PF_RETRY = 1,           /* lost a race: let the guest try again */
    RET_PF_EMULATE = 2,         /* MMIO, or a write that must be emulated */
    RET_PF_WRITE_PROTECTED = 3, /* the gfn is write-tracked */
    RET_PF_INVALID = 4,         /* no shadow page handles it */
    RET_PF_FIXED = 5,           /* the SPTE is in place */
    RET_PF_SPURIOUS = 6,        /* it already was */
};

/* The two MMUs.  Bits 7 (leaf), 11 (present) and the pfn agree in both. */
enum tdpmmu_vendor {
    TDPMMU_EPT = 0, /* Intel */
    TDPMMU_NPT = 1, /* AMD */
};

struct kvm;
struct kvm_vcpu;

/*
 * 16 bytes; call_rcu() allocates nothing beside it.  liburcu's is the same under the
 * same name, and is taken where it was included before.
 */
#ifndef _URCU_CALL_RCU_H
struct rcu_head {
    struct rcu_head *next;               /* the library's while queued */
    void (*func)(struct rcu_head *head); /* runs once, after a grace period */
};
#endif
#ifdef __cplusplus
static_assert(sizeof(struct rcu_head) == 16 && offsetof(struct rcu_head, func) == 8, "rcu_head");
#else
_Static_assert(sizeof(struct rcu_head) == 16 && offsetof(struct rcu_head, func) == 8, "rcu_head");
#endif

/*
 * One SRCU domain (srcu.h).  It must stay where it is from init_srcu_struct(), or from
 * DEFINE_SRCU(), until cleanup_srcu_struct().
 */
struct srcu_struct {
    struct srcu_struct *tdpmmu_self; /* private; its own address while it may be used */
    uint64_t tdpmmu_private[88];
};

/* The kernel's page role; only what a direct TDP page uses has a meaning. */
union kvm_mmu_page_role {
    uint32_t word;
    __extension__ struct {
        uint32_t level : 4;            /* of the entries in the table */
        uint32_t has_4_byte_gpte : 1;  /* 0 */
        uint32_t quadrant : 2;         /* 0 */
        uint32_t direct : 1;           /* 1 */
        uint32_t access : 3;           /* 7: read, write, execute */
        uint32_t invalid : 1;          /* root only: no fault may use it any more */
        uint32_t efer_nx : 1;          /* 1 */
        uint32_t cr0_wp : 1;           /* 1 */
        uint32_t smep_andnot_wp : 1;   /* 0 */
        uint32_t smap_andnot_wp : 1;   /* 0 */
        uint32_t ad_disabled : 1;      /* no Accessed / Dirty bits in this VM */
        uint32_t guest_mode : 1;       /* 0 */
        uint32_t passthrough : 1;      /* 0 */
        uint32_t unused : 5;
        uint32_t smm : 8;              /* address space: 0 normal, 1 SMM */
    };
};

/*
 * One page-table page's header, 128 bytes, found from the page's address by
 * arithmetic (sptep_to_sp()).  Fields are for reading; the library writes them.
 */
struct kvm_mmu_page {
    struct kvm_mmu_page *next;    /* root list; written under the pages lock, readers RCU */
    uint64_t *spt;                /* the 512 SPTEs */
    gfn_t gfn;                    /* first gfn the table covers */
    struct kvm *kvm;              /* owner; NULL while the page is free */
    tdp_ptep_t ptep;              /* parent entry that points here; NULL for a root */
    struct rcu_head rcu_head;     /* queued when the table is unlinked */
    union kvm_mmu_page_role role; /* level and, for a root, address space and validity */
    int32_t tdp_mmu_root_count;   /* references; roots only, 0 once it is dying */
    bool tdp_mmu_page;            /* true while in use as a table */
    bool nx_huge_page_disallowed; /* stands in for a huge page that must not be executable */
    bool tdp_mmu_scheduled_root_to_zap; /* invalidated, the MMU's reference not yet dropped */
    uint8_t tdpmmu_state;         /* private */
    uint32_t tdpmmu_private32;
    uint64_t tdpmmu_private[7];
};


#endif
