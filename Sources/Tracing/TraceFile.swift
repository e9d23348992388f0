// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU

/// A recording of what is in the rings: a header, events, and one more header if some were
/// overwritten meanwhile.
package struct TraceFile {
    private let fd: Int32

    package init(fd: Int32) { self.fd = fd }

    /// The number of events, or -errno; what was not written is there for the next reader.
    package func write() -> Int {
        guard let batch = TraceBatch() else { return Int(-ENOMEM) }
        // What comes while it is written is for the next one: else it need never end.
        let last = TraceRings.youngest
        TraceRings.noticeLost()
        let error = writeHeader()
        guard error == 0 else {
            batch.free()
            return Int(-error)
        }
        return writeEvents(batch, upTo: last)
    }

    private func writeEvents(_ batch: TraceBatch, upTo last: UInt64) -> Int {
        let size = MemoryLayout<tdpmmu_trace_event>.stride
        var count = 0
        while true {
            let some = TraceRings.read(batch.events, room: TraceBatch.room, last: last)
            guard some > 0 else { break }
            var written = 0
            let error = cp_write_all(fd, batch.events, some * size, &written)
            guard error == 0 else {
                batch.keep(from: written / size, to: some)
                return Int(-error)
            }
            count += some
        }
        batch.free()
        guard TraceRings.hasLost else { return count }
        let error = writeHeader()
        return error == 0 ? count : Int(-error)
    }

    /// 0 or an errno.
    private func writeHeader() -> Int32 {
        var header = cp_trace_file_header()
        header.lost = TraceRings.takeLost()
        var written = 0
        let error = cp_write_all(fd, &header, MemoryLayout<tdpmmu_trace_file>.size, &written)
        if error != 0 { TraceRings.putBackLost(header.lost) }
        return error
    }
}
