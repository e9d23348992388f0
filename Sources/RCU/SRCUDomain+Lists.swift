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
        SRCUWork.setLater()
    }

    func takeRipe() -> CallbackList {
        var batch = CallbackList()
        if let first = cp_srcu_head(state)[Int(ripe)] {
            batch.append(first, lastNext: cp_srcu_tail(state)[Int(ripe)])
            cp_srcu_head(state)[Int(ripe)] = nil
        }
        return batch
    }

    /// In a forked child: readers and callbacks are the parent's, or this thread's.
    func forget() {
        let state = state
        for number in 0..<UInt64(CP_SRCU_SHARDS) {
            for which: UInt32 in 0..<2 {
                entered(which, number).pointee.store(0, ordering: .relaxed)
                left(which, number).pointee.store(0, ordering: .relaxed)
            }
        }
        for list: UInt64 in 0...ripe { cp_srcu_head(state)[Int(list)] = nil }
        state.pointee.invoked = state.pointee.queued
        state.pointee.waiters = 0
    }
}
