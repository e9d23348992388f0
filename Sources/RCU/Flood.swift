// SPDX-License-Identifier: GPL-2.0-only
// Callbacks that come faster than they can be run: whoever queues them is slowed
// down, within bounds.
import CPlatform
import Sync
import Synchronization

enum Flood {
    /// A thread tells of its callbacks in portions of this many.
    static var step: UInt32 { 4096 }

    private static var pending: AtomicWord64 { atomic64(cp_rcu_pending()) }
    private static var limit: AtomicWord64 { atomic64(cp_rcu_flood_limit()) }

    /// At most this long for each portion, so that nobody waits for ever: a reader may
    /// be waiting for this very thread.
    private static var roundNS: UInt64 { 250_000 }
    private static var rounds: Int { 20 }

    private static var bytesPerCallback: UInt64 { 1024 }

    /// The calling thread has queued another portion.
    @inline(never)
    static func slowDown() {
        tell(UInt64(step))
        if !isFlooded { return }
        Worker.wake()
        // The end of a reader, or of a callback, would only come later.
        if rcuReadLockHeld() || cp_self().pointee.in_callback != 0 { return }
        for _ in 0..<rounds {
            cp_sleep_ns(roundNS)
            if !isFlooded { return }
        }
    }

    /// So many more have been queued.
    static func tell(_ count: UInt64) { pending.pointee.wrappingAdd(count, ordering: .relaxed) }

    /// So many have run.
    static func invoked(_ count: UInt64) {
        pending.pointee.wrappingSubtract(count, ordering: .relaxed)
    }

    /// The count is signed: what a thread has not yet told of may have run already.
    private static var isFlooded: Bool {
        let now = Int64(bitPattern: pending.pointee.load(ordering: .relaxed))
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
    atomic64(cp_rcu_flood_limit()).pointee.store(
        callbacks == 0 ? UInt64.max : callbacks, ordering: .relaxed)
}
