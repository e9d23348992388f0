// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Replays one trace against the library: performs what was recorded, in order,
/// and compares everything that comes of it.
///
/// What it takes from the trace is what the kernel's functions were given, what
/// userspace did to slots, and what the guest accessed.  It never writes a
/// recorded SPTE: those are only compared with the ones the library makes.
package final class Replayer {
    package enum Stop: Equatable {
        case never
        /// Behind this dump.
        case afterDump(Int)
        /// Before the VM is taken down.
        case beforeTeardown
    }

    package let trace: Trace
    private let schedule: Schedule
    private let subject: Subject
    /// The trace has an INFO line about the machine.
    private let isMachineTold: Bool
    private let verdict: Verdict
    private let interleaving: Interleaving
    package var onProgress: ((Double) -> Void)?

    /// `options`: what the machine is, whatever the trace says of it.
    package init(trace: Trace, dumps: DumpFile?, mode: ReplayMode = .calls, options: MachineFacts = MachineFacts())
        throws(BadInput)
    {
        try Self.requireDumps(trace, dumps)
        let evidence = try MachineEvidence(trace), machine = evidence.machine(options)
        let trace = try KVMFaults.translate(trace, evidence.recorder(options))
        self.trace = trace
        schedule = try Schedule(trace, mode)
        let place = Place()
        subject = Subject(trace, machine)
        isMachineTold = evidence.isTold
        verdict = Verdict(trace, place)
        let guest = GuestSide(place, subject, verdict), host = HostSide(trace, place)
        let performer = Performer(mode, place, subject, verdict, guest, host, DirtyLogs(place, subject, verdict))
        interleaving = Interleaving(Turns(trace, schedule, place), performer, Events(performer, dumps))
    }

    /// A trace, or a recording of the library's events, and its dump file: the one beside it, unless another is named.
    package convenience init(file: String, dumpFile: String? = nil, mode: ReplayMode = .calls,
                             options: MachineFacts = MachineFacts()) throws(BadInput)
    {
        // A trace is long: where it is text, none of that is kept.
        let trace = EventFile.isOne(file) ? try Trace(file: file, bytes: EventFile.traceText(file)) : try Trace(file: file)
        let dumpFile = dumpFile ?? DumpFile.candidates(besides: file).first(where: FileBytes.exists)
        var dumps: DumpFile?
        if let dumpFile { dumps = try DumpFile(file: dumpFile) }
        try self.init(trace: trace, dumps: dumps, mode: mode, options: options)
    }

    private static func requireDumps(_ trace: Trace, _ dumps: DumpFile?) throws(BadInput) {
        for line in trace.lines {
            guard case .step(.dump(let id, _, _)) = line.event else { continue }
            guard let dumps else {
                guard trace.file != FileBytes.standardInput else {
                    throw trace.badInput(line.number, "dump \(id) has no file: name it by --dumps")
                }
                let names = DumpFile.candidates(besides: trace.file).joined(separator: " nor ")
                throw trace.badInput(line.number, "dump \(id) has no file: neither \(names) is there")
            }
            guard dumps.dumps[id] != nil else {
                throw trace.badInput(line.number, "dump \(id) is not in \(dumps.file)")
            }
        }
    }
}

/// What came of it.
extension Replayer {
    package var report: Report {
        get { verdict.report }
        set { verdict.report = newValue }
    }

    /// Our VM, while it is there.
    package var machine: Machine? { subject.machine }

    /// What our VM does is written down there, if it is set before the replay.
    package var recording: Recording? {
        get { subject.recording }
        set {
            subject.recording = newValue
            if !isMachineTold { newValue?.add(subject.recorded) }
        }
    }

    /// What it was recorded on, as far as is known.
    package var recordedMachine: RecordedMachine { subject.recorded }

    /// The ids of the dumps, in order.
    package var dumpIDs: [Int] {
        trace.lines.compactMap {
            if case .step(.dump(let id, _, _)) = $0.event { id } else { nil }
        }
    }
}

extension Replayer {
    /// Performs the trace.  Differences are in the report.  Where it stops early, some operations
    /// may stand in their middle, as the kernel's did: finish() ends them.
    package func run(until stop: Stop = .never) throws(BadInput) {
        do throws(BadInput) {
            try perform(until: stop)
        } catch {
            finish()
            throw error
        }
    }

    /// Lets all that stands in its middle come to its end.
    package func finish() { interleaving.finish() }

    private func perform(until stop: Stop) throws(BadInput) {
        for (index, item) in schedule.items.enumerated() {
            if index & 0xff == 0 { onProgress?(Double(index) / Double(schedule.items.count)) }
            if stop == .beforeTeardown, item.isTeardown { return }
            try interleaving.resume(upTo: schedule.positions[index])
            try interleaving.performInTurn(index)
            if case .afterDump(let id) = stop, isEndOfDump(item, id) { return }
        }
        guard stop == .never else { return }
        try interleaving.resume(upTo: .max)
        recording?.mark(upTo: trace.lineCount) { _ in nil }
        guard machine == nil else {
            throw trace.badInput(trace.lineCount, "the trace ends before the VM does")
        }
    }

    private func isEndOfDump(_ item: Item, _ id: Int) -> Bool {
        guard case .event(let line) = item, case .step(.dump(id, _, _)) = trace.lines[line].event else {
            return false
        }
        return true
    }
}
