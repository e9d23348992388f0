// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Synchronization

/// The word of a reader-writer lock, and how to take it while nobody waits.
struct RWLockWord {
    let lock: UnsafeMutablePointer<tdpmmu_rwlock>

    static var writeBit: UInt32 { 1 << 31 }
    /// The queue of this lock is not empty.
    static var waitBit: UInt32 { 1 << 30 }
    static var readerMask: UInt32 { (1 << 30) - 1 }

    @inline(__always)
    init(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>) { self.lock = lock }

    @inline(__always)
    var state: AtomicWord32 { shared(cp_lock_state(lock)) }

    /// False if a writer is in, or another thread waits and is first.
    @inline(__always)
    func tryRead() -> Bool {
        var seen = state.pointee.load(ordering: .relaxed)
        while seen & (Self.writeBit | Self.waitBit) == 0 {
            // Acquire: pairs with the release in LockQueue.leaveWrite.
            let result = state.pointee.weakCompareExchange(
                expected: seen, desired: seen &+ 1,
                successOrdering: .acquiring, failureOrdering: .relaxed)
            if result.exchanged { return true }
            seen = result.original
        }
        return false
    }

    @inline(__always)
    func tryWrite() -> Bool {
        // Acquire: pairs with the releases in LockQueue.leaveRead and leaveWrite.
        state.pointee.compareExchange(
            expected: 0, desired: Self.writeBit,
            successOrdering: .acquiring, failureOrdering: .relaxed
        ).exchanged
    }
}
