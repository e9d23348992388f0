// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Performs operations of the trace with our VM, and compares what comes of each with what was
/// recorded of it.
final class Performer {
    let trace: Trace
    let mode: ReplayMode
    let place: Place
    let subject: Subject
    let verdict: Verdict
    let guest: GuestSide
    let host: HostSide
    let logs: DirtyLogs
    /// Those that come in between.
    unowned var others: (any Others)?
    /// Changes of a recovery step of ours that the trace has not come to yet.
    var recovered: [SPTEChange] = []

    init(_ mode: ReplayMode, _ place: Place, _ subject: Subject, _ verdict: Verdict, _ guest: GuestSide,
         _ host: HostSide, _ logs: DirtyLogs)
    {
        trace = subject.trace
        (self.mode, self.place, self.subject, self.verdict) = (mode, place, subject, verdict)
        (self.guest, self.host, self.logs) = (guest, host, logs)
    }

    /// Our changes of the call that was just made, against the operation's.
    @discardableResult
    func compareChanges(_ operation: Operation) -> [SPTEChange] {
        compareChanges(operation, with: subject.machine?.takeChanges() ?? [])
    }

    @discardableResult
    func compareChanges(_ operation: Operation, with ours: [SPTEChange]) -> [SPTEChange] {
        if place.isParallel { guest.drop(ours) }
        verdict.compareChanges(operation, with: ours)
        return ours
    }

    /// What a step of userspace came to.
    func compareResult(_ operation: Operation, _ result: Int) {
        let last = trace.lines[operation.end]
        guard case .done(let done) = last.event else { return }
        verdict.compare(last.number, "\(done.operation) returns", done.result, result)
    }

    /// A fault that lost a race: it did nothing that another one did not do as well, but
    /// the page that it wanted to write may have been noted as dirty.
    func isLostRace(_ result: Int?, _ call: MapCall) -> Bool {
        guard place.isParallel, result == FaultResult.retry else { return false }
        if call.mapWritable { logs.uncertain.insert(call.gfn) }
        return true
    }
}

/// What an operation asks of the tasks that come in its middle.
protocol Others: AnyObject {
    /// Does one that stands hold mmu_lock?
    var isLocked: Bool { get }
    /// A slot's logging is switched next: faults that go by the old flags come first.
    func finishWithOldFlags(_ operation: Operation, _ step: MemslotStep, _ machine: Machine) throws(BadInput)
}
