// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU

/// Events on their way from the rings to a file.  What could not be written waits in a list, and
/// the next reader of the rings gets it before anything else.
struct TraceBatch {
    private let batch: UnsafeMutablePointer<cp_trace_batch>

    static var room: Int { Int(CP_TRACE_BATCH) }

    /// nil: no memory.
    init?() {
        guard let memory = cp_malloc(MemoryLayout<cp_trace_batch>.size) else { return nil }
        batch = memory.assumingMemoryBound(to: cp_trace_batch.self)
    }

    private init(_ batch: UnsafeMutablePointer<cp_trace_batch>) { self.batch = batch }

    var events: UnsafeMutablePointer<tdpmmu_trace_event> { cp_trace_batch_events(batch) }

    func free() { cp_free(batch) }

    /// Puts the events from `first` to before `end` into the list.
    consuming func keep(from first: Int, to end: Int) {
        batch.pointee.first = UInt32(first)
        batch.pointee.end = UInt32(end)
        batch.pointee.next = nil
        TraceRing.locked { Self.append(batch) }
    }

    /// Trace mutex.  The oldest is first.
    private static func append(_ batch: UnsafeMutablePointer<cp_trace_batch>) {
        var link = cp_trace_unwritten()
        while let next = link.pointee { link = cp_trace_batch_next(next) }
        link.pointee = batch
    }

    /// Takes up to `room` events out of the list.  Trace mutex.
    static func takeUnwritten(_ events: UnsafeMutablePointer<tdpmmu_trace_event>, room: Int) -> Int {
        var filled = 0
        while filled < room, let first = cp_trace_unwritten().pointee {
            let next = Int(first.pointee.first), count = min(room - filled, Int(first.pointee.end) - next)
            (events + filled).update(from: cp_trace_batch_events(first) + next, count: count)
            filled += count
            first.pointee.first += UInt32(count)
            guard first.pointee.first == first.pointee.end else { continue }
            cp_trace_unwritten().pointee = first.pointee.next
            cp_free(first)
        }
        return filled
    }
}
