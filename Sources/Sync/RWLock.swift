// SPDX-License-Identifier: GPL-2.0-only
// mmu_lock: first come, first served, and it knows who holds it.
//
// The word `state` is the whole lock while nobody waits.  Whoever has to wait
// joins a queue (LockQueue.swift) and sets `waitBit`; from then on the lock goes
// from hand to hand in the order of the queue, neighbouring readers together, so
// neither readers nor writers starve, and whoever lets go because needBreak()
// said so cannot snatch the lock back.
import CPlatform
import CTDPMMU
import Synchronization

package struct RWLock {
    let lock: UnsafeMutablePointer<tdpmmu_rwlock>

    static var writeBit: UInt32 { 1 << 31 }
    /// The queue of this lock is not empty.
    static var waitBit: UInt32 { 1 << 30 }
    static var readerMask: UInt32 { (1 << 30) - 1 }

    @inline(__always)
    package init(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>) { self.lock = lock }

    @inline(__always)
    var state: AtomicWord32 { atomic32(cp_lock_state(lock)) }

    @inline(__always)
    var owner: AtomicWord64 { atomic64(cp_lock_owner(lock)) }

    /// Back to all-zero.  Nobody holds or waits; what this thread holds is forgotten, with
    /// a warning.
    package func reset() {
        if ReadHolds.forget(lock) {
            warn(.lock, "tdpmmu_rwlock_init", "this thread holds the lock for read", address)
        }
        state.pointee.store(0, ordering: .relaxed)
        atomic32(cp_lock_sleepers(lock)).pointee.store(0, ordering: .relaxed)
        owner.pointee.store(0, ordering: .relaxed)
    }

    // MARK: Questions

    /// Does somebody wait?  One relaxed load: a hint for loops.
    @inline(__always)
    package var needBreak: Bool {
        state.pointee.load(ordering: .relaxed) & Self.waitBit != 0
    }

    @inline(__always)
    package var isHeldForRead: Bool { ReadHolds.count(lock) != 0 }

    /// Relaxed: only this thread ever writes this thread's number there.
    @inline(__always)
    package var isHeldForWrite: Bool {
        owner.pointee.load(ordering: .relaxed) == currentThreadID()
    }

    // MARK: Read side

    /// False, with a warning, if this thread holds it for write.
    @inline(__always)
    @discardableResult
    package func readLock() -> Bool {
        if ReadHolds.count(lock) != 0 {
            // A second hold lives in this thread's table only: the first one keeps
            // writers out, and waiting for one that waits for us would never end.
            ReadHolds.add(lock)
            return true
        }
        guard mayReadLock() else { return false }
        if !tryRead() { LockQueue.wait(self, forWrite: false) }
        ReadHolds.add(lock)
        return true
    }

    @inline(__always)
    private func mayReadLock() -> Bool {
        if isHeldForWrite {
            warn(.lock, "read_lock", "this thread holds the lock for write", address)
            return false
        }
        if !ReadHolds.reserve() {
            warn(.lock, "read_lock", "no memory to remember the lock", address)
            return false
        }
        return true
    }

    /// False if a writer is in, or somebody waits and is first.
    @inline(__always)
    func tryRead() -> Bool {
        var seen = state.pointee.load(ordering: .relaxed)
        while seen & (Self.writeBit | Self.waitBit) == 0 {
            // Acquire: pairs with the release in writeUnlock.
            let result = state.pointee.weakCompareExchange(
                expected: seen, desired: seen &+ 1,
                successOrdering: .acquiring, failureOrdering: .relaxed)
            if result.exchanged { return true }
            seen = result.original
        }
        return false
    }

    /// False, with a warning, if this thread does not hold it for read.
    @inline(__always)
    @discardableResult
    package func readUnlock() -> Bool {
        guard let left = ReadHolds.remove(lock) else {
            warn(.lock, "read_unlock", "this thread does not hold the lock for read", address)
            return false
        }
        if left != 0 { return true }
        // Release: pairs with the acquire in tryWrite, or with that of the bucket
        // mutex of the thread that hands the lock on.
        let (before, now) = state.pointee.wrappingSubtract(1, ordering: .acquiringAndReleasing)
        if now == Self.waitBit { LockQueue.handOver(self) }
        if before & Self.readerMask != 0 { return true }
        // Somebody wrote over the lock's memory while it was held.
        state.pointee.wrappingAdd(1, ordering: .relaxed)
        warn(.lock, "read_unlock", "the lock has no readers, and this thread was one", address)
        return false
    }

    // MARK: Write side

    /// False, with a warning, if this thread already holds it.
    @inline(__always)
    @discardableResult
    package func writeLock() -> Bool {
        if ReadHolds.count(lock) != 0 || isHeldForWrite {
            warn(.lock, "write_lock", "this thread already holds the lock", address)
            return false
        }
        if !tryWrite() { LockQueue.wait(self, forWrite: true) }
        owner.pointee.store(currentThreadID(), ordering: .relaxed)
        return true
    }

    @inline(__always)
    func tryWrite() -> Bool {
        // Acquire: pairs with the releases in readUnlock and writeUnlock.
        state.pointee.compareExchange(
            expected: 0, desired: Self.writeBit,
            successOrdering: .acquiring, failureOrdering: .relaxed
        ).exchanged
    }

    /// False, with a warning, if this thread does not hold it for write.
    @inline(__always)
    @discardableResult
    package func writeUnlock() -> Bool {
        guard isHeldForWrite else {
            warn(.lock, "write_unlock", "this thread does not hold the lock for write", address)
            return false
        }
        owner.pointee.store(0, ordering: .relaxed)
        // Release: pairs with the acquires in tryRead and tryWrite.
        let released = state.pointee.compareExchange(
            expected: Self.writeBit, desired: 0,
            successOrdering: .releasing, failureOrdering: .relaxed
        ).exchanged
        if !released { LockQueue.handOver(self) }
        return true
    }

    @inline(__always)
    private var address: UInt64 { UInt64(UInt(bitPattern: lock)) }
}
