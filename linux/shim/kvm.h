/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KVM's structs and words as far as the TDP MMU and its callers use them, laid out so that what
 * the public headers show of a VM and a slot stands first, as they show it.  What Linux does with
 * them is the kernel's; this says only what there is.
 */
#ifndef LINUX_KVM_H
#define LINUX_KVM_H

enum pg_level { PG_LEVEL_NUM = 6 };

#define KVM_HAVE_MMU_RWLOCK
#define PT32E_ROOT_LEVEL 3
#define KVM_NR_PAGE_SIZES (KVM_MAX_HUGEPAGE_LEVEL - PG_LEVEL_4K + 1)
#define KVM_HPAGE_GFN_SHIFT(x) (((x) - 1) * 9)
#define KVM_HPAGE_SHIFT(x) (PAGE_SHIFT + KVM_HPAGE_GFN_SHIFT(x))
#define KVM_HPAGE_SIZE(x) (1UL << KVM_HPAGE_SHIFT(x))
#define KVM_HPAGE_MASK(x) (~(KVM_HPAGE_SIZE(x) - 1))
#define KVM_MMU_HASH_SHIFT 12
#define KVM_NUM_MMU_PAGES (1 << KVM_MMU_HASH_SHIFT)
#define KVM_MAX_NR_ADDRESS_SPACES 2
#define kvm_arch_nr_memslot_as_ids(kvm) KVM_MAX_NR_ADDRESS_SPACES
#define kvm_arch_vcpu_memslots_id(vcpu) ((vcpu)->face_as_id)
/* hflags of a vCPU in SMM */
#define kvm_memslots_for_spte_role(kvm, role) __kvm_memslots(kvm, (role).smm ? 1 : 0)
#define KVM_MEM_SLOTS_NUM 32767
#define KVM_MEM_MAX_NR_PAGES ((1UL << 31) - 1)
#ifndef KVM_MEM_GUEST_MEMFD
#define KVM_MEM_GUEST_MEMFD (1UL << 2)
struct kvm_userspace_memory_region2 {
    __u32 slot, flags;
    __u64 guest_phys_addr, memory_size, userspace_addr, guest_memfd_offset;
    __u32 guest_memfd, pad1;
    __u64 pad2[14];
};
#endif
#define KVM_MEMSLOT_INVALID (1UL << 16)
#define KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS BIT_ULL(63)
#define KVM_MEMSLOT_PAGES_TO_MMU_PAGES_RATIO 50
#define KVM_MIN_ALLOC_MMU_PAGES 64UL
#define APIC_ACCESS_PAGE_PRIVATE_MEMSLOT (KVM_USER_MEM_SLOTS + 1)
#define INVALID_GPA (~(gpa_t)0)
#define VALID_PAGE(x) ((x) != INVALID_PAGE)
#define KVM_PFN_ERR_NOSLOT_MASK (0xfffULL << 52)
#define KVM_HVA_ERR_BAD (~0UL << 47)
#define KVM_DIRTY_RING_RSVD_ENTRIES 64
#ifndef KVM_DIRTY_RING_MAX_ENTRIES
#define KVM_DIRTY_RING_MAX_ENTRIES 65536
#endif
#define KVM_DIRTY_LOG_MANUAL_CAPS (KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE | KVM_DIRTY_LOG_INITIALLY_SET)
#define KVM_X86_DEFAULT_VM 0
#ifndef KVM_X86_QUIRK_SLOT_ZAP_ALL
#define KVM_X86_QUIRK_SLOT_ZAP_ALL (1 << 7)
#endif
#define kvm_check_has_quirk(kvm, quirk) (!((kvm)->arch.disabled_quirks & (quirk)))
#define KVM_MMU_NUM_PREV_ROOTS 3
#define KVM_MMU_ROOT_CURRENT BIT(0)
#define KVM_MMU_ROOT_PREVIOUS(i) BIT(1 + (i))
#define KVM_MMU_ROOTS_ALL (BIT(1 + KVM_MMU_NUM_PREV_ROOTS) - 1)
#define MMIO_GVA_ANY (~(gva_t)0)
enum { OUTSIDE_GUEST_MODE, IN_GUEST_MODE, EXITING_GUEST_MODE, READING_SHADOW_PAGE_TABLES };
enum { KVM_REQ_TLB_FLUSH, KVM_REQ_MMU_FREE_OBSOLETE_ROOTS, KVM_REQ_UPDATE_CPU_DIRTY_LOGGING,
       KVM_REQ_DIRTY_RING_SOFT_FULL, KVM_REQ_APIC_PAGE_RELOAD, LINUX_REQUESTS };
