// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// SPTE changes of both sides while several tasks run at once, for each SPTE in its own
/// order.  Which call makes a change is then a matter of luck: the loser of a race
/// leaves to the winner what it would have done.
struct ChangeBook {
    private struct Entry: Hashable {
        var addressSpace: Int
        var gfn: UInt64
        var level: Int

        init(_ change: SPTEChange) {
            (addressSpace, gfn, level) = (change.addressSpace, change.gfn, change.level)
        }
    }

    private struct Page {
        var recorded: [ChangeComparison.Recorded] = []
        var ours: [SPTEChange] = []

        /// The next change of each side; nil: one has none yet.  A table that collapse takes
        /// away before a fault maps huge is gone in two steps; a fault that comes first
        /// replaces it in one: then the one step stands for the two.
        ///
        /// `onlyAlike`: a pair that does not look right waits; its operation was performed out of
        /// its turn, perhaps, and others of this SPTE are still to come before it.
        mutating func takePair(onlyAlike: Bool) -> (recorded: [ChangeComparison.Recorded], ours: [SPTEChange])? {
            guard let theirs = recorded.first, let mine = ours.first else { return nil }
            let (theirsEmpties, mineEmpties) = (theirs.change.empties, mine.empties)
            if onlyAlike, !theirs.change.startsLike(mine) { return nil }
            if theirsEmpties == mineEmpties || !SPTEBits.isTable(theirs.change.old, level: theirs.change.level) {
                if onlyAlike, !theirs.change.endsLike(mine) { return nil }
                return ([recorded.removeFirst()], [ours.removeFirst()])
            }
            let count = theirsEmpties ? 2 : 1
            guard recorded.count >= count, ours.count >= 3 - count else { return nil }
            defer {
                recorded.removeFirst(count)
                ours.removeFirst(3 - count)
            }
            return theirsEmpties
                ? (Array(recorded[..<2]), mine.inTwoSteps)
                : (theirs.change.inTwoSteps.map { (theirs.line, $0) }, Array(ours[..<2]))
        }
    }

    private var pages: [Entry: Page] = [:]

    /// Takes the changes of one call; returns what is wrong about those that can be compared yet.
    mutating func take(_ recorded: [ChangeComparison.Recorded], _ ours: [SPTEChange],
                       _ renaming: inout TableRenaming) -> [ChangeComparison.Mismatch]
    {
        var touched: [Entry] = []
        for change in recorded {
            pages[Entry(change.change), default: Page()].recorded.append(change)
            touched.append(Entry(change.change))
        }
        for change in ours {
            pages[Entry(change), default: Page()].ours.append(change)
            touched.append(Entry(change))
        }
        return touched.flatMap { settle($0, &renaming) }
    }

    /// Pairs what both sides have of one SPTE.
    private mutating func settle(_ entry: Entry, _ renaming: inout TableRenaming) -> [ChangeComparison.Mismatch] {
        guard var page = pages[entry] else { return [] }
        var mismatches: [ChangeComparison.Mismatch] = []
        while let (recorded, ours) = page.takePair(onlyAlike: true) {
            mismatches += ChangeComparison.mismatches(recorded, ours, &renaming)
        }
        pages[entry] = page.recorded.isEmpty && page.ours.isEmpty ? nil : page
        return mismatches
    }

    /// All tasks have stood still: what one side still has alone is a difference.
    mutating func close(_ renaming: inout TableRenaming) -> [ChangeComparison.Mismatch] {
        defer { pages = [:] }
        var left: [ChangeComparison.Mismatch] = []
        for var page in pages.values {
            page.recorded.sort { $0.line < $1.line }
            while let (recorded, ours) = page.takePair(onlyAlike: false) {
                left += ChangeComparison.mismatches(recorded, ours, &renaming)
            }
            left += page.recorded.map { ChangeComparison.Mismatch(line: $0.line, expected: $0.change, got: nil) }
            left += page.ours.map { ChangeComparison.Mismatch(line: nil, expected: nil, got: $0) }
        }
        return left.sorted { ($0.line ?? .max, $0.got?.gfn ?? 0) < ($1.line ?? .max, $1.got?.gfn ?? 0) }
    }
}

fileprivate extension SPTEChange {
    var empties: Bool { new == SPTEBits.nonpresent }

    func startsLike(_ other: SPTEChange) -> Bool { Self.isAlike(old, other.old, level) }
    func endsLike(_ other: SPTEChange) -> Bool { Self.isAlike(new, other.new, level) }

    /// Tables by being tables; all else is the same or not.
    private static func isAlike(_ left: UInt64, _ right: UInt64, _ level: Int) -> Bool {
        SPTEBits.isTable(left, level: level) ? SPTEBits.isTable(right, level: level) : left == right
    }

    /// The same by way of nothing.
    var inTwoSteps: [SPTEChange] {
        var (first, second) = (self, self)
        first.new = SPTEBits.nonpresent
        second.old = SPTEBits.nonpresent
        return [first, second]
    }
}
