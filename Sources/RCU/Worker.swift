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
            let idle = CallbackEngine.mutex.tryLock()
            if idle { CallbackEngine.mutex.unlock() }
            return idle
        }
    }

    // MARK: From outside

    /// See to it that what is queued gets done.  True if a worker does it; false if
    /// there is none, in which case it has been done here, as far as possible.
    @inline(never)
    @discardableResult
    static func wake() -> Bool {
        if WorkerWord.wake() { return true }
        if state.pointee.load(ordering: .relaxed) <= WorkerWord.none, start() { return true }
        workInPlace()
        return false
    }

    private static func start() -> Bool {
        var complaint: Int32 = 0
        let started = start(&complaint)
        // After the mutex: the handler may use call_rcu().
        if complaint != 0 {
            warn(.rcu, "call_rcu", "no thread for callbacks: they run in callers that may wait",
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
        // Set before the start: the worker may be asleep before we are back.
        state.pointee.store(WorkerWord.awake, ordering: .relaxed)
        let worker = cp_worker_thread()
        var thread: UInt64 = 0
        let error = cp_thread_start(&thread, workerMain, nil)
        if error != 0 {
            state.pointee.store(WorkerWord.none, ordering: .relaxed)
            if worker.pointee.complained == 0 { complaint = error }
            worker.pointee.complained = 1
            return false
        }
        worker.pointee.complained = 0
        worker.pointee.thread = thread
        if worker.pointee.exit_hooked == 0, cp_at_process_exit(processExits) == 0 {
            worker.pointee.exit_hooked = 1
        }
        return true
    }

    /// No thread to be had: wait for the grace period ourselves.  Where that cannot
    /// be, the callbacks stay queued until a later call_rcu() or rcu_barrier().
    private static func workInPlace() {
        if LockOrder.held.firstForbiddingWaits != nil || cp_self().pointee.in_callback != 0 { return }
        // Under a VM's slots lock, for one, which may well be held where rcu_barrier() waits:
        // there is no other thread that could do it.
        CallbackEngine.mutex.lockOutOfOrder()
        while CallbackEngine.hasWork() { CallbackEngine.runOnce() }
        CallbackEngine.mutex.unlock()
    }

    /// The process exits: end the worker, if it comes to rest soon.  Callbacks that
    /// are still queued do not run, unless rcu_barrier() asks for them.
    static func end() {
        if cp_self().pointee.is_worker != 0 { return }  // exit() in a callback
        mutex.lock()
        defer { mutex.unlock() }
        let roundNS: UInt64 = 500_000
        for _ in 0..<40 {
            let seen = state.pointee.load(ordering: .relaxed)
            if seen != WorkerWord.awake, seen != WorkerWord.asleep { return }
            if state.pointee.compareExchange(
                expected: WorkerWord.asleep, desired: WorkerWord.stop, ordering: .relaxed
            ).exchanged {
                cp_futex_wake(cp_call_worker(), 1)
                cp_thread_join(cp_worker_thread().pointee.thread)
                state.pointee.store(WorkerWord.ended, ordering: .relaxed)
                return
            }
            cp_sleep_ns(roundNS)
        }
        cp_thread_detach(cp_worker_thread().pointee.thread)
    }

    // MARK: The thread itself

    static func main() {
        _ = Threads.join()
        cp_self().pointee.is_worker = 1
        repeat {
            CallbackEngine.mutex.lock()
            while CallbackEngine.hasWork() { CallbackEngine.runOnce() }
            CallbackEngine.mutex.unlock()
        } while sleep()
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
}

func workerMain(_: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    Worker.main()
    return nil
}

func processExits() { Worker.end() }
