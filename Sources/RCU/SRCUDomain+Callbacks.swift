// SPDX-License-Identifier: GPL-2.0-only
// Callbacks of an SRCU domain.  They wait in a list for each grace period that they
// may be waiting for, of which there are two at a time, and then in one of those
// whose time has come, which the callback thread takes.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

extension SRCUDomain {
    /// Which list holds the callbacks whose grace period is over.
    private var ripe: UInt64 { 2 }

    /// Run `function(head)` once, in the callback worker, after a grace period.
    package func call(_ head: UnsafeMutablePointer<rcu_head>, _ function: RCUCallback) {
        guard check("call_srcu") else { return }
        Registry.joinIfNew()
        let action = unsafeBitCast(function, to: UInt.self)
        QueuedMark.remember(action)
        guard QueuedMark.put(on: head, action, "call_srcu") else { return }
        SRCU.mutex.lock()
        append(head, lastNext: UInt(bitPattern: head), to: want() & 1)
        state.pointee.queued &+= 1
        SRCU.mutex.unlock()
        SRCU.tellWorker()
    }

    /// A chain of heads, the last one's next being nil.
    private func append(_ chain: Head, lastNext: UInt, to list: UInt64) {
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
        atomic32(cp_srcu_work()).pointee.store(1, ordering: .relaxed)
    }

    func takeRipe() -> CallbackList {
        var batch = CallbackList()
        if let first = cp_srcu_head(state, ripe).pointee {
            batch.append(first, lastNext: cp_srcu_tail(state, ripe).pointee)
            cp_srcu_head(state, ripe).pointee = nil
        }
        return batch
    }

    /// Wait until every callback queued before the call has run.
    package func barrier() {
        guard check("srcu_barrier") else { return }
        if isReadLockHeld {
            warn(.rcu, "srcu_barrier",
                 "called inside a reader of the domain: it would wait for itself", address)
            return
        }
        if cp_self().pointee.in_callback != 0 {
            warn(.rcu, "srcu_barrier", "called from a callback: it would wait for itself", address)
            return
        }
        guard mayWaitByOrder("srcu_barrier") else { return }
        Registry.joinIfNew()
        SRCU.mutex.lock()
        let last = state.pointee.queued
        SRCU.waitUntil(self, "srcu_barrier") {
            if state.pointee.invoked >= last { return true }
            SRCU.mutex.unlock()
            SRCU.tellWorker()  // which may do the work here, if it cannot have a thread
            SRCU.mutex.lock()
            return state.pointee.invoked >= last
        }
        SRCU.mutex.unlock()
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
