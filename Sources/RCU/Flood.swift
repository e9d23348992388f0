// SPDX-License-Identifier: GPL-2.0-only
// Callbacks that come faster than they can be run: the thread that queues them
// is slowed down, within bounds.
import CPlatform
import Sync
import Synchronization

enum Flood {
    private static var limit: AtomicWord64 { shared(cp_flood_limit()) }

    /// At most this long for each portion, so that nobody waits for ever: a reader may
    /// be waiting for this very thread.
    private static var roundNS: UInt64 { 250_000 }
    private static var rounds: Int { 20 }

    private static var bytesPerCallback: UInt64 { 1024 }

    /// The calling thread has queued another portion.
    @inline(never)
    static func slowDown() {
        PendingCallbacks.add(UInt64(PendingCallbacks.step))
        if !isFlooded { return }
        Worker.wake()
        // The end of a reader, or of a callback, would only come later.
        if rcuReadLockHeld() || cp_self().pointee.in_callback != 0 { return }
        for _ in 0..<rounds {
            cp_sleep_ns(roundNS)
            if !isFlooded { return }
        }
    }

    private static var isFlooded: Bool {
        let now = PendingCallbacks.now
        return now > 0 && UInt64(now) > currentLimit
    }

    private static var currentLimit: UInt64 {
        let set = limit.pointee.load(ordering: .relaxed)
        return set != 0 ? set : computeLimit()
    }

    /// Racing threads compute the same.
    private static func computeLimit() -> UInt64 {
        let byMemory = max(cp_memory_bytes() / bytesPerCallback, UInt64(1) &<< 20)
        limit.pointee.store(byMemory, ordering: .relaxed)
        return byMemory
    }
}

/// Slow call_rcu() down while more callbacks are pending; 0: never.
package func setFloodLimit(_ callbacks: UInt64) {
    shared(cp_flood_limit()).pointee.store(
        callbacks == 0 ? UInt64.max : callbacks, ordering: .relaxed)
}
