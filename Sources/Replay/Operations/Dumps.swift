// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The tables at each dump, against those that were read from the machine's memory.
struct Dumps {
    let file: DumpFile?
    let subject: Subject
    let verdict: Verdict

    func compare(_ id: Int, _ root: UInt64, _ rootLevel: Int, _ line: TraceLine) throws(BadInput) {
        let machine = try subject.require(line)
        guard let file, let dump = file.dumps[id] else { return }
        verdict.report.dumps += 1
        verdict.compare(line.number, "dump \(id) has root", root, dump.root, hex)
        verdict.compare(line.number, "dump \(id) has root level", rootLevel, machine.rootLevel)
        if dump.rootLevel != machine.rootLevel {
            verdict.differ(dump.line, "dump \(id) has root level", expected: "\(dump.rootLevel)",
                           got: "\(machine.rootLevel)", file: file.file)
        }
        // Perhaps no vCPU uses it now: one that has left SMM.
        guard let address = verdict.renaming.ours(of: dump.root), let ours = machine.root(at: address) else {
            return verdict.differ(line.number, "dump \(id) has root", expected: hex(dump.root), got: "no such root")
        }
        let entries = TableWalk.listed(root: ours, address: address)
        subject.recording?.dump(id, root: address, level: machine.rootLevel, entries)
        verdict.compare(dump.entries, entries, file.file, dump)
    }

    /// DONE dump tells how many entries there were.
    func compareCount(_ done: Done, _ line: TraceLine) {
        guard let entries = done.entries, let id = lastDump(before: line), let dump = file?.dumps[id] else { return }
        verdict.compare(line.number, "dump \(id) has entries", entries, dump.entries.count)
    }

    private func lastDump(before line: TraceLine) -> Int? {
        for other in subject.trace.lines.reversed() where other.number < line.number {
            if case .step(.dump(let id, _, _)) = other.event { return id }
        }
        return nil
    }
}
