// SPDX-License-Identifier: GPL-2.0-only
// Who waits for which lock, in order of arrival.
//
// The queues are not in the locks (16 bytes have no room) but in a static table
// of buckets found by the lock's address.  A waiter is a struct in its thread's
// own memory.  While the wait bit of a lock is set, only a thread that has the
// bucket's mutex changes the lock's state, with one exception: a reader that
// leaves subtracts itself, and the one that makes it zero hands the lock over.
import CPlatform
import CTDPMMU
import Synchronization

enum LockQueue {
    private typealias Bucket = UnsafeMutablePointer<cp_bucket>
    private typealias Waiter = UnsafeMutablePointer<cp_waiter>

    /// Pauses before a waiter sleeps.
    private static var spinLimit: Int { pauses(200) }

    private static var waiting: UInt32 { 0 }
    private static var asleep: UInt32 { 1 }
    private static var granted: UInt32 { 2 }

    private static func bucket(of lock: RWLockWord) -> Bucket {
        let bits = UInt64(UInt(bitPattern: lock.lock)) &* 0x9e37_79b9_7f4a_7c15
        return cp_bucket_at(UInt32(truncatingIfNeeded: bits >> 40))
    }

    /// Get the lock, however long it takes.
    @inline(never)
    static func wait(_ lock: RWLockWord, forWrite: Bool) {
        let bucket = bucket(of: lock)
        let mutex = RankedMutex(cp_bucket_mutex(bucket), .bucket)
        mutex.lock()
        if takeOrMark(lock, forWrite: forWrite) {
            mutex.unlock()
            return
        }
        let waiter = cp_thread_waiter(cp_self())
        waiter.pointee.lock = lock.lock
        waiter.pointee.writes = forWrite ? 1 : 0
        shared(cp_waiter_state(waiter)).pointee.store(waiting, ordering: .relaxed)
        append(waiter, to: bucket)
        countWaiters(lock, 1)
        mutex.unlock()
        sleepUntilGranted(waiter)
    }

    /// Bucket mutex held.  Take the lock if it came free meanwhile (true), or set
    /// its wait bit, so that its holder comes to hand it over.
    private static func takeOrMark(_ lock: RWLockWord, forWrite: Bool) -> Bool {
        while true {
            if forWrite ? lock.tryWrite() : lock.tryRead() { return true }
            let seen = lock.state.pointee.load(ordering: .relaxed)
            if seen & RWLockWord.waitBit != 0 { return false }
            let blocked = forWrite ? seen & ~RWLockWord.biasBit != 0 : seen & RWLockWord.writeBit != 0
            if !blocked { continue }
            // Relaxed: the order comes with the hand-over, by the bucket mutex.
            if lock.state.pointee.compareExchange(
                expected: seen, desired: seen | RWLockWord.waitBit, ordering: .relaxed
            ).exchanged { return false }
        }
    }

    private static func sleepUntilGranted(_ waiter: Waiter) {
        let state = shared(cp_waiter_state(waiter))
        for _ in 0..<spinLimit {
            // Acquire: pairs with the release in grant, which follows the acquire
            // of the mutex, or of the state, by the thread that hands over.
            if state.pointee.load(ordering: .acquiring) == granted { return }
            cp_cpu_relax()
        }
        _ = state.pointee.compareExchange(expected: waiting, desired: asleep, ordering: .relaxed)
        while state.pointee.load(ordering: .acquiring) != granted {
            cp_futex_wait(cp_waiter_state(waiter), asleep, 0)
        }
    }

    // MARK: Letting go

    /// False if the lock's memory was overwritten while it was held: it has no reader.
    @inline(__always)
    static func leaveRead(_ lock: RWLockWord) -> Bool {
        // Release: pairs with the acquire in tryWrite, or with that of the bucket
        // mutex of the thread that hands the lock on.
        let (before, now) = lock.state.pointee.wrappingSubtract(1, ordering: .acquiringAndReleasing)
        if now & ~RWLockWord.biasBit == RWLockWord.waitBit { handOver(lock) }
        if before & RWLockWord.readerMask != 0 { return true }
        lock.state.pointee.wrappingAdd(1, ordering: .relaxed)
        return false
    }

