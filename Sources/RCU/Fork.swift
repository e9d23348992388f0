// SPDX-License-Identifier: GPL-2.0-only
// RCU's and SRCU's entries in the list of what a fork sets right (Sync/ForkList.swift).
import CPlatform
import CTDPMMU
import Sync
import Synchronization

enum ForkSupport {
    static func install() {
        ForkList.add(.srcu, prepare: { SRCU.mutex.lock() }, parent: { SRCU.mutex.unlock() }, child: {
            SRCU.childForked()
            SRCUHolds.childForked()
            SRCU.mutex.unlock()
        })
        ForkList.add(.rcu, prepare: { registryMutex.lock() }, parent: { registryMutex.unlock() }, child: {
            ForkSupport.child()
            registryMutex.unlock()
        })
    }

    private static func child() {
        let state = cp_registry()
        let thread = cp_self()
        GracePeriod.mutex.setFree()
        WorkerWord.mutex.setFree()
        // A callback that forks holds it; Invocation's caller releases it when that returns.
        if thread.pointee.in_callback == 0 { Invocation.mutex.setFree() }
        LateReaders.childForked()
        let kept = keepCallbacks(state)
        Registry.keepOnlySelf()
        state.pointee.queues = nil
        if CallbackQueue.own.known != 0 {
            CallbackQueue.own.enlist()
            CallbackQueue.own.forgetCount()  // what is kept is counted below
        }
        shared(cp_engine_barriers_done()).pointee.store(
            shared(cp_engine_barriers_wanted()).pointee.load(ordering: .relaxed), ordering: .relaxed)
        WorkerWord.childForked()
        PendingCallbacks.reset(kept)
        shared(cp_gp_hurry()).pointee.store(0, ordering: .relaxed)
        shared(cp_gp_attempt()).pointee.store(0, ordering: .relaxed)
    }

    /// Of all callbacks queued, collected or left behind, those of the kept function become
    /// the child's orphans.  The others are the parent's: the cookie changes, and the heads
    /// that they mark count as free here.  Returns how many were kept.
    private static func keepCallbacks(_ state: UnsafeMutablePointer<cp_registry>) -> UInt64 {
        let cookie = shared(cp_call_cookie())
        let old = cookie.pointee.load(ordering: .relaxed)
        let running = Invocation.running
        var chains = KeptCallbacks(old: old, new: old &+ 1 &<< 48)
        chains.add(Head(bitPattern: running.pointee.load(ordering: .relaxed)))
        chains.add(state.pointee.orphans_head)
        var link = state.pointee.queues
        while let queue = link {
            // The list that the collector would take next is the older one.
            let newer = CallbackQueue(queue).selected
            chains.add(CallbackQueue(queue).first(newer ^ 1))
            chains.add(CallbackQueue(queue).first(newer))
            link = queue.pointee.next
        }
        running.pointee.store(0, ordering: .relaxed)
        cookie.pointee.store(chains.new, ordering: .relaxed)
        state.pointee.orphans_head = nil
        if let first = chains.first { Orphans.append(first, lastNext: UInt(bitPattern: chains.last)) }
        return chains.found
    }

}

/// The callbacks that a forked child keeps, chained by next.
private struct KeptCallbacks {
    let old: UInt
    let new: UInt
    var first: Head?
    var last: Head?
    var found: UInt64 = 0

    init(old: UInt, new: UInt) {
        self.old = old
        self.new = new
    }

    /// A chain ends where next is nil, also where a thread was in the middle of an append:
    /// heads are linked by one store, their next being nil already.
    mutating func add(_ chain: Head?) {
        var link = chain
        while let head = link {
            link = Head(head.pointee.next)
            guard QueuedMark.isKept(head, cookie: old) else { continue }
            QueuedMark.move(head, from: old, to: new)
            if let last { UnsafeMutableRawPointer(last).assumingMemoryBound(to: Head?.self).pointee = head } else { first = head }
            last = head
            found &+= 1
        }
    }
}

/// Callbacks of this function are the library's own: a forked child has a copy of what they
/// are about, and runs them as well.  One function for the process.
package func keepInForkedChild(_ function: RCUCallback) {
    shared(cp_engine_kept()).pointee.store(unsafeBitCast(function, to: UInt.self), ordering: .relaxed)
}