enum kvm_mr_change { KVM_MR_CREATE, KVM_MR_DELETE, KVM_MR_MOVE, KVM_MR_FLAGS_ONLY };

static inline bool is_error_pfn(kvm_pfn_t pfn) { return pfn & KVM_PFN_ERR_MASK; }
static inline bool is_error_noslot_pfn(kvm_pfn_t pfn) { return pfn & KVM_PFN_ERR_NOSLOT_MASK; }
static inline bool is_noslot_pfn(kvm_pfn_t pfn) { return pfn == KVM_PFN_NOSLOT; }
#define KVM_PFN_ERR_SIGPENDING (KVM_PFN_ERR_MASK + 3)
#define KVM_PFN_ERR_NEEDS_IO (KVM_PFN_ERR_MASK + 4)
static inline bool is_sigpending_pfn(kvm_pfn_t pfn) { return pfn == KVM_PFN_ERR_SIGPENDING; }
static inline gfn_t gpa_to_gfn(gpa_t gpa) { return gpa >> PAGE_SHIFT; }
#define PAGE_ALIGNED(x) (!((x) & (PAGE_SIZE - 1)))

struct kvm_rmap_head { unsigned long val; };
struct kvm_lpage_info { int disallow_lpage; };
struct kvm_arch_memory_slot {
    struct kvm_rmap_head *rmap[KVM_NR_PAGE_SIZES];
    struct kvm_lpage_info *lpage_info[KVM_NR_PAGE_SIZES - 1];
    unsigned short *gfn_write_track;
};

struct kvm_memory_slot {
    /* as struct face_kvm_memory_slot */
    gfn_t base_gfn;
    unsigned long npages;
    unsigned long userspace_addr;
    u32 flags;
    u16 id;
    u16 as_id;
    /* the kernel's; a slot is in two sets, the active one and the other */
    struct hlist_node id_node[2];
    struct interval_tree_node hva_node[2];
    struct rb_node gfn_node[2];
    unsigned long *dirty_bitmap;
    struct kvm_arch_memory_slot arch;
};

struct kvm_memslots {
    u64 generation;
    atomic_long_t last_used_slot;
    struct rb_root_cached hva_tree;
    struct rb_root gfn_tree;
    DECLARE_HASHTABLE(id_hash, 7);
    int node_idx;
};

struct rsvd_bits_validate { u64 rsvd_bits_mask[2][5]; u64 bad_mt_xwr; };
struct kvm_mmu_memory_cache {
    gfp_t gfp_zero;
    gfp_t gfp_custom;
    u64 init_value;
    struct kmem_cache *kmem_cache;
    int capacity;
    int nobjs;
    void **objects;
};
struct kvm_vcpu;
struct kvm_page_fault;
struct kvm_mmu_page;
struct x86_exception;
struct kvm_mmu_root_info { gpa_t pgd; hpa_t hpa; };
struct kvm_mmu {
    int (*page_fault)(struct kvm_vcpu *vcpu, struct kvm_page_fault *fault);
    struct kvm_mmu_root_info root;
    hpa_t mirror_root_hpa;
    union kvm_mmu_page_role root_role;
    u32 pkru_mask;
    u8 permissions[16];
    struct kvm_mmu_root_info prev_roots[KVM_MMU_NUM_PREV_ROOTS];
    u64 *pae_root, *pml4_root, *pml5_root;
    struct rsvd_bits_validate shadow_zero_check;
};

