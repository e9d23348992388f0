// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Compares the SPTE changes of one operation with ours.
struct ChangeComparison {
    struct Mismatch {
        var line: Int?
        var expected: SPTEChange?
        var got: SPTEChange?
    }

    typealias Recorded = (line: Int, change: SPTEChange)

    /// Pairs the changes, one by one in order, and teaches the renaming; returns what
    /// does not agree.
    static func mismatches(_ recorded: [Recorded], _ ours: [SPTEChange],
                           _ renaming: inout TableRenaming) -> [Mismatch]
    {
        var mismatches: [Mismatch] = []
        for index in 0..<max(recorded.count, ours.count) {
            let expected = index < recorded.count ? recorded[index] : nil
            let got = index < ours.count ? ours[index] : nil
            // Before the comparison forgets what is unlinked.
            let old = got.map { renaming.inRecordedTerms($0.old, level: $0.level) }
            if let expected, let got, renaming.same(expected.change, got) { continue }
            mismatches.append(
                Mismatch(line: expected?.line, expected: expected?.change,
                         got: got.map { renaming.inRecordedTerms($0, old: old) }))
        }
        return mismatches
    }
}

extension SPTEChange {
    func isSameEntry(_ other: SPTEChange) -> Bool {
        addressSpace == other.addressSpace && gfn == other.gfn && level == other.level
    }

    /// As the tracepoint prints it.
    var text: String {
        "as id \(addressSpace) gfn \(hex(gfn)) level \(level) old_spte \(hex(old)) new_spte \(hex(new))"
    }
}

/// Our SPTEs as the trace would print them: the kernel's table in place of ours,
/// where there is one.
extension TableRenaming {
    func inRecordedTerms(_ spte: UInt64, level: Int) -> UInt64 {
        guard SPTEBits.isTable(spte, level: level),
            let address = recorded(of: spte & SPTEBits.address)
        else { return spte }
        return spte & ~SPTEBits.address | address
    }

    fileprivate func inRecordedTerms(_ change: SPTEChange, old: UInt64?) -> SPTEChange {
        var change = change
        change.old = old ?? change.old
        change.new = inRecordedTerms(change.new, level: change.level)
        return change
    }
}

