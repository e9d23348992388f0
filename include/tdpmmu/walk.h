/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A walk that calls a function for each entry, after the model of kvm_pgtable_walk() of arm64.  What a visit changes, it
 * changes by the steps of primitives.h.
 */
#ifndef TDPMMU_WALK_H
#define TDPMMU_WALK_H

#include "lock.h"
#include "primitives.h"
#include "tdp_iter.h"
#include "types.h"
#include "vm.h"

TDPMMU_BEGIN_DECLS

/* What tdpmmu_walk() visits, and how. */
enum tdpmmu_walk_flags {
    TDPMMU_WALK_LEAF = 1,         /* entries that are no table: leaves, empty ones, at level 1 all */
    TDPMMU_WALK_TABLE_BEFORE = 2, /* tables, before what is below */
    TDPMMU_WALK_TABLE_AFTER = 4,  /* tables, after what is below was visited */
    TDPMMU_WALK_SHARED = 8,       /* Lock R is held; else Lock W */
    TDPMMU_WALK_YIELD = 16,       /* gives way between two visits, where that is wanted */
};

/* What a visit may answer beside 0, go on, and a negative errno, which ends the walk; also both together. */
#define TDPMMU_WALK_AGAIN 1 /* look at the same entry again: another thread changed it (-EBUSY).  Goes on where that said FROZEN_SPTE */
#define TDPMMU_WALK_FLUSH 2 /* a leaf lost something: a flush is owed from here on, and paid before the walk gives way */

/*
 * iter: where the walk stands, for tdpmmu_set_spte() and tdpmmu_link_sp(); when: which one of
 * TDPMMU_WALK_LEAF, _TABLE_BEFORE and _TABLE_AFTER it is.
 */
typedef int (*tdpmmu_visit_fn)(struct kvm *kvm, struct tdp_iter *iter, enum tdpmmu_walk_flags when, void *arg);

/* Private: one visit; 1: the entry was read again, and is to be looked at as what it is now. */
static inline int tdpmmu_walk_visit(struct kvm *kvm, struct tdp_iter *iter, enum tdpmmu_walk_flags when, unsigned int flags,
                                    tdpmmu_visit_fn visit, void *arg, bool *flush)
{
    int status = (flags & (unsigned int)when) ? visit(kvm, iter, when, arg) : 0;

    if (status < 0)
        return status;
    if (status & ~(TDPMMU_WALK_AGAIN | TDPMMU_WALK_FLUSH))
        return -22; /* -EINVAL */
    if (status & TDPMMU_WALK_FLUSH)
        *flush = true;
    /* What is frozen is another thread's, and may be so for long: who waits here may keep it from going on. */
    if (!(status & TDPMMU_WALK_AGAIN) || iter->old_spte == FROZEN_SPTE)
        return 0;
    /* Acquire: pairs with the release of a change; what the entry points to is seen as well. */
    iter->old_spte = __atomic_load_n(iter->sptep, __ATOMIC_ACQUIRE);
    return 1;
}

static inline bool tdpmmu_walk_is_table(const struct tdp_iter *iter)
{
    return is_shadow_present_pte(iter->old_spte) && !is_last_spte(iter->old_spte, iter->level);
}

/* Private: from an entry up to a level: the tables that are left, each from the entry that leads to it. */
static inline int tdpmmu_walk_leave(struct kvm *kvm, struct tdp_iter place, int level, unsigned int flags,
                                    tdpmmu_visit_fn visit, void *arg, bool *flush)
{
    int status = 0;

    while (status == 0 && place.level < level) {
        place.level++;
        place.sptep = place.pt_path[place.level - 1] + ((place.gfn >> ((place.level - 1) * 9)) & 511);
        place.gfn &= ~(KVM_PAGES_PER_HPAGE(place.level) - 1);
        /* Acquire: as above. */
        place.old_spte = __atomic_load_n(place.sptep, __ATOMIC_ACQUIRE);
        do
            status = tdpmmu_walk_is_table(&place)
                         ? tdpmmu_walk_visit(kvm, &place, TDPMMU_WALK_TABLE_AFTER, flags, visit, arg, flush) : 0;
        while (status > 0);
    }
    return status;
}

/*
 * Visit the entries under root that map any of [start, end), in the order of gfns, inside one RCU reader of the
 * walk's own.  A walk that gives way goes back to the root: tables on its way down are visited BEFORE once more, and
 * those that it was in are not visited AFTER by that.  A table that a visit put there or removed is entered or not as
 * it stands then.  A visit that removes a table flushes before it returns; TDPMMU_WALK_FLUSH is for leaves.
 * Returns 0, or 1 if a flush is owed, or the errno that a visit ended it with: what had been changed by then is the
 * caller's to flush.  -EINVAL: a NULL; mmu_lock is not held as flags say; root has a parent; a visit gave an answer that
 * is none; with a warning: root is no table, or start is beyond MAXPHYADDR.  root is kept by the caller's
 * reference, or by mmu_lock where the walk does not give way.  With TDPMMU_WALK_SHARED the caller holds mmu_lock for read, else for
 * write.  After the model of kvm_pgtable_walk() of arm64.
 */
static inline int tdpmmu_walk(struct kvm *kvm, struct kvm_mmu_page *root, gfn_t start, gfn_t end, unsigned int flags,
                              tdpmmu_visit_fn visit, void *arg)
{
    const bool shared = (flags & TDPMMU_WALK_SHARED) != 0;
    struct tdp_iter iter, left;
    bool flush = false;
    int status = 0;

    if (!kvm || !root || !visit || root->ptep ||
        !(shared ? tdpmmu_read_lock_held(&kvm->mmu_lock) : tdpmmu_write_lock_held(&kvm->mmu_lock)))
        return -22; /* -EINVAL */
    if (start >= end)
        return 0;
    rcu_read_lock();
    tdp_iter_start(&iter, root->spt, (int)root->role.level, PG_LEVEL_4K, start);
    if (!iter.valid)
        status = -22;
    while (status == 0 && iter.valid && iter.gfn < end) {
        if ((flags & TDPMMU_WALK_YIELD) && tdpmmu_iter_yield(kvm, &iter, flush, shared)) {
            flush = false;
            tdp_iter_next(&iter);
            continue;
        }
        do
            status = tdpmmu_walk_visit(kvm, &iter, tdpmmu_walk_is_table(&iter) ? TDPMMU_WALK_TABLE_BEFORE : TDPMMU_WALK_LEAF,
                                       flags, visit, arg, &flush);
        while (status > 0);
        if (status < 0)
            break;
        left = iter;
        tdp_iter_next(&iter);
        if (!left.yielded)
            status = tdpmmu_walk_leave(kvm, left, iter.valid && iter.gfn < end ? iter.level : iter.root_level, flags, visit,
                                       arg, &flush);
    }
    rcu_read_unlock();
    return status < 0 ? status : flush;
}

TDPMMU_END_DECLS

#endif
