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
