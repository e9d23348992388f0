// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// A line of a picture, with those below it.
package struct PictureRow {
    package enum Kind: String { case root, table, run, more }

    /// Of two sides beside each other.
    package enum Mark: String {
        case same = " ", onlyA = "-", onlyB = "+", below = "~"
    }

    package struct StripPart {
        package let start: Int, count: Int
        package let paint: Paint
    }

    package var kind: Kind
    package var mark = Mark.same
    /// Of the table, or of the entry's table.
    package var level: Int
    package var first: UInt64, last: UInt64
    /// Entries, or tables that are alike.
    package var times = 1
    /// "2M leaf", "L1".
    package var what: String
    package var bits = ""
    package var pages = ""
    /// What does not fit any of these.
    package var note = ""
    /// A table's 512 entries, by side.
    package var strips: [[StripPart]] = []
    /// Where the sides' entries are not the same.
    package var differing: [(start: Int, count: Int)] = []
    package var children: [PictureRow] = []
    package var isHole = false
    /// Nothing differs in it: those below need not be shown.
    package var isClosed = false

    package var range: String { last == first ? hex(first) : "\(hex(first))-\(hex(last))" }
    package var timesText: String { times > 1 ? " x \(times)" : "" }

    package var count: Int { 1 + children.reduce(0) { $0 + $1.count } }
    /// Without what is closed.
    package var openCount: Int { isClosed ? 1 : 1 + children.reduce(0) { $0 + $1.openCount } }
}