struct kvm_arch {
    unsigned long vm_type;
    u64 disabled_quirks;
    bool shadow_root_allocated;
    bool disable_nx_huge_pages;
    bool has_private_mem;
    bool pre_fault_allowed;
    u8 mmu_valid_gen;
    unsigned long n_requested_mmu_pages;
    unsigned long n_used_mmu_pages;
    u64 shadow_mmio_value;
    struct hlist_head *mmu_page_hash;
    struct list_head active_mmu_pages;
    struct list_head zapped_obsolete_pages;
    struct list_head possible_nx_huge_pages;
    spinlock_t mmu_unsync_pages_lock;
    atomic64_t tdp_mmu_pages;
    struct list_head tdp_mmu_roots;
    spinlock_t tdp_mmu_pages_lock;
    struct kvm_mmu_memory_cache split_page_header_cache, split_shadow_page_cache, split_desc_cache;
};

struct mmu_notifier { int unused; };

/* A VM's masks, as each thread that works on it loads them (masks.c). */
#define LINUX_MOST_MASKS 48
struct linux_machine {
    u64 mask[LINUX_MOST_MASKS];
    u8 maxphyaddr;
    int cpu_dirty_log_size;
    u8 root_level;
    struct linux_cpuinfo cpu;
    bool l1tf, pml_oldest_first;
};

struct kvm {
    /* as struct face_kvm */
    rwlock_t mmu_lock;
    struct srcu_struct srcu;
    const struct tdpmmu_facts *facts; /* NULL: a thread has its VM's masks */
    /* the kernel's */
    struct mutex lock, slots_lock, slots_arch_lock;
    unsigned long nr_memslot_pages;
    struct kvm_memslots __memslots[KVM_MAX_NR_ADDRESS_SPACES][2];
    struct kvm_memslots *memslots[KVM_MAX_NR_ADDRESS_SPACES];
    atomic_t nr_memslots_dirty_logging;
    spinlock_t mn_invalidate_lock;
    unsigned long mn_active_invalidate_count;
    struct rcuwait mn_memslots_update_rcuwait;
    refcount_t users_count;
    int created_vcpus;
    struct mmu_notifier mmu_notifier;
    unsigned long mmu_invalidate_seq;
    long mmu_invalidate_in_progress;
    gfn_t mmu_invalidate_range_start;
    gfn_t mmu_invalidate_range_end;
    u64 manual_dirty_log_protect;
    u32 dirty_ring_size;
    bool dirty_ring_with_bitmap;
    struct {
        struct { u64 remote_tlb_flush, remote_tlb_flush_requests; } generic;
        atomic64_t pages[KVM_NR_PAGE_SIZES];
        u64 nx_lpage_splits;
    } stat;
    struct kvm_arch arch;
    /* ours: what the interface has of a VM beside it */
    struct linux_machine machine;
    struct face_vm *face;
};

struct kvm_vcpu_stat { u64 pf_taken, pf_fixed, pf_emulate, pf_spurious, pf_fast, pf_mmio_spte_created, pf_guest; };
struct linux_run { u32 exit_reason; };
#include <linux/kvm_dirty_ring.h>
struct kvm_vcpu {
    struct kvm *kvm;
    int vcpu_id;
    int mode;
    unsigned long requests;
    struct linux_run run[1];
    struct kvm_vcpu_stat stat;
    struct kvm_memory_slot *last_used_slot;
    u64 last_used_slot_gen;
    struct kvm_dirty_ring dirty_ring;
    struct {
        struct kvm_mmu *mmu, root_mmu, guest_mmu, nested_mmu;
        struct kvm_mmu_memory_cache mmu_pte_list_desc_cache, mmu_shadow_page_cache,
            mmu_shadowed_info_cache, mmu_page_header_cache, mmu_external_spt_cache;
        u32 pkru;
        gva_t mmio_gva;
        gfn_t mmio_gfn;
        unsigned int mmio_access;
        u64 mmio_gen;
    } arch;
    /* ours */
    unsigned long face_entries; /* odd: in the guest of rig.h (face_rig.c) */
    int face_as_id;
    struct {
        struct mutex mutex;
        u64 *entries; /* NULL: the CPU has none */
        u16 index;    /* of the next entry, from 511 downwards; 0xffff: full */
    } face_pml;       /* what the CPU logs (face_pml.c); face_pml.mutex */
    struct kvm_vcpu *face_next; /* vCPUs of the VM, lowest id first; the VM's vcpus lock */
};
struct kvm_vcpu *linux_next_vcpu(struct kvm *kvm, struct kvm_vcpu *vcpu);
#define kvm_for_each_vcpu(i, v, kvm) \
    for ((i) = 0, (v) = linux_next_vcpu(kvm, NULL); (v); (i)++, (v) = linux_next_vcpu(kvm, v))

