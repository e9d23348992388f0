// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What two sides have of the same entries.
package enum Contrast: String, Hashable {
    case same
    /// One side has nothing there.
    case onlyFirst = "only A", onlySecond = "only B"
    /// Another kind, or other bits.
    case differs
    /// Alike, but another page.
    case elsewhere = "another page"
}

/// Neighbouring entries of a table that are alike on each side.
package struct PictureRun {
    /// One side's.
    package struct Side {
        package let cell: Cell
        package let firstPFN: UInt64, lastPFN: UInt64
        /// Each leads to the page behind its neighbour's, or all to one.
        package let isContiguous: Bool, isConstant: Bool
    }

    package let start: Int
    package let count: Int
    package let sides: [Side]
    package let contrast: Contrast
    /// Of tables: what each of them looks like.
    package let child: PictureTable?

    /// In it or below.
    var isDifferent: Bool { contrast != .same || (child?.differences ?? 0) > 0 }
}

/// A table, or several that are alike, of one side or two.
package final class PictureTable {
    package let level: Int
    package let first: UInt64
    /// All 512 entries.
    package let runs: [PictureRun]
    /// By side; zero where it has no such table.
    package let totals: [Totals]
    /// Entries that are not the same on both sides, in it and below; those below a table that only one side has
    /// are that table's matter.
    package let differences: Int
    /// Only that side has the table.
    package let onlySide: Int?

    init(level: Int, first: UInt64, runs: [PictureRun], totals: [Totals], differences: Int, onlySide: Int?) {
        (self.level, self.first, self.runs) = (level, first, runs)
        (self.totals, self.differences, self.onlySide) = (totals, differences, onlySide)
    }

    package var pagesOfEntry: UInt64 { Paging.pages(level: level) }
    package func gfn(ofEntry index: Int) -> UInt64 { first &+ UInt64(index) &* pagesOfEntry }
}
