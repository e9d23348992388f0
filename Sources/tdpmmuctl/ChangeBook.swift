// SPDX-License-Identifier: GPL-2.0-only

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
    }

    private var pages: [Entry: Page] = [:]

    /// Takes the changes of one call; returns what cannot be right any more.
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
        let count = min(page.recorded.count, page.ours.count)
        let mismatches = ChangeComparison.mismatches(
            Array(page.recorded[..<count]), Array(page.ours[..<count]), &renaming)
        page.recorded.removeFirst(count)
        page.ours.removeFirst(count)
        pages[entry] = page.recorded.isEmpty && page.ours.isEmpty ? nil : page
        return mismatches
    }

    /// All tasks have stood still: what one side still has alone is a difference.
    mutating func close() -> [ChangeComparison.Mismatch] {
        defer { pages = [:] }
        let left = pages.values.flatMap { page in
            page.recorded.map { ChangeComparison.Mismatch(line: $0.line, expected: $0.change, got: nil) }
                + page.ours.map { ChangeComparison.Mismatch(line: nil, expected: nil, got: $0) }
        }
        return left.sorted { ($0.line ?? .max, $0.got?.gfn ?? 0) < ($1.line ?? .max, $1.got?.gfn ?? 0) }
    }
}