union kvm_mmu_notifier_arg { unsigned long attributes; };
enum kvm_gfn_range_filter { KVM_FILTER_SHARED = BIT(0), KVM_FILTER_PRIVATE = BIT(1) };
struct kvm_gfn_range {
    struct kvm_memory_slot *slot;
    gfn_t start;
    gfn_t end;
    union kvm_mmu_notifier_arg arg;
    enum kvm_gfn_range_filter attr_filter;
    bool may_block;
    bool lockless;
};
struct mmu_notifier_range { unsigned long start, end; bool blockable; };
#define mmu_notifier_range_blockable(r) ((r)->blockable)
struct mm_struct;

struct kvm_host_values { u8 maxphyaddr; u64 efer, xcr0, xss, arch_capabilities; };
extern __thread struct kvm_host_values kvm_host;
struct kvm_x86_ops { int cpu_dirty_log_size; void *set_apic_access_page_addr; };
extern __thread struct kvm_x86_ops kvm_x86_ops;
extern __thread bool eager_page_split;
extern __thread const unsigned int *linux_recovery_ratio; /* of this step */
#define nx_huge_pages_recovery_ratio (*linux_recovery_ratio)
extern bool tdp_enabled;
extern int max_huge_page_level;

/* ---- what the kernel's code asks of the rest of KVM ----------------------------- */
#define array_index_nospec(i, n) (i)
static inline bool kvm_slot_can_be_private(const struct kvm_memory_slot *slot) { (void)slot; return false; }
static inline bool kvm_slot_has_gmem(const struct kvm_memory_slot *slot) { (void)slot; return false; }
static inline bool kvm_slot_dirty_track_enabled(const struct kvm_memory_slot *slot)
{
    return slot->flags & KVM_MEM_LOG_DIRTY_PAGES;
}
static inline bool kvm_dirty_log_manual_protect_and_init_set(struct kvm *kvm)
{
    return kvm->manual_dirty_log_protect & KVM_DIRTY_LOG_INITIALLY_SET;
}
#define kvm_arch_has_private_mem(kvm) false
#define kvm_arch_has_readonly_mem(kvm) true
#define kvm_mem_is_private(kvm, gfn) false
#define kvm_arch_guest_memory_reclaimed(kvm) do { } while (0)
#define kvm_release_pfn_clean(pfn) do { } while (0)
#define kvm_release_page_clean(page) do { } while (0)
#define kvm_set_pfn_dirty(pfn) do { } while (0)
#define kvm_set_pfn_accessed(pfn) do { } while (0)
#define kvm_prepare_memory_fault_exit(v, gpa, size, w, x, p) do { } while (0)
#define kvm_account_pgtable_pages(virt, nr) do { } while (0)
#define is_guest_mode(v) false
#define is_smm(v) ((v)->face_as_id == 1)
#define kvm_apicv_activated(kvm) true
#define kvm_make_request(r, v) set_bit((r), &(v)->requests)
#define kvm_test_request(r, v) test_bit((r), &(v)->requests)
static inline bool kvm_check_request(int r, struct kvm_vcpu *v)
{
    if (!kvm_test_request(r, v))
        return false;
    clear_bit((unsigned long)r, &v->requests);
    return true;
}
bool kvm_make_all_cpus_request(struct kvm *kvm, unsigned int request);
void kvm_vcpu_kick(struct kvm_vcpu *vcpu);
int kvm_arch_flush_remote_tlbs(struct kvm *kvm);
int kvm_arch_flush_remote_tlbs_range(struct kvm *kvm, gfn_t gfn, u64 npages);
extern __thread struct kvm_vcpu *linux_running_vcpu;
#define kvm_get_running_vcpu() linux_running_vcpu
#define vcpu_load(v) (linux_running_vcpu = (v))
#define vcpu_put(v) (linux_running_vcpu = NULL)
int linux_mapping_level(struct kvm *kvm, gfn_t gfn, const struct kvm_memory_slot *slot);
kvm_pfn_t linux_host_pfn(const struct kvm_memory_slot *slot, gfn_t gfn, bool write, bool *writable);

