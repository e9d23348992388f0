// SPDX-License-Identifier: GPL-2.0-only
import Foundation
import XCTest

@testable import tdpmmuctl

/// The project's traces, and copies of them that a test has edited.
struct Recorded {
    var name: String
    var lines: [String]
    var dumpLines: [String]

    static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("traces").path

    /// The names of all traces.
    static var all: [String] {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return files.filter { $0.hasSuffix(".txt.gz") && !$0.hasSuffix(".npt.txt.gz") }.map { String($0.dropLast(7)) }.sorted()
    }

    static func path(_ name: String) -> String { "\(folder)/\(name).txt.gz" }

    /// A trace whose library must agree with the kernel in everything.
    init(_ name: String) throws {
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
    func number(of text: String, occurrence: Int = 1) throws -> Int {
        try Self.number(of: text, occurrence, lines)
    }

    func dumpNumber(of text: String, occurrence: Int = 1) throws -> Int {
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
    func cut(behind number: Int) throws -> Recorded {
        var copy = self
        let stop = try XCTUnwrap(lines[number...].firstIndex { $0.contains("DONE touch") })
        copy.lines = lines[...stop].map { $0.hasPrefix("# entries-in") ? "#" : $0 }
        for end in [" zap_all: ", " zap_invalidated_roots: ", " zap_invalidated_roots_ret: "] {
            copy.lines.append(try XCTUnwrap(lines.last { $0.contains(end) }))
        }
        return copy
    }

    /// Replays it in this process.
    func replay(_ mode: ReplayMode = .calls) -> Outcome {
        Self.replay(trace: Self.bytes(lines), dumps: Self.bytes(dumpLines), mode)
    }

    static func replay(trace: [UInt8], dumps: [UInt8], _ mode: ReplayMode = .calls) -> Outcome {
        Outcome {
            try Replayer(trace: Trace(file: "X.txt", bytes: trace), dumps: DumpFile(file: "X.npt.txt", bytes: dumps),
                         mode: mode)
        }
    }

    static func bytes(_ lines: [String]) -> [UInt8] {
        Array((lines.joined(separator: "\n") + "\n").utf8)
    }
}

/// What a replay came to.
enum Outcome: Equatable {
    case equal
    case different(String) // FILE:LINE of the first difference
    case bad(String) // FILE:LINE: problem

    init(_ make: () throws -> Replayer) {
        do {
            let replayer = try make()
            try replayer.run()
            self = replayer.report.first.map { .different("\($0.file):\($0.line)") } ?? .equal
        } catch {
            self = .bad("\(error)")
        }
    }
}

/// The test looks for a line that its trace does not have.
struct MissingLine: Error {
    var text: String
    var occurrence: Int
}

/// Runs `body` on a cursor over `text`.
func withCursor<Result>(_ text: String, _ body: (inout ByteCursor) throws -> Result) rethrows -> Result {
    let bytes = Array(text.utf8)
    return try bytes.withUnsafeBufferPointer {
        var cursor = ByteCursor($0, from: 0, to: $0.count)
        return try body(&cursor)
    }
}

/// The event on one line of ftrace text.
func event(_ text: String) -> TraceEvent? {
    withCursor("  task-1 [000] ..... 7: \(text)") { cursor in
        FtraceLine(cursor).flatMap { EventParser.parse($0) }
    }
}
