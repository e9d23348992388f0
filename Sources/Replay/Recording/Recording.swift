// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// A trace of what the library did in a replay, as if it had been a kernel: its events, with
/// the marks of the trace that was replayed between them, and its own tables at the dumps.
package final class Recording {
    /// Lines of the trace that are marks, in order.
    private let marks: [Mark]
    private var nextMark = 0
    private var lines = EventLines()
    private var dumps = DumpText()
    private(set) var lost: UInt64 = 0

    /// Events of one step fit: a fault, or the zap of a whole VM.
    private static var ringSize: Int { 1 << 22 }

    package init(of file: String) throws(BadInput) {
        marks = Mark.all(in: try EventFile.traceText(file))
        _ = tdpmmu_trace_ring_size(Self.ringSize)
    }

    /// Writes the marks down that stand at or before a line of the trace.  `root`: what stands
    /// for the recorded root of a dump.
    func mark(upTo line: Int, root: (Int) -> String?) {
        while nextMark < marks.count, marks[nextMark].line <= line {
            let mark = marks[nextMark]
            nextMark += 1
            lines.add("tracing_mark_write", Self.replacingRoot(mark.text, root(mark.line)), task: mark.task)
        }
    }

    /// The machine, of which the trace that is replayed has no line.
    func add(_ machine: RecordedMachine) {
        lines.add("tracing_mark_write", "INFO " + MachineFacts(machine).text, task: marks.first?.task ?? 0)
    }

    /// A vCPU, ours, has left its guest.
    func guestLeft(vcpu: UInt64, task: Int) {
        take(task: task)
        lines.add("pml_flush", "(vmx_handle_exit+0x0/0x0) vcpu=0x\(hex(vcpu))", task: task)
    }

    /// "STEP dump id= root= root_level=".
    private static func replacingRoot(_ text: String, _ root: String?) -> String {
        guard let root, text.hasPrefix("STEP dump ") else { return text }
        return text.split(separator: " ").map { $0.hasPrefix("root=") ? "root=\(root)" : String($0) }
            .joined(separator: " ")
    }

    /// Takes over what the library has noted since, as the doing of a task.
    func take(task: Int) {
        var events = [tdpmmu_trace_event](repeating: tdpmmu_trace_event(), count: 1024)
        while true {
            let count = tdpmmu_trace_read(&events, events.count, &lost)
            for event in events[..<count] { lines.add(event, task: task) }
            if count < events.count { return }
        }
    }

    /// A fault of which the library was asked for the part without mmu_lock alone: the rest of its lines.
    func fault(vcpu: Int, _ address: UInt64, _ errorCode: UInt64, task: Int, _ fix: () -> Int) -> Int {
        take(task: task)
        lines.add("kvm_page_fault", "vcpu \(vcpu) rip 0x0 address 0x\(hex(address)) error_code 0x\(hex(errorCode))", task: task)
        let result = fix()
        take(task: task)
        lines.add("pf_ret", "(caller+0x0/0x0 <- kvm_tdp_page_fault) ret=\(result)", task: task)
        return result
    }

    /// Tables at a dump.
    func dump(_ id: Int, root: UInt64, level: Int, _ entries: [TableEntry]) {
        dumps.begin(id, root: root, level: level)
        for entry in entries {
            dumps.add(level: entry.level, gfn: entry.gfn, spte: entry.spte, kind: entry.kind, address: entry.address)
        }
        dumps.end(id)
    }

    /// Where a recording goes: X.txt, and X.npt.txt if there are dumps.
    package static func files(_ file: String) -> [String] { [file, DumpFile.candidates(besides: file)[0]] }

    /// Both or none, unless something happens between two renamings.
    package func write(to file: String) throws(WriteFailure) {
        guard lost == 0 else { throw WriteFailure(file: file, problem: "\(lost) events did not fit in the ring") }
        let trace = try NewFile(file, lines.text)
        guard !dumps.isEmpty else { return try trace.put() }
        do throws(WriteFailure) {
            guard trace.isRegular else { throw WriteFailure(file: file, problem: "no file that dumps could lie beside") }
            let dumps = try NewFile(Self.files(file)[1], dumps.text)
            try dumps.put()
        } catch {
            trace.discard()
            throw error
        }
        try trace.put()
    }
}
