// SPDX-License-Identifier: GPL-2.0-only
// Callbacks from the queues to their end: collect, grace period, invoke.  Run by
// the worker; by threads that wait for callbacks only while there is no worker.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

enum CallbackEngine {
    static var mutex: RankedMutex { Invocation.mutex }

    private static var barriersWanted: AtomicWord32 { shared(cp_engine_barriers_wanted()) }
    private static var barriersDone: AtomicWord32 { shared(cp_engine_barriers_done()) }

    /// Engine mutex held.  Bring everything to an end that is queued now, and answer
    /// the barriers that were asked for before.
    static func runOnce() {
        // Acquire: pairs with the release in rcuBarrier; what was queued before the
        // barrier is in the queues that we look at next.
        let asked = barriersWanted.pointee.load(ordering: .acquiring)
        let batch = collect()
        if !batch.isEmpty {
            GracePeriod.wait(.call)
            PendingCallbacks.invoked(Invocation.run(batch, of: nil))
        }
        // Acquire: pairs with the release in rcuStartPoll.
        let polled = shared(cp_gp_poll_wanted()).pointee.load(ordering: .acquiring)
        if !GracePeriod.isOver(polled) { GracePeriod.wait(for: polled, .poll) }
        SRCUService.run()
        // Relaxed: only the holder of the engine mutex writes it.
        if barriersDone.pointee.load(ordering: .relaxed) != asked {
            // Release: pairs with the acquire in rcuBarrier.
            barriersDone.pointee.store(asked, ordering: .releasing)
            WaitersForCallbacks.lookAgain()
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
        Invocation.waiting(batch)
        registryMutex.unlock()
        return batch
    }

    /// Is there anything to do?
    static func hasWork() -> Bool {
        barriersWanted.pointee.load(ordering: .relaxed)
            != barriersDone.pointee.load(ordering: .relaxed)
            || !GracePeriod.isOver(
                shared(cp_gp_poll_wanted()).pointee.load(ordering: .relaxed))
            || SRCUWork.isThere || hasCallbacks()
    }

    static func hasCallbacks() -> Bool {
        registryMutex.lock()
        var found = !Orphans.isEmpty
        forEachQueue { if $0.hasCallbacks() { found = true } }
        registryMutex.unlock()
        return found
    }

    /// About how many callbacks, SRCU's among them, are queued and have not run.
    static func countPending() -> Int64 {
        registryMutex.lock()
        var untold: Int64 = 0
        forEachQueue { untold &+= Int64($0.countUntold) }
        registryMutex.unlock()
        SRCU.mutex.lock()
        untold &+= Int64(bitPattern: cp_srcu_all().pointee.pending)
        SRCU.mutex.unlock()
        return PendingCallbacks.now &+ untold
    }

    /// Registry mutex held.
    @inline(__always)
    private static func forEachQueue(_ body: (CallbackQueue) -> Void) {
        var link = cp_registry().pointee.queues
        while let queue = link {
            body(CallbackQueue(queue))
            link = queue.pointee.next
        }
    }
}
