// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// A file of tdpmmu_trace_write(): several may stand behind each other in one.
package struct EventFile {
    package private(set) var lost: UInt64 = 0
    private var lines = EventLines()

    package var text: String { lines.text }
    package var events: [FtraceText.Event] { lines.events }

    package init(file: String) throws(BadInput) {
        try self.init(file: file, bytes: try FileBytes.read(file))
    }

    package init(file: String, bytes: [UInt8]) throws(BadInput) {
        var reader = EventReader(), lines = EventLines()
        let problem = bytes.withUnsafeBytes { bytes in reader.take(bytes) { lines.add($0) } }
        if let problem = problem ?? reader.problemAtEnd { throw BadInput(file: file, line: 0, problem: problem) }
        (self.lines, lost) = (lines, reader.lost)
    }

    package static func isOne(_ file: String) -> Bool { FileBytes.begins(file, with: EventReader.magic) }

    /// A trace's text, which such a file is printed as.
    static func traceText(_ file: String) throws(BadInput) -> [UInt8] {
        guard isOne(file) else { return try FileBytes.read(file) }
        let events = try EventFile(file: file)
        guard events.lost == 0 else { throw BadInput(file: file, line: 0, problem: "\(events.lost) events were overwritten") }
        return Array(events.text.utf8)
    }
}
