// SPDX-License-Identifier: GPL-2.0-only
// The thread that invokes callbacks: started at first use, asleep while there is
// nothing to do, ended when the process exits.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

enum Worker {
    private static var state: AtomicWord32 { WorkerWord.state }
    private static var mutex: RankedMutex { WorkerWord.mutex }

    /// Asleep with all its work done, or not there with nothing left half done.
    /// Acquire: pairs with the release in sleep; its callbacks' effects are seen.
    static var isIdle: Bool {
        switch state.pointee.load(ordering: .acquiring) {
        case WorkerWord.asleep: return true
        case WorkerWord.awake, WorkerWord.stop: return false
        default:
            guard CallbackEngine.mutex.tryLock() else { return false }
            CallbackEngine.mutex.unlock()
            // Once more: who ended inside a callback has put the rest back before it let go.
            return !CallbackEngine.hasCallbacks()
        }
    }

    // MARK: From outside

    /// See to it that what is queued gets done.  False if there is no thread that does it, and
    /// none to be had: it stays queued.  Never waits, and runs no callback.
    @inline(never)
    @discardableResult
    static func wake() -> Bool {
        if WorkerWord.wake() { return true }
        return isStartDue && start()
    }

    /// The same for a thread that may wait for callbacks: true if it can sleep until the worker
    /// has done something, false if it has done a part of the work itself.
    static func wakeOrWork() -> Bool {
        if WorkerWord.wake() { return true }
        if state.pointee.load(ordering: .relaxed) == WorkerWord.none, start() { return true }
        workInPlace()
        return false
    }

    /// Callbacks may be waiting because no thread could be started: time for another attempt?
    static func startIfMissing() {
        if state.pointee.load(ordering: .relaxed) == WorkerWord.none,
           retryAtNS.pointee.load(ordering: .relaxed) != 0 { wake() }
    }

    private static var retryAtNS: AtomicWord64 { shared(cp_worker_retry_at_ns(cp_worker_thread())) }

    /// Each call_rcu() comes here while there is no thread; an attempt costs much more.
    private static var isStartDue: Bool {
        guard state.pointee.load(ordering: .relaxed) == WorkerWord.none else { return false }
        let retryAt = retryAtNS.pointee.load(ordering: .relaxed)
        return retryAt == 0 || cp_monotonic_ns() >= retryAt
    }

    private static var retryAfterNS: UInt64 { 10_000_000 }

    private static func start() -> Bool {
        var complaint: Int32 = 0
        let started = start(&complaint)
        // After the mutex: the handler may use call_rcu().
        if complaint != 0 {
            warn(.rcu, "call_rcu", "no thread for callbacks: they wait for one, or for rcu_barrier()",
                 UInt64(complaint))
        }
        return started
    }

    /// The errno of a failure that was not yet complained of goes into `complaint`.
    private static func start(_ complaint: inout Int32) -> Bool {
        // A callback may come here, and so does a thread that another has overtaken.
        mutex.lock()
        defer { mutex.unlock() }
        guard state.pointee.load(ordering: .relaxed) == WorkerWord.none else {
            return state.pointee.load(ordering: .relaxed) <= WorkerWord.asleep
        }
        let worker = cp_worker_thread()
        if worker.pointee.exit_hooked == 0, cp_at_process_exit(processExits) == 0 {
            worker.pointee.exit_hooked = 1
            cp_at_process_end(processEnds)
        }
        // Set before the start: the worker may be asleep before we are back.
        state.pointee.store(WorkerWord.awake, ordering: .relaxed)
        var thread: UInt64 = 0
        let error = cp_thread_start(&thread, workerMain, nil)
        if error != 0 {
            retryAtNS.pointee.store(cp_monotonic_ns() &+ retryAfterNS, ordering: .relaxed)
            state.pointee.store(WorkerWord.none, ordering: .relaxed)
            WaitersForCallbacks.threadIsGone()
            if worker.pointee.complained == 0 { complaint = error }
            worker.pointee.complained = 1
            return false
        }
        retryAtNS.pointee.store(0, ordering: .relaxed)
        worker.pointee.complained = 0
        worker.pointee.thread = thread
        return true
    }

    /// No thread to be had: the caller, who waits, does what there is now.  Once, for callbacks may
    /// queue others without end.
    private static func workInPlace() {
        _ = cp_thread_at_exit(CP_EXIT_CALLBACKS, callbackThreadEnds)
        // Under a VM's slots lock, for one, which may well be held where rcu_barrier() waits:
        // there is no other thread that could do it.
        CallbackEngine.mutex.lockOutOfOrder()
        if CallbackEngine.hasWork() { CallbackEngine.runOnce() }
        CallbackEngine.mutex.unlock()
    }

