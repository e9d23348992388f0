// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What the trace has against what the library made of it: tables are renamed, and whatever
/// else differs goes into the report.
final class Verdict {
    let trace: Trace
    private let place: Place
    var report: Report
    var renaming = TableRenaming()
    /// SPTE changes that the two sides need not make in the same call.
    private var book = ChangeBook()
    /// What the kernel adds to a physical address to get its own virtual one.
    private var directMapOffset: UInt64?

    init(_ trace: Trace, _ place: Place) {
        self.trace = trace
        self.place = place
        report = Report(name: Self.displayName(trace.file))
    }

    private static func displayName(_ file: String) -> String {
        var name = FileBytes.displayName(file)[...]
        if let slash = name.lastIndex(of: "/") { name = name[name.index(after: slash)...] }
        if name.hasSuffix(".gz") { name = name.dropLast(3) }
        if name.hasSuffix(".txt") { name = name.dropLast(4) }
        return String(name)
    }

    func differ(_ line: Int, _ what: String, expected: String, got: String, file: String? = nil) {
        report.differ(
            Difference(file: file ?? trace.file, line: line, what: what, expected: expected, got: got))
    }

    func compare<Value: Equatable>(_ line: Int, _ what: String, _ expected: Value, _ got: Value,
                                   _ text: (Value) -> String = { "\($0)" })
    {
        if expected != got { differ(line, what, expected: text(expected), got: text(got)) }
    }

    /// The library complained although it only did what the kernel does.  Where the
    /// kernel refused what it was asked, a word about the arguments is in order.
    func report(_ warnings: [Warning], _ line: Int, refused: Bool = false) {
        for warning in warnings where !(refused && warning.isAboutArguments) {
            differ(line, "the library warns", expected: "no warning", got: warning.text)
        }
    }
}

/// SPTE changes.
extension Verdict {
    /// Our changes of a call, against the operation's.
    func compareChanges(_ operation: Operation, with ours: [SPTEChange]) {
        let recorded = operation.changes.compactMap { index -> ChangeComparison.Recorded? in
            guard case .spteChanged(let change) = trace.lines[index].event else { return nil }
            return (trace.lines[index].number, change)
        }
        let mismatches = place.isParallel
            ? book.take(recorded, ours, &renaming) : ChangeComparison.mismatches(recorded, ours, &renaming)
        report(mismatches, operation.kind.rawValue, trace.lines[operation.end].number)
    }

    /// The tasks of a parallel part have ended, or stand still.
    func closeBook(_ line: TraceLine) {
        report(book.close(&renaming), "the parallel part", line.number)
    }

    private func report(_ mismatches: [ChangeComparison.Mismatch], _ what: String, _ line: Int) {
        for mismatch in mismatches {
            differ(mismatch.line ?? line, "SPTE change in \(what)",
                   expected: mismatch.expected?.text ?? "no further change",
                   got: mismatch.got?.text ?? "no such change")
        }
    }
}

/// Tables and their entries, by where they are.
extension Verdict {
    /// Physical address of a table or entry that the trace names by the kernel's
    /// direct map.
    func physical(_ address: UInt64) -> UInt64? {
        directMapOffset.map { address &- $0 }
    }

    /// A root of ours that the trace shows by the direct map.
    func compareAddress(ofRoot root: RecordedRoot, ours: UInt64, _ line: TraceLine) {
        guard let recorded = renaming.recorded(of: ours) else { return }
        if directMapOffset == nil {
            directMapOffset = root.table &- recorded
            compare(line.number, "the direct map is aligned to 1 GiB", 0, (root.table &- recorded) & 0x3fff_ffff, hex)
        }
        compare(line.number, "the walk's root is", physical(root.table) ?? 0, recorded, hex)
    }

    /// Does the recorded address of an entry stand for where ours is?
    func isSameAddress(_ recorded: UInt64, _ entry: TableEntry) -> Bool {
        renaming.agree(recorded: recorded & ~Paging.pageMask, ours: entry.table)
            && recorded & Paging.pageMask == entry.address & Paging.pageMask
    }

    func text(_ entry: TableEntry) -> String {
        let table = renaming.recorded(of: entry.table).map { hex($0 | entry.address & Paging.pageMask) }
        let spte = hex(renaming.inRecordedTerms(entry.spte, level: entry.level))
        return "gfn \(hex(entry.gfn)) spte \(spte) level \(entry.level) at \(table ?? "an unknown table")"
    }
}
