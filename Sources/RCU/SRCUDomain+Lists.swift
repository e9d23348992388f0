// SPDX-License-Identifier: GPL-2.0-only
// Callbacks of an SRCU domain; SRCU mutex held.  They wait in a list for each grace
// period that they may be waiting for, of which there are two at a time, and then in one
// of those whose time has come, which the callback thread takes.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

extension SRCUDomain {
    /// Which list holds the callbacks whose grace period is over.
    private var ripe: UInt64 { 2 }

    /// A chain of heads, the last one's next being nil.
    func append(_ chain: Head, lastNext: UInt, to list: UInt64) {
        if cp_srcu_head(state)[Int(list)] == nil {
            cp_srcu_head(state)[Int(list)] = chain
        } else {
            UnsafeMutablePointer<Head?>(bitPattern: cp_srcu_tail(state)[Int(list)])
                .unsafelyUnwrapped.pointee = chain
        }
        cp_srcu_tail(state)[Int(list)] = lastNext
    }

    /// The grace period of a list is over.
    func ripen(_ list: UInt64) {
        guard let first = cp_srcu_head(state)[Int(list)] else { return }
        append(first, lastNext: cp_srcu_tail(state)[Int(list)], to: ripe)
        cp_srcu_head(state)[Int(list)] = nil
        SRCUWork.set(bucket)
        WorkerWord.nudge()
    }

    func takeRipe() -> CallbackList {
        var batch = CallbackList()
        if let first = cp_srcu_head(state)[Int(ripe)] {
            batch.append(first, lastNext: cp_srcu_tail(state)[Int(ripe)])
            cp_srcu_head(state)[Int(ripe)] = nil
        }
        return batch
    }

    /// So many callbacks of a batch have run.
    func haveRun(_ count: UInt64) {
        SRCU.mutex.lock()
        state.pointee.invoked &+= count
        cp_srcu_all().pointee.pending &-= count
        if hasWork { enlist() }
        SRCU.changed()
        SRCU.mutex.unlock()
    }

    /// So many have run; the rest of the batch comes before all that are ripe now.  No mutex held.
    func handBack(_ rest: Head?, begun: UInt64) {
        SRCU.mutex.lock()
        if let rest {
            let last = rest.lastOfChain
            if let first = cp_srcu_head(state)[Int(ripe)] {
                last.setNext(first)
            } else {
                cp_srcu_tail(state)[Int(ripe)] = UInt(bitPattern: last)
            }
            cp_srcu_head(state)[Int(ripe)] = rest
        }
        SRCU.mutex.unlock()
        haveRun(begun)
        // The domains that were still to be looked at, in whatever bucket.
        SRCUWork.set(.max)
    }

    /// Into a forked child come readers of no thread only; who is inside by the child's one
    /// thread is counted by SRCUHolds.
    func forget() {
        let state = state
        for which: UInt32 in 0..<2 {
            for number in 0..<UInt64(CP_SRCU_SHARDS) {
                entered(which, number).pointee.store(0, ordering: .relaxed)
                left(which, number).pointee.store(0, ordering: .relaxed)
            }
            entered(which, 0).pointee.store(
                UInt64(loose(which).pointee.load(ordering: .relaxed)), ordering: .relaxed)
        }
        for list: UInt64 in 0...ripe { cp_srcu_head(state)[Int(list)] = nil }
        state.pointee.invoked = state.pointee.queued
        state.pointee.waiters = 0
        state.pointee.is_listed = 0
    }
}
