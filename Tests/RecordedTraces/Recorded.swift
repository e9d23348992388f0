// SPDX-License-Identifier: GPL-2.0-only
import Foundation
import KernelTrace

/// The project's traces, and copies of them that a test has edited.
package struct Recorded {
    package var name: String
    package var lines: [String]
    package var dumpLines: [String]

    package static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("traces").path

    /// The names of all traces.
    package static var all: [String] {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return files.filter { $0.hasSuffix(".txt.gz") && !$0.hasSuffix(".npt.txt.gz") }.map { String($0.dropLast(7)) }.sorted()
    }

    package static func path(_ name: String) -> String { "\(folder)/\(name).txt.gz" }

    /// A trace whose library must agree with the kernel in everything.
    package init(_ name: String) throws {
        self.name = name
        lines = try Self.lines(Self.path(name))
        dumpLines = try Self.lines("\(Self.folder)/\(name).npt.txt.gz")
    }

    private static func lines(_ path: String) throws -> [String] {
        var lines = String(decoding: try FileBytes.read(path), as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        if lines.last == "" { lines.removeLast() }
        return lines
    }

    /// Number (from 1) of the n-th line that contains the text.
    package func number(of text: String, occurrence: Int = 1) throws -> Int {
        try Self.number(of: text, occurrence, lines)
    }

    package func dumpNumber(of text: String, occurrence: Int = 1) throws -> Int {
        try Self.number(of: text, occurrence, dumpLines)
    }

    private static func number(of text: String, _ occurrence: Int, _ lines: [String]) throws -> Int {
        var left = occurrence
        for (index, line) in lines.enumerated() where line.contains(text) {
            left -= 1
            if left == 0 { return index + 1 }
        }
        throw MissingLine(text: text, occurrence: occurrence)
    }

    /// The same up to the end of the step that line `number` is in, and then at once
    /// the VM's end, where much is then left over: for tests of what differs
    /// first, which need not go through all of a long trace.
    package func cut(behind number: Int) throws -> Recorded {
        var copy = self
        guard let stop = lines[number...].firstIndex(where: { $0.contains("DONE touch") }) else {
            throw MissingLine(text: "DONE touch", occurrence: 1)
        }
        copy.lines = lines[...stop].map { $0.hasPrefix("# entries-in") ? "#" : $0 }
        for end in [" zap_all: ", " zap_invalidated_roots: ", " zap_invalidated_roots_ret: "] {
            guard let line = lines.last(where: { $0.contains(end) }) else { throw MissingLine(text: end, occurrence: 1) }
            copy.lines.append(line)
        }
        return copy
    }

    package static func bytes(_ lines: [String]) -> [UInt8] {
        Array((lines.joined(separator: "\n") + "\n").utf8)
    }
}

/// The test looks for a line that its trace does not have.
package struct MissingLine: Error {
    package var text: String
    package var occurrence: Int
}
