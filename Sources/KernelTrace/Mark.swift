// SPDX-License-Identifier: GPL-2.0-only

/// What the recorder wrote into its trace between the kernel's lines, by ftrace's trace_marker.
package struct Mark {
    package var line: Int
    package var task: Int
    package var text: String

    /// All those of a trace, in order.
    package static func all(in bytes: [UInt8]) -> [Mark] { bytes.withUnsafeBufferPointer { marks(in: $0) } }

    private static func marks(in bytes: UnsafeBufferPointer<UInt8>) -> [Mark] {
        var cursor = ByteCursor(bytes, from: 0, to: bytes.count)
        var marks: [Mark] = []
        var number = 0
        while let (text, _) = cursor.nextLine() {
            number += 1
            guard let line = FtraceLine(text), line.event == "tracing_mark_write" else { continue }
            marks.append(Mark(line: number, task: line.task, text: line.text.rest))
        }
        return marks
    }
}
