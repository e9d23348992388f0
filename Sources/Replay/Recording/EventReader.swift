// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

/// Reads what tdpmmu_trace_write() writes, from pieces that may end anywhere.  Several files may stand behind each other.
struct EventReader {
    /// The beginning of an event whose end has not come.
    private var begun: [UInt8] = []
    private var hasHeader = false
    /// Events that were overwritten before they could be written.
    private(set) var lost: UInt64 = 0

    static var magic: String { TDPMMU_TRACE_MAGIC }
    private static var eventSize: Int { MemoryLayout<tdpmmu_trace_event>.size }
    private static var headerSize: Int { MemoryLayout<tdpmmu_trace_file>.size }

    /// Calls `event` with each that ends in `piece`; returns what is wrong with it.
    mutating func take(_ piece: UnsafeRawBufferPointer, _ event: (tdpmmu_trace_event) -> Void) -> String? {
        guard begun.isEmpty else {
            begun.append(contentsOf: piece)
            let all = begun
            begun = []
            return all.withUnsafeBytes { takeAll($0, event) }
        }
        return takeAll(piece, event)
    }

    /// The file has ended: what is wrong with that.
    var problemAtEnd: String? {
        if !hasHeader { return "no recording of trace events" }
        return begun.isEmpty ? nil : "the last event is cut short"
    }

    private mutating func takeAll(_ bytes: UnsafeRawBufferPointer, _ event: (tdpmmu_trace_event) -> Void) -> String? {
        var position = 0
        while case let rest = bytes.count - position, rest >= Self.magic.utf8.count {
            let isHeader = bytes[position..<position + Self.magic.utf8.count].elementsEqual(Self.magic.utf8)
            guard isHeader || hasHeader else { return "no recording of trace events" }
            let size = isHeader ? Self.headerSize : Self.eventSize
            guard rest >= size else { break }
            if isHeader {
                guard takeHeader(bytes.loadUnaligned(fromByteOffset: position, as: tdpmmu_trace_file.self)) else {
                    return "events of another version of the library"
                }
            } else {
                let one = bytes.loadUnaligned(fromByteOffset: position, as: tdpmmu_trace_event.self)
                guard UInt32(one.id) < TDPMMU_TRACE_COUNT.rawValue, one.kvm != 0,
                      EventFlags.areSound(bytes[position..<position + size], one.id) else { return "this is no event" }
                event(one)
            }
            position += size
        }
        begun = Array(bytes[position...])
        return nil
    }

    private mutating func takeHeader(_ header: tdpmmu_trace_file) -> Bool {
        hasHeader = true
        lost += header.lost
        return header.event_size == UInt32(Self.eventSize) && header.header_size == UInt32(Self.headerSize)
    }
}
