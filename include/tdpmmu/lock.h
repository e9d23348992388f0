/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mmu_lock: a fair reader-writer lock that knows whether a thread waits for it
 * and whether the calling thread holds it.
 */
#ifndef TDPMMU_LOCK_H
#define TDPMMU_LOCK_H

#include "types.h"

TDPMMU_BEGIN_DECLS

/*
 * All-zero is an unlocked lock.  A thread may hold any number of locks; it may
 * take the same lock for read again while it holds it for read.  A thread that ends
 * while it holds one causes a warning; a VM's mmu_lock is released for it.  Where readers come
 * often and writers do not, readers do not write to the lock, and its state tells less of them.
 */
typedef struct tdpmmu_rwlock {
    uint32_t state;    /* bit 31 held for write, 30 threads wait, 29 readers are in that are not counted here, 28:0 readers */
    uint16_t sleepers; /* threads that wait, in order of arrival */
    uint8_t rank;      /* 0; of a VM's mmu_lock, its place in the library's order of locks, and bit 7 while a rig looks on */
    uint8_t calm;      /* grows while readers come and no writer does: later readers count themselves elsewhere */
    uint64_t owner;    /* id of the thread that holds it for write, 0 if none */
} rwlock_t;

/*
 * Below, "Lock R" and "Lock W" are about the lock that is passed.
 */

/* Set a lock to the unlocked state.  Nobody may hold or wait for it.  Any lock.  Follows rwlock_init(). */
void tdpmmu_rwlock_init(struct tdpmmu_rwlock *lock);

/*
 * Take a lock for read.  Waits while a writer holds it or waits for it.  A thread that
 * holds it for write gets a warning and no lock.  Not under Lock W.
 * Follows read_lock().
 */
void tdpmmu_read_lock(struct tdpmmu_rwlock *lock);

/* Release one read hold of a lock; a warning if this thread has none.  Lock R.  Follows read_unlock(). */
void tdpmmu_read_unlock(struct tdpmmu_rwlock *lock);

/*
 * Take a lock for write.  A thread that already holds it, for read or for write, gets
 * a warning and no lock (in the kernel: a deadlock).  No lock.
 * Follows write_lock().
 */
void tdpmmu_write_lock(struct tdpmmu_rwlock *lock);

/* Release the write hold of a lock; a warning if this thread does not have it.  Lock W.  Follows write_unlock(). */
void tdpmmu_write_unlock(struct tdpmmu_rwlock *lock);

/*
 * Is another thread waiting for this lock?  A hint, right at some moment during
 * the call.  Any lock.  Follows rwlock_needbreak().
 */
bool tdpmmu_rwlock_needbreak(struct tdpmmu_rwlock *lock);

/* Does the calling thread hold the lock for read, or for write?  Any lock.  Follows lockdep_is_held_type(). */
bool tdpmmu_read_lock_held(struct tdpmmu_rwlock *lock);
bool tdpmmu_write_lock_held(struct tdpmmu_rwlock *lock);

TDPMMU_END_DECLS

/* The kernel's words for them; define TDPMMU_NO_LOCK_MACROS to do without. */
#ifndef TDPMMU_NO_LOCK_MACROS
#define read_lock(lock) tdpmmu_read_lock(lock)
#define read_unlock(lock) tdpmmu_read_unlock(lock)
#define write_lock(lock) tdpmmu_write_lock(lock)
#define write_unlock(lock) tdpmmu_write_unlock(lock)
#define rwlock_needbreak(lock) tdpmmu_rwlock_needbreak(lock)
#endif

#endif
