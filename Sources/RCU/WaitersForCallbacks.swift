// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import Sync
import Synchronization

/// Threads that sleep until the callback thread has done something for them.
enum WaitersForCallbacks {
    static var event: AtomicWord32 { shared(cp_engine_event()) }

    /// Barriers were answered.
    static func lookAgain() {
        // Release: pairs with the acquire in rcuBarrier.
        event.pointee.wrappingAdd(1, ordering: .releasing)
        cp_futex_wake(cp_engine_event(), Int32.max)
    }

    /// There is no callback thread, and its word says so by now.  Who saw it awake before, and
    /// sleeps since or is about to, has to do the work.
    static func threadIsGone() {
        lookAgain()
        // Release: pairs with the acquire in SRCUDomain.waitUntil.
        SRCU.event.pointee.wrappingAdd(1, ordering: .releasing)
        cp_futex_wake(cp_srcu_event(), Int32.max)
    }
}
