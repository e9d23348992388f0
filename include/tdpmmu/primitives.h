/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an operation on the page tables is made of, for those who write one of their own: look, change one entry,
 * give way, link a table.  kernel.h has the kernel's names for all of it.
 */
#ifndef TDPMMU_PRIMITIVES_H
#define TDPMMU_PRIMITIVES_H

#include "tdp_iter.h"
#include "types.h"
#include "vm.h"

TDPMMU_BEGIN_DECLS

/*
 * How a VM encodes its SPTEs, and where what changes can be read; kvm->facts points to it.  It stays as it is
 * as long as the VM is there; a bit that the VM's SPTEs do not have is 0.  (No uint64_t, so that a compiler knows that
 * who writes 512 SPTEs does not write here.)
 */
struct tdpmmu_facts {
    unsigned long long leaf_bits;     /* set in every present leaf: rights but W, memory type, MMU_PRESENT, type of A/D tracking */
    unsigned long long table_bits;    /* set in every entry that points to a table */
    unsigned long long accessed;
    unsigned long long dirty;
    unsigned long long host_writable;
    unsigned long long mmu_writable;
    unsigned long long execute;       /* set, and no_execute clear: may be executed */
    unsigned long long no_execute;
    unsigned long long access_track;  /* cleared in a leaf whose next access shall fault; R and X wait at bits 54 and 56 */
    unsigned long long mmio_mask;     /* an MMIO SPTE has mmio_value of it; 0: MMIO is not cached */
    unsigned long long mmio_value;
    unsigned long long mmio_access;   /* what else an MMIO SPTE says of the access */
    unsigned long long l1tf_mask;     /* inverted in an MMIO SPTE; the gfn's own bits stand five places further up */
    unsigned long long gfn_limit;     /* first gfn that gets no SPTE */
    unsigned long long pfn_mask;      /* largest pfn */
    struct kvm_mmu_page *const *first_root; /* of the list of roots; RCU, or Lock R or W */
    const bool *nx_huge_pages;              /* is execution through huge pages forbidden?  Any thread may switch it */
    bool asks_to_yield;     /* the VM has need_resched or yield_at: ask at each entry */
};

/* How tdpmmu_set_spte() changes an entry, and what of mmu_lock it wants. */
enum tdpmmu_set {
    TDPMMU_SET_ALONE = 0,  /* Lock W is held: a store, or an exchange where a CPU may set a bit meanwhile */
    TDPMMU_SET_SHARED = 1, /* Lock R is held: a compare-and-exchange */
    /* Lock R and RCU are held: frozen, flushed, then SHADOW_NONPRESENT_VALUE, which new_spte has to be */
    TDPMMU_SET_ZAP = 2,
    /* RCU, or Lock W: Accessed, Dirty, W or the rights of a leaf that stays, beside fast faults and CPUs;
     * a store under Lock W where none of these can be at the entry, else a compare-and-exchange */
    TDPMMU_SET_BITS = 3,
    /* The same for who has the entry's address only: kvm means nothing, and of iter sptep, level, old_spte and yielded
     * count; it gets the entry's gfn and as_id */
    TDPMMU_SET_BITS_AT = 4,
};

/*
 * Change the entry that iter stands on from iter->old_spte to new_spte: the one way in which SPTEs change.  The
 * change is judged, made, told (spte_changed), counted, and what it cuts off is removed and freed after a grace
 * period.  iter needs as_id, gfn, level, sptep and old_spte only, and gets in old_spte what was there before.
 * No flush is made but by TDPMMU_SET_ZAP: what the change takes away the caller has to flush, and before it leaves
 * RCU if that was a table.
 * 0; -EBUSY: nothing was done, old_spte is what is there now (another thread or a CPU changed the entry), or
 * FROZEN_SPTE (it is another thread's, or the root is invalid, where nothing new may appear: go on without it);
 * -EINVAL with a warning, and FROZEN_SPTE in old_spte, so that who tries again goes on as well: the lock that `how` wants is not held; iter has
 * yielded, or stands on no entry of a table of kvm, or at another gfn, level or address space than the entry's;
 * new_spte is none that a VM of this sort has there (a table it links is tdpmmu_link_sp()'s), or no step
 * from the old one.
 * In RCU, or Lock W.
 * Follows tdp_mmu_set_spte(), tdp_mmu_set_spte_atomic() and tdp_mmu_zap_spte_atomic().
 */
int tdpmmu_set_spte(struct kvm *kvm, struct tdp_iter *iter, uint64_t new_spte, enum tdpmmu_set how);

/*
 * Give way, if a thread waits for mmu_lock or the rig says so (need_resched, yield_at) and the walk has come
 * forward since it last did: flush everything if flush says that a flush is owed, leave RCU, let go of mmu_lock,
 * take both again, and set iter->yielded, so that the next step goes back to the root.  Returns whether it did;
 * then nothing that was read before may be used.  The caller is in one reader and has one hold, or others gain
 * nothing; and a reference to the root.  Outside RCU, or with an iter that has yielded already: a warning, false.
 * Lock R if shared, else W.
 * Follows tdp_mmu_iter_cond_resched().
 */
bool tdpmmu_iter_yield(struct kvm *kvm, struct tdp_iter *iter, bool flush, bool shared);

/*
 * A table that is linked nowhere, with 512 entries that hold nothing.  The caller owns it until tdpmmu_link_sp() or
 * tdpmmu_free_sp(): it sets role, gfn and ptep, and may write the entries (sp->spt) as it likes.  No other function
 * knows it before it is linked.  It counts as one of the VM's tables, and goes with the VM: kvm_mmu_uninit_tdp_mmu() warns of
 * those that were forgotten (TDPMMU_WARN_LEAK).  NULL: no memory, or table_limit.
 * Any lock.  Follows tdp_mmu_alloc_sp().
 */
struct kvm_mmu_page *tdpmmu_alloc_sp(struct kvm *kvm);

/*
 * Let the entry that iter stands on, which is empty or a huge leaf, point to sp.  All of sp is judged first: role,
 * gfn and ptep must be the entry's, and its entries empty or leaves that may be there; below a huge leaf, such as
 * map what it maps.  They are counted.  No flush is made.
 * 0: sp is the VM's.  -EBUSY: as tdpmmu_set_spte() has it, sp is still the caller's.  -EINVAL with a warning: it is not fit for
 * this place, and still the caller's; or another thread has linked it, or given it back, just now.
 * Outside RCU, or with an iter as tdpmmu_set_spte() refuses it: a warning, -EINVAL.
 * Lock R if shared, else W.  Follows tdp_mmu_link_sp() and tdp_mmu_split_huge_page().
 */
int tdpmmu_link_sp(struct kvm *kvm, struct tdp_iter *iter, struct kvm_mmu_page *sp, bool shared);

/* Give back a table that was not linked; a warning if it is none.  Any lock.  Follows tdp_mmu_free_sp(). */
void tdpmmu_free_sp(struct kvm_mmu_page *sp);

/*
 * Find the largest level at which one leaf may map gfn, 1 to 3: by the slot's bounds, its alignment and the mapping_level
 * callback, but no more than max_level.  Returns it; 1 also for a slot that is gone, or a gfn outside.  In RCU.
 * For as long as the result is used, that is.
 */
int kvm_mmu_max_mapping_level(struct kvm *kvm, const struct kvm_memory_slot *slot, gfn_t gfn, int max_level);

TDPMMU_END_DECLS

#endif