    // MARK: The end of the process

    /// The process exits: end the worker, if it comes to rest soon.  Callbacks that
    /// are still queued do not run, unless rcu_barrier() asks for them.
    static func end() {
        if cp_self().pointee.is_worker != 0 { return }  // exit() in a callback
        let thread = withoutCancellation { mutex.locked { stop() } }
        if let thread {
            // In its thread-specific destructors it may wait for what this thread holds.
            withoutCancellation { if !cp_thread_join_within(thread, joinNS) { cp_thread_detach(thread) } }
        }
    }

    private static var restRounds: Int { 40 }
    private static var restRoundNS: UInt64 { 500_000 }
    private static var joinNS: UInt64 { 1_000_000_000 }

    /// Worker mutex held.  The thread that ends now, to be joined; nil if there is none, or one
    /// that does not come to rest.
    private static func stop() -> UInt64? {
        for _ in 0..<restRounds {
            let seen = state.pointee.load(ordering: .relaxed)
            if seen != WorkerWord.awake, seen != WorkerWord.asleep {
                // No thread shall be started any more.
                _ = state.pointee.compareExchange(
                    expected: WorkerWord.none, desired: WorkerWord.ended, ordering: .relaxed)
                return nil
            }
            if state.pointee.compareExchange(
                expected: WorkerWord.asleep, desired: WorkerWord.stop, ordering: .relaxed
            ).exchanged {
                cp_futex_wake(cp_call_worker(), 1)
                return cp_worker_thread().pointee.thread
            }
            cp_sleep_ns(restRoundNS)
        }
        return nil
    }

    /// All exit handlers have run: nobody will run what is left.  A line, for by now the data of a
    /// handler of the program's may be gone.
    fileprivate static func reportLost() {
        let pending = CallbackEngine.countPending()
        if pending <= 0 { return }
        var warning = makeWarning(
            .rcu, "exit", "callbacks have not run that no rcu_barrier() asked for (how many)", UInt64(pending))
        cp_print_warning(&warning)
    }

    // MARK: The thread itself

    static func main() {
        _ = cp_cancel_hold()
        _ = cp_thread_at_exit(CP_EXIT_CALLBACKS, callbackThreadEnds)
        _ = Threads.join()
        cp_self().pointee.is_worker = 1
        // Who has just called call_rcu() goes on: there is more to do at once later than now.
        cp_thread_waits_its_turn()
        repeat {
            CallbackEngine.mutex.lock()
            while CallbackEngine.hasWork() { CallbackEngine.runOnce() }
            CallbackEngine.mutex.unlock()
        } while sleep()
        // Relaxed: what it did is ordered by the engine mutex.
        state.pointee.store(WorkerWord.ended, ordering: .relaxed)
        WaitersForCallbacks.threadIsGone()
    }

    /// Sleep until a thread has something to do for this one (wake); false if the thread shall end.
    private static func sleep() -> Bool {
        // Release: pairs with the acquire in isIdle.
        state.pointee.store(WorkerWord.asleep, ordering: .releasing)
        // Pairs with the light fence in enqueue and the fence in rcuBarrier.
        heavyFence()
        while true {
            if CallbackEngine.hasWork() {
                // Relaxed: if wake() or end() was first, it is awake or stop.
                _ = state.pointee.compareExchange(
                    expected: WorkerWord.asleep, desired: WorkerWord.awake, ordering: .relaxed)
            }
            let seen = state.pointee.load(ordering: .relaxed)
            if seen != WorkerWord.asleep { return seen != WorkerWord.stop }
            cp_futex_wait(cp_call_worker(), WorkerWord.asleep, 0)
        }
    }

    /// A callback ends the thread that runs it, by pthread_exit(): what the thread has and had
    /// still to do goes to another.
    fileprivate static func endsInCallback() {
        warn(.rcu, "pthread_exit", "a callback ends the thread that runs it")
        let wasWorker = cp_self().pointee.is_worker != 0
        cp_self().pointee.is_worker = 0
        while cp_self().pointee.in_gate != 0 { ForkGate.leave() }
        Invocation.handBack()
        CallbackEngine.mutex.unlock()
        if wasWorker {
            cp_thread_detach_self()
            // Relaxed: what it did is ordered by the engine mutex.
            state.pointee.store(WorkerWord.none, ordering: .relaxed)
            wake()
        }
        WaitersForCallbacks.threadIsGone()
    }
}

func workerMain(_: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Worker.main()
    return nil
}

func processExits() { Worker.end() }

func processEnds() { Worker.reportLost() }

/// Of any thread that has run callbacks.
private func callbackThreadEnds() {
    if cp_self().pointee.in_callback != 0 { Worker.endsInCallback() }
}
