// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// The word that says what the callback thread is about; futex of that thread.
enum WorkerWord {
    @inline(__always) static var awake: UInt32 { 0 }
    static var asleep: UInt32 { 1 }
    static var none: UInt32 { 2 }
    static var stop: UInt32 { 3 }
    static var ended: UInt32 { 4 }

    static var state: AtomicWord32 { shared(cp_call_worker()) }

    /// For its start and its end.
    static var mutex: RankedMutex { RankedMutex(cp_worker_mutex(cp_worker_thread()), .worker) }

    /// Wakes it, if it sleeps.  False if it does neither, for there is none.
    static func wake() -> Bool {
        switch state.pointee.load(ordering: .relaxed) {
        case awake: return true
        case asleep:
            if state.pointee.compareExchange(
                expected: asleep, desired: awake, ordering: .relaxed
            ).exchanged {
                cp_futex_wake(cp_call_worker(), 1)
            }
            return true
        default: return false
        }
    }

    /// There is something to do, but not so much that a thread is started for it or
    /// that the caller may be made to do it.
    static func nudge() {
        if state.pointee.load(ordering: .relaxed) == asleep { _ = wake() }
    }

    /// In a forked child.  A callback that forked goes on in it, and with it the worker.
    static func childForked() {
        let isWorker = cp_self().pointee.is_worker != 0
        state.pointee.store(isWorker ? awake : none, ordering: .relaxed)
    }
}
