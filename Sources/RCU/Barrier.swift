// SPDX-License-Identifier: GPL-2.0-only
// rcu_barrier().
import CPlatform
import Sync
import Synchronization

/// Would rcuBarrier() wait here, rather than refuse?
package var mayWaitForCallbacks: Bool {
    !rcuReadLockHeld() && cp_self().pointee.in_report == 0 && cp_self().pointee.in_callback == 0
}

/// Wait until every callback queued before the call has run.
package func rcuBarrier() {
    guard mayWait("rcu_barrier") else { return }
    if cp_self().pointee.in_callback != 0 {
        warn(.rcu, "rcu_barrier", "called from a callback: it would wait for itself")
        return
    }
    // The queues first, the worker second: callbacks that are in no queue have been
    // taken, by a worker that was awake then and sleeps only when they have run.
    if !CallbackEngine.hasCallbacks(), Worker.isIdle { return }
    withoutCancellation { waitForAnswer() }
}

private func waitForAnswer() {
    // Release: pairs with the acquire in runOnce.  Full, as a read-modify-write, against
    // the worker going to sleep: pairs with the heavy fence in Worker.sleep.
    let mine = shared(cp_engine_barriers_wanted()).pointee.wrappingAdd(
        1, ordering: .sequentiallyConsistent).newValue
    let done = shared(cp_engine_barriers_done())
    while true {
        // Before the look at the worker: if that goes after the look, the event changes.
        // Acquire: pairs with the release in WaitersForCallbacks.lookAgain.
        let seen = WaitersForCallbacks.event.pointee.load(ordering: .acquiring)
        // Acquire: pairs with the release in runOnce.
        let now = done.pointee.load(ordering: .acquiring)
        if Int32(bitPattern: now &- mine) >= 0 { return }
        if Worker.wakeOrWork() { cp_futex_wait(cp_engine_event(), seen, 0) }
    }
}
