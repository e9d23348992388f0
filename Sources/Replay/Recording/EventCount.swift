// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// How many events of which kind a recording has: one of tdpmmu_trace_write(), or text as ftrace
/// prints it.  It comes in pieces, and may still grow.
package struct EventCount {
    package private(set) var byName: [String: Int] = [:]
    package private(set) var total = 0
    /// Events of which the recording says that they were lost.
    package var lost: Int { Int(clamping: events.lost) + text.lost }
    private var kind = Kind.unknown
    private var events = EventReader()
    private var text = EventNames()
    /// What came before it could be told which of the two it is.
    private var begun: [UInt8] = []

    private enum Kind { case unknown, events, text }

    package init() {}

    /// Returns what is wrong with it.
    package mutating func take(_ piece: [UInt8]) -> String? {
        guard kind == .unknown else { return count(piece) }
        begun += piece
        let length = EventReader.magic.utf8.count
        guard begun.count >= length || begun.contains(10) else { return nil }
        kind = begun.prefix(length).elementsEqual(EventReader.magic.utf8) ? .events : .text
        defer { begun = [] }
        return count(begun)
    }

    private mutating func count(_ piece: [UInt8]) -> String? {
        var names: [String: Int] = [:]
        let problem: String?
        if kind == .events {
            problem = piece.withUnsafeBytes { bytes in events.take(bytes) { names[TraceText.name($0), default: 0] += 1 } }
        } else {
            problem = piece.withUnsafeBufferPointer { bytes in text.take(bytes) { names[$0, default: 0] += 1 } }
        }
        for (name, count) in names {
            byName[name, default: 0] += count
            total += count
        }
        return problem
    }
}
