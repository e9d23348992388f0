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
    /// Readers may be in that are not counted here (ReaderNotes.swift).
    static var biasBit: UInt32 { 1 << 29 }
    static var readerMask: UInt32 { (1 << 29) - 1 }

    @inline(__always)
    init(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>) { self.lock = lock }

    @inline(__always)
    var state: AtomicWord32 { shared(cp_lock_state(lock)) }

    /// May a reader come in by a note?
    @inline(__always)
    static func isOpen(_ state: UInt32) -> Bool { state & (biasBit | waitBit | writeBit) == biasBit }

    /// Does a thread wait, in the queue or, as the next writer, for readers that made notes?
    @inline(__always)
    static func isWaitedFor(_ state: UInt32) -> Bool {
        state & waitBit != 0 || state & (writeBit | biasBit) == writeBit | biasBit
    }

    /// False if a writer is in, or another thread waits and is first.
    @inline(__always)
    func tryRead() -> Bool { tryRead(state.pointee.load(ordering: .relaxed)) }

    /// Likewise, by who has just looked.
    @inline(__always)
    func tryRead(_ seen: UInt32) -> Bool {
        var seen = seen
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

    /// Of a lock without a bias.
    @inline(__always)
    func tryWriteAlone() -> Bool {
        // Acquire: pairs with the releases in LockQueue.leaveRead and leaveWrite.
        state.pointee.compareExchange(
            expected: 0, desired: Self.writeBit,
            successOrdering: .acquiring, failureOrdering: .relaxed
        ).exchanged
    }

    /// Of any: where the bias stays, its readers are still to be waited for.
    func tryWrite() -> Bool {
        if tryWriteAlone() { return true }
        // Sequentially consistent, for the membarrier that follows; acquire as above.
        return state.pointee.compareExchange(
            expected: Self.biasBit, desired: Self.biasBit | Self.writeBit,
            successOrdering: .sequentiallyConsistent, failureOrdering: .relaxed
        ).exchanged
    }

    /// Pauses before a thread queues: the sections of a fault and of a short zap.
    private static var patience: Int { pauses(64) }

    /// For a moment, while nobody is first.  To queue costs both sides more than most sections take.
    func tryAWhile(forWrite: Bool) -> Bool {
        for _ in 0..<Self.patience {
            if forWrite ? tryWrite() : tryRead() { return true }
            if state.pointee.load(ordering: .relaxed) & Self.waitBit != 0 { return false }
            cp_cpu_relax()
        }
        return false
    }
}
