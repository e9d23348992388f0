/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For tdp_mmu.c, behind kernel.h.  Where a walk lets go of mmu_lock to allocate a table, the rig is asked
 * first, as trace.h says of yield_at, and told afterwards: if there is a struct tdp_iter named `iter`
 * around.  Elsewhere the name is this one's.
 */
static const int iter __attribute__((unused));
#define WALK_AROUND _Generic((iter), struct tdp_iter: (const void *)&(iter), default: NULL)

void linux_unlock_in_walk(rwlock_t *lock, const struct tdp_iter *around, bool write);
#undef read_unlock
#define read_unlock(lock) linux_unlock_in_walk((lock), WALK_AROUND, false)
#undef write_unlock
#define write_unlock(lock) linux_unlock_in_walk((lock), WALK_AROUND, true)

/* A walk that begins is told to the trace. */
#include "tdp_iter.h"
void linux_tell_walk(struct kvm_mmu_page *root, int min_level, gfn_t gfn);
#undef tdp_iter_start
#define tdp_iter_start(it, root, min_level, ...) \
    (linux_tell_walk((root), (min_level), WALK_FIRST(__VA_ARGS__, )), \
     linux_tdp_iter_start((it), (root), (min_level), __VA_ARGS__))
#define WALK_FIRST(gfn, ...) (gfn)
/* So is one that gave way: its next step goes back to the root. */
void linux_tell_restart(const struct tdp_iter *it);
#undef tdp_iter_next
#define tdp_iter_next(it) (linux_tell_restart(it), linux_tdp_iter_next(it))

/* Tables for splits, which Linux takes from no cache. */
unsigned long linux_get_page_for_split(gfp_t gfp);
#undef get_zeroed_page
#define get_zeroed_page(gfp) linux_get_page_for_split((gfp) | __GFP_ZERO)
#define __get_free_page(gfp) linux_get_page_for_split(gfp)
