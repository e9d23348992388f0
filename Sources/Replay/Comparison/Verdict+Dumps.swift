// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The whole tables against those that were read from the machine's memory.
extension Verdict {
    /// Our root in place of the one that a dump step names.
    func ourRoot(atDump number: Int) -> String? {
        let index = trace.lines.partitioningIndex { $0.number >= number }
        guard index < trace.lines.count, trace.lines[index].number == number,
            case .step(.dump(_, let root, _)) = trace.lines[index].event
        else { return nil }
        return renaming.ours(of: root).map { "0x" + hex($0) }
    }

    /// Both lists are in walk order: an entry that only one side has is reported
    /// once, and the comparison goes on behind it.
    func compare(_ recorded: [DumpEntry], _ ours: [TableEntry], _ file: String, _ dump: Dump) {
        var (left, right) = (recorded[...], ours[...])
        while let entry = left.first {
            guard let mine = right.first, !entry.comesBefore(mine) else {
                differ(entry, "nothing", dump.id, file)
                left.removeFirst()
                continue
            }
            right.removeFirst()
            guard mine.level == entry.level, mine.gfn == entry.gfn else {
                differ(dump.line, "dump \(dump.id)", expected: "no entry here", got: text(mine), file: file)
                continue
            }
            left.removeFirst()
            if !isSame(entry, mine) { differ(entry, text(mine), dump.id, file) }
        }
        for mine in right {
            differ(dump.line, "dump \(dump.id)", expected: "no entry here", got: text(mine), file: file)
        }
    }

    private func isSame(_ entry: DumpEntry, _ mine: TableEntry) -> Bool {
        renaming.same(recorded: entry.spte, ours: mine.spte, level: entry.level)
            && entry.kind == mine.kind && isSameAddress(entry.address, mine)
    }

    private func differ(_ entry: DumpEntry, _ got: String, _ id: Int, _ file: String) {
        differ(entry.line, "dump \(id)",
               expected: "gfn \(hex(entry.gfn)) spte \(hex(entry.spte)) level \(entry.level) at \(hex(entry.address))",
               got: got, file: file)
    }
}

extension DumpEntry {
    /// In walk order: by gfn, a table's entry before the entries below it.
    fileprivate func comesBefore(_ other: TableEntry) -> Bool {
        gfn != other.gfn ? gfn < other.gfn : level > other.level
    }
}

extension TableEntry {
    var kind: DumpEntry.Kind {
        if SPTEBits.isTable(spte, level: level) { return .table }
        return SPTEBits.isLeaf(spte, level: level) ? .leaf : .nonpresent
    }
}