static inline bool kvm_is_cr4_bit_set(struct kvm_vcpu *v, unsigned long m) { (void)v, (void)m; return false; }
#define guest_cpu_cap_has(v, f) false
static inline unsigned long kvm_read_cr3(struct kvm_vcpu *v) { (void)v; return 0; }
#define static_call(x) linux_##x
#define kvm_x86_call(func) static_call(kvm_x86_##func)
void linux_kvm_x86_load_mmu_pgd(struct kvm_vcpu *v, hpa_t root, int level);
void linux_kvm_x86_flush_tlb_current(struct kvm_vcpu *v);
static inline unsigned long linux_kvm_x86_get_rflags(struct kvm_vcpu *v) { (void)v; return 0; }
/* A VM without devices that do DMA past the caches: write-back, and the guest's PAT is ignored. */
static inline u8 linux_kvm_x86_get_mt_mask(struct kvm_vcpu *v, gfn_t gfn, bool is_mmio)
{
    (void)v, (void)gfn;
    return is_mmio ? 0 : 6 << VMX_EPT_MT_EPTE_SHIFT | VMX_EPT_IPAT_BIT;
}

/* ---- tracepoints: each calls hook_X(), if there is one (hooks.c) ------------------ */
#define TP_PROTO(...) __VA_ARGS__
#define TP_ARGS(...) __VA_ARGS__
/* The name is pasted at once: it may be one of those that linux_names.h changes. */
#define LINUX_EVENT_(trace, hook, proto, args) \
    void hook(proto) __attribute__((weak)); \
    static inline void trace(proto) { if (hook) hook(args); }
#define LINUX_EVENT(name, proto, args) LINUX_EVENT_(trace_##name, hook_##name, TP_PROTO(proto), TP_ARGS(args))
#define TRACE_EVENT(name, proto, args, ...) LINUX_EVENT_(trace_##name, hook_##name, TP_PROTO(proto), TP_ARGS(args))
#define DECLARE_EVENT_CLASS(...)
#define DEFINE_EVENT(class, name, proto, args) LINUX_EVENT_(trace_##name, hook_##name, TP_PROTO(proto), TP_ARGS(args))
#define TRACE_DEFINE_ENUM(x)

LINUX_EVENT(kvm_unmap_hva_range, TP_PROTO(unsigned long start, unsigned long end), TP_ARGS(start, end))
LINUX_EVENT(kvm_age_hva, TP_PROTO(unsigned long start, unsigned long end), TP_ARGS(start, end))
LINUX_EVENT(kvm_test_age_hva, TP_PROTO(unsigned long hva), TP_ARGS(hva))
LINUX_EVENT(kvm_dirty_ring_push, TP_PROTO(struct kvm_dirty_ring *ring, u32 slot, u64 offset),
            TP_ARGS(ring, slot, offset))
LINUX_EVENT(kvm_dirty_ring_reset, TP_PROTO(struct kvm_dirty_ring *ring), TP_ARGS(ring))
LINUX_EVENT(kvm_dirty_ring_exit, TP_PROTO(struct kvm_vcpu *vcpu), TP_ARGS(vcpu))

#include "linux_prototypes.h" /* of what was cut out, for who calls it from another file */

#endif
