// SPDX-License-Identifier: GPL-2.0-only

/// What events a trace has, whether a replay understands them or not.  The text comes in pieces.
package struct EventNames {
    private var lines = LineSplitter()
    /// Events that did not fit in the kernel's buffers.
    package private(set) var lost = 0

    package init() {}

    /// Calls `name` for each line that ends in `piece`; returns what is wrong with it.
    package mutating func take(_ piece: UnsafeBufferPointer<UInt8>, _ name: (String) -> Void) -> String? {
        var more = 0
        defer { lost += more }
        let refused = lines.take(piece) { line in
            if let event = FtraceLine(line, anyClock: true) {
                name(event.event)
            } else if let count = Self.lostEvents(line) {
                more += count
            } else if line.peek != UInt8(ascii: "#"), !line.isAtEnd {
                return BadInput(file: "", line: 0, problem: "neither a recording of trace events nor ftrace text")
            }
            return nil
        }
        return refused?.problem
    }

    /// "CPU:2 [LOST 123 EVENTS]"
    private static func lostEvents(_ line: ByteCursor) -> Int? {
        var cursor = line
        guard cursor.skip("CPU:"), cursor.integer() != nil, cursor.skip(" [LOST ") else { return nil }
        return cursor.integer()
    }
}
