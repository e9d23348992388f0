// SPDX-License-Identifier: GPL-2.0-only
// call_srcu() and srcu_barrier().
import CPlatform
import CTDPMMU
import Sync
import Synchronization

extension SRCUDomain {
    /// Run `function(head)` once, in the callback worker, after a grace period.
    package func call(_ head: UnsafeMutablePointer<rcu_head>, _ function: RCUCallback) {
        guard check("call_srcu") else { return }
        Threads.joinIfNew()
        let action = unsafeBitCast(function, to: UInt.self)
        QueuedMark.remember(action)
        guard QueuedMark.put(on: head, action, "call_srcu") else { return }
        SRCU.mutex.lock()
        append(head, lastNext: UInt(bitPattern: head), to: want() & 1)
        state.pointee.queued &+= 1
        cp_srcu_all().pointee.pending &+= 1
        enlist()
        SRCU.mutex.unlock()
        SRCUWork.set(bucket)
        Worker.wake()
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
        Threads.joinIfNew()
        withoutCancellation { waitForCallbacks() }
    }

    private func waitForCallbacks() {
        SRCU.mutex.lock()
        let last = state.pointee.queued
        waitUntil("srcu_barrier") {
            if state.pointee.invoked >= last { return true }
            SRCU.mutex.unlock()
            SRCUWork.set(bucket)
            _ = Worker.wakeOrWork()  // here, if there can be no thread
            SRCU.mutex.lock()
            return state.pointee.invoked >= last
        }
        SRCU.mutex.unlock()
    }
}
