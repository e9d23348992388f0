// SPDX-License-Identifier: GPL-2.0-only
// Callbacks from the queues to their end: collect, grace period, invoke.  Run by
// the worker; by others only while there is no worker.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

enum CallbackEngine {
    static var mutex: RankedMutex { RankedMutex(cp_rcu_engine_mutex(), .engine) }

    /// What was collected and has not begun to run: a forked child looks for what it keeps.
    private static var running: AtomicWord { atomicWord(cp_rcu_running()) }

    private static var barriersWanted: AtomicWord32 { atomic32(cp_rcu_barriers_wanted()) }
    private static var barriersDone: AtomicWord32 { atomic32(cp_rcu_barriers_done()) }

    /// Engine mutex held.  Bring everything to an end that is queued now, and answer
    /// the barriers that were asked for before.
    static func runOnce() {
        // Acquire: pairs with the release in rcuBarrier; what was queued before the
        // barrier is in the queues that we look at next.
        let barrier = barriersWanted.pointee.load(ordering: .acquiring)
        let batch = collect()
        if !batch.isEmpty {
            GracePeriod.wait(.call)
            Flood.invoked(invoke(batch))
        }
        // Acquire: pairs with the release in rcuStartPoll.
        let polled = atomic64(cp_rcu_poll_wanted()).pointee.load(ordering: .acquiring)
        if !GracePeriod.isOver(polled) { GracePeriod.wait(for: polled, .poll) }
        SRCU.service()
        // Relaxed: only the holder of the engine mutex writes it.
        if barriersDone.pointee.load(ordering: .relaxed) != barrier {
            // Release: pairs with the acquire in rcuBarrier.
            barriersDone.pointee.store(barrier, ordering: .releasing)
            cp_futex_wake(cp_rcu_barriers_done(), Int32.max)
        }
    }

    /// All that threads have queued up to now, each thread's in its order.
    private static func collect() -> CallbackList {
        var batch = CallbackList()
        registryMutex.lock()
        // First, for they may be older than what the same threads queued since: in a forked
        // child they are.
        Orphans.take(into: &batch)
        forEachQueue { $0.flip() }
        // Pairs with the light fence in CallbackQueue.append.
        heavyFence()
        forEachQueue { $0.take(into: &batch) }
        running.pointee.store(UInt(bitPattern: batch.first), ordering: .relaxed)
        registryMutex.unlock()
        return batch
    }

    /// Run a batch; returns how many there were.
    static func invoke(_ batch: CallbackList) -> UInt64 {
        let thread = cp_self()
        let cookie = atomicWord(cp_rcu_cookie()).pointee.load(ordering: .relaxed)
        thread.pointee.in_callback = 1
        var count: UInt64 = 0
        var link = batch.first
        while let head = link {
            link = Head(head.pointee.next)  // the callback may free the head
            // A fork must find it either waiting or done: the child could not finish it.
            let isKept = QueuedMark.isKept(head, cookie: cookie)
            if isKept { ForkGate.enter() }
            running.pointee.store(UInt(bitPattern: link), ordering: .relaxed)
            QueuedMark.invoke(head)
            if isKept { ForkGate.leave() }
            count &+= 1
            // A callback forked, and this is the child: the rest is the parent's.
            if atomicWord(cp_rcu_cookie()).pointee.load(ordering: .relaxed) != cookie {
                count = 0
                break
            }
        }
        thread.pointee.in_callback = 0
        return count
    }

    /// Is there anything to do?
    static func hasWork() -> Bool {
        barriersWanted.pointee.load(ordering: .relaxed)
            != barriersDone.pointee.load(ordering: .relaxed)
            || !GracePeriod.isOver(
                atomic64(cp_rcu_poll_wanted()).pointee.load(ordering: .relaxed))
            || SRCU.hasWork || hasCallbacks()
    }

    static func hasCallbacks() -> Bool {
        registryMutex.lock()
        var found = !Orphans.isEmpty
        forEachQueue { if $0.hasCallbacks() { found = true } }
        registryMutex.unlock()
        return found
    }

    /// Registry mutex held.
    @inline(__always)
    private static func forEachQueue(_ body: (CallbackQueue) -> Void) {
        var link = cp_registry().pointee.queues
        while let queue = link {
            body(CallbackQueue(queue))
            link = cp_callbacks_next(queue).pointee
        }
    }
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
    // Release: pairs with the acquire in runOnce.  Full, as a read-modify-write, against
    // the worker going to sleep: pairs with the heavy fence in Worker.sleep.
    let mine = atomic32(cp_rcu_barriers_wanted()).pointee.wrappingAdd(
        1, ordering: .sequentiallyConsistent).newValue
    let done = atomic32(cp_rcu_barriers_done())
    while true {
        // Acquire: pairs with the release in runOnce.
        let now = done.pointee.load(ordering: .acquiring)
        if Int32(bitPattern: now &- mine) >= 0 { return }
        if !Worker.wake() { continue }  // no worker: the work was done here
        cp_futex_wait(cp_rcu_barriers_done(), now, 0)
    }
}
