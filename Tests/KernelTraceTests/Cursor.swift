// SPDX-License-Identifier: GPL-2.0-only
@testable import KernelTrace

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