    @inline(__always)
    static func leaveWrite(_ lock: RWLockWord) {
        // Release: pairs with the acquires in tryRead and tryWrite.
        let released = lock.state.pointee.compareExchange(
            expected: RWLockWord.writeBit, desired: 0,
            successOrdering: .releasing, failureOrdering: .relaxed
        ).exchanged
        if !released { handOver(lock) }
    }

    /// The lock is free but for its wait bit, or the caller leaves it as a writer:
    /// give it to the first in the queue; with a reader, to all readers behind it
    /// up to the next writer.
    @inline(never)
    static func handOver(_ lock: RWLockWord) {
        let bucket = bucket(of: lock)
        let mutex = RankedMutex(cp_bucket_mutex(bucket), .bucket)
        mutex.lock()
        let (chosen, newState) = choose(lock, in: bucket)
        // Only who holds the lock sets or clears it, and not while a thread waits.
        let bias = lock.state.pointee.load(ordering: .relaxed) & RWLockWord.biasBit
        // Release: pairs with the acquires of tryRead and tryWrite, should the
        // state pass to threads that never queue.
        lock.state.pointee.store(newState | bias, ordering: .releasing)
        grantAll(chosen)
        mutex.unlock()
    }

    /// Take out of the queue those who get the lock, chained by next, and compute
    /// the state that says so.
    private static func choose(_ lock: RWLockWord, in bucket: Bucket) -> (Waiter?, UInt32) {
        var link: Waiter? = bucket.pointee.first
        var before: Waiter? = nil
        var chosen: Waiter? = nil
        var last: Waiter? = nil
        var newState: UInt32 = 0
        while let waiter = link {
            link = waiter.pointee.next
            guard waiter.pointee.lock == lock.lock else {
                before = waiter
                continue
            }
            let isWriter = waiter.pointee.writes != 0
            if newState != 0, isWriter || newState == RWLockWord.writeBit {
                newState |= RWLockWord.waitBit
                break
            }
            remove(waiter, after: before, from: bucket)
            if let last { last.pointee.next = waiter } else { chosen = waiter }
            last = waiter
            countWaiters(lock, UInt16.max)
            newState = isWriter ? RWLockWord.writeBit : newState &+ 1
        }
        last?.pointee.next = nil
        return (chosen, newState)
    }

    private static func grantAll(_ first: Waiter?) {
        var link = first
        while let waiter = link {
            link = waiter.pointee.next  // it may be gone after the exchange
            // Release: pairs with the acquire in sleepUntilGranted.
            let before = shared(cp_waiter_state(waiter)).pointee.exchange(
                granted, ordering: .acquiringAndReleasing)
            // The thread may have ended by now; waking a stray address harms nobody.
            if before == asleep { cp_futex_wake(cp_waiter_state(waiter), 1) }
        }
    }

    private static func append(_ waiter: Waiter, to bucket: Bucket) {
        waiter.pointee.next = nil
        if let last = bucket.pointee.last { last.pointee.next = waiter } else {
            bucket.pointee.first = waiter
        }
        bucket.pointee.last = waiter
    }

    private static func remove(_ waiter: Waiter, after before: Waiter?, from bucket: Bucket) {
        if let before { before.pointee.next = waiter.pointee.next } else {
            bucket.pointee.first = waiter.pointee.next
        }
        if bucket.pointee.last == waiter { bucket.pointee.last = before }
    }

    /// In a forked child: those who waited, and who may have held a bucket's mutex,
    /// are not here.
    static func forgetAll() {
        for i in 0..<UInt32(CP_BUCKET_COUNT) {
            let bucket = cp_bucket_at(i)
            RankedMutex(cp_bucket_mutex(bucket), .bucket).setFree()
            bucket.pointee.first = nil
            bucket.pointee.last = nil
        }
    }

    /// `sleepers` is for people who look at a lock in a debugger; the bucket mutex
    /// orders its writers.
    private static func countWaiters(_ lock: RWLockWord, _ change: UInt16) {
        let count = shared(cp_lock_sleepers(lock.lock))
        count.pointee.store(count.pointee.load(ordering: .relaxed) &+ change, ordering: .relaxed)
    }
}
