// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// A file of tdpmmu_trace_write(): several may stand behind each other in one.
package struct EventFile {
    package private(set) var lost: UInt64 = 0
    private var lines = EventLines()

    package var text: String { lines.text }

    package init(file: String) throws(BadInput) {
        try self.init(file: file, bytes: try FileBytes.read(file))
    }

    package init(file: String, bytes: [UInt8]) throws(BadInput) {
        let problem = bytes.withUnsafeBytes { take($0) }
        if let problem { throw BadInput(file: file, line: 0, problem: problem) }
    }

    /// What is wrong, or nil.
    private mutating func take(_ bytes: UnsafeRawBufferPointer) -> String? {
        let eventSize = MemoryLayout<tdpmmu_trace_event>.size
        var position = 0
        guard Self.header(bytes, at: 0) != nil else { return "no recording of trace events" }
        while position < bytes.count {
            if let header = Self.header(bytes, at: position) {
                guard header.event_size == UInt32(eventSize), header.header_size == UInt32(Self.headerSize) else {
                    return "events of another version of the library"
                }
                lost += header.lost
                position += Self.headerSize
            } else {
                guard bytes.count - position >= eventSize else { return "the last event is cut short" }
                let event = bytes.loadUnaligned(fromByteOffset: position, as: tdpmmu_trace_event.self)
                guard UInt32(event.id) < TDPMMU_TRACE_COUNT.rawValue, event.kvm != 0,
                    EventFlags.areSound(bytes[position..<position + eventSize], event.id)
                else { return "this is no event" }
                lines.add(event)
                position += eventSize
            }
        }
        return nil
    }

    private static var headerSize: Int { MemoryLayout<tdpmmu_trace_file>.size }

    private static func header(_ bytes: UnsafeRawBufferPointer, at position: Int) -> tdpmmu_trace_file? {
        guard bytes.count - position >= headerSize,
            bytes[position..<position + 8].elementsEqual(TDPMMU_TRACE_MAGIC.utf8)
        else { return nil }
        return bytes.loadUnaligned(fromByteOffset: position, as: tdpmmu_trace_file.self)
    }
}
