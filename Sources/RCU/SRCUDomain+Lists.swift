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
        if cp_srcu_head(state, list).pointee == nil {
            cp_srcu_head(state, list).pointee = chain
        } else {
            UnsafeMutablePointer<Head?>(bitPattern: cp_srcu_tail(state, list).pointee)
                .unsafelyUnwrapped.pointee = chain
        }
        cp_srcu_tail(state, list).pointee = lastNext
    }

    /// The grace period of a list is over.
    func ripen(_ list: UInt64) {
        guard let first = cp_srcu_head(state, list).pointee else { return }
        append(first, lastNext: cp_srcu_tail(state, list).pointee, to: ripe)
        cp_srcu_head(state, list).pointee = nil
        SRCUWork.setLater()
    }

    func takeRipe() -> CallbackList {
        var batch = CallbackList()
        if let first = cp_srcu_head(state, ripe).pointee {
            batch.append(first, lastNext: cp_srcu_tail(state, ripe).pointee)
            cp_srcu_head(state, ripe).pointee = nil
        }
        return batch
    }

    /// In a forked child: readers and callbacks are the parent's, or this thread's.
    func forget() {
        let state = state
        for shard in 0..<UInt64(CP_SRCU_SHARDS) {
            cp_srcu_shard(state, shard).update(repeating: 0, count: 4)
        }
        for list: UInt64 in 0...ripe { cp_srcu_head(state, list).pointee = nil }
        state.pointee.invoked = state.pointee.queued
        state.pointee.waiters = 0
    }
}
