// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// What all threads have noted.
package enum TraceRings {
    /// False: no power of two, or out of range.
    package static func setSize(_ events: Int) -> Bool {
        guard events >= 64, events <= 1 << 24, events.nonzeroBitCount == 1 else { return false }
        shared(cp_trace_ring_size()).pointee.store(UInt64(events), ordering: .relaxed)
        return true
    }

    package static func countLost() { shared(cp_trace_lost()).pointee.wrappingAdd(1, ordering: .relaxed) }

    static var hasLost: Bool { shared(cp_trace_lost()).pointee.load(ordering: .relaxed) != 0 }

    /// Of a file that could not be written: they are told again.
    static func putBackLost(_ count: UInt64) { shared(cp_trace_lost()).pointee.wrappingAdd(count, ordering: .relaxed) }

    /// How many were overwritten, or had no ring, since the last call of this, as far as a reader
    /// has come across them.
    package static func takeLost() -> UInt64 { shared(cp_trace_lost()).pointee.exchange(0, ordering: .relaxed) }

    /// The count of the youngest event that there is.
    static var youngest: UInt64 { shared(cp_trace_count()).pointee.load(ordering: .relaxed) }

    /// Comes across all that has been overwritten by now.
    static func noticeLost() {
        TraceRing.locked { TraceRing.forEach { _ = $0.available() } }
    }

    /// Takes out up to `room` events, by their count and none younger than `last`.
    @inline(never)
    package static func read(
        _ events: UnsafeMutablePointer<tdpmmu_trace_event>, room: Int, last: UInt64 = .max
    ) -> Int {
        TraceRing.locked {
            var filled = TraceBatch.takeUnwritten(events, room: room)
            while filled < room, let next = oldest(events + filled), events[filled].count <= last {
                next.ring.take(next.number)
                filled += 1
            }
            return filled
        }
    }

    /// The event that came first of all, copied to `event`.
    private static func oldest(
        _ event: UnsafeMutablePointer<tdpmmu_trace_event>
    ) -> (ring: TraceRing, number: UInt64)? {
        var found: (ring: TraceRing, number: UInt64)?
        var candidate = tdpmmu_trace_event()
        TraceRing.forEach { ring in
            var events = ring.available()
            // As long as the writer overwrites what is being copied, the next one.
            while !events.isEmpty, !ring.copy(events.lowerBound, to: &candidate) { events = ring.available() }
            guard !events.isEmpty, found == nil || candidate.count < event.pointee.count else { return }
            event.pointee = candidate
            found = (ring, events.lowerBound)
        }
        return found
    }
}
