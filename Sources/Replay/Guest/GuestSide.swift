// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The guest's side: which vCPU each task runs, what fault that is in, and what its guest has
/// accessed, as a CPU's page walk shows in our tables.
final class GuestSide {
    private let place: Place
    private let subject: Subject
    private let verdict: Verdict
    var model = GuestModel()
    var tasks: [Int: RunningTask] = [:]
    private(set) var vcpuOfPointer: [UInt64: Int] = [:]
    /// By gfn: the trace's changes of its small SPTE, and their lines.
    private lazy var smallChanges: [UInt64: [(line: Int, change: SPTEChange)]] = {
        var changes: [UInt64: [(line: Int, change: SPTEChange)]] = [:]
        for line in subject.trace.lines {
            guard case .spteChanged(let change) = line.event, change.level == 1 else { continue }
            changes[change.gfn, default: []].append((line.number, change))
        }
        return changes
    }()

    /// What a task is in the middle of.
    struct RunningTask {
        var vcpu: Int?
        var fault: (address: UInt64, errorCode: UInt64)?
        /// What our fault returned.
        var mapResult: Int?
    }

    init(_ place: Place, _ subject: Subject, _ verdict: Verdict) {
        (self.place, self.subject, self.verdict) = (place, subject, verdict)
    }

    /// The vCPU that a pointer of the kernel's stands for: the one the task runs,
    /// learned at first sight.
    func vcpu(_ pointer: UInt64, _ line: TraceLine) throws(BadInput) -> Int {
        let running = tasks[line.task]?.vcpu
        if let known = vcpuOfPointer[pointer] {
            verdict.compare(line.number, "the vCPU is", running ?? known, known)
            return known
        }
        guard let running, !vcpuOfPointer.values.contains(running),
            try subject.require(line).hasVCPU(running)
        else { throw subject.trace.badInput(line.number, "no vCPU is known by 0x\(hex(pointer))") }
        vcpuOfPointer[pointer] = running
        return running
    }

    func begin(_ program: GuestRun.Program, vcpu: Int, _ line: TraceLine) throws(BadInput) {
        guard try subject.require(line).hasVCPU(vcpu) else {
            throw subject.trace.badInput(line.number, "there is no vCPU \(vcpu)")
        }
        tasks[line.task] = RunningTask(vcpu: vcpu)
        model.begin(vcpu: vcpu, task: line.task, program)
    }

    /// With other tasks at work, it may be long until the vCPU tells that it has gone on.
    func answered(vcpu: Int, gpa: UInt64, _ result: Int) {
        guard place.isParallel, result == FaultResult.fixed || result == FaultResult.spurious else { return }
        model.answer(vcpu: vcpu, gpa: gpa)
    }

    /// The guest made these accesses; the CPU's page walker set its bits.
    func apply(_ accesses: [GuestAccess], vcpu: Int) {
        guard let machine = subject.machine else { return }
        for access in accesses where machine.access(vcpu: vcpu, access) { verdict.report.guestBits += 1 }
    }

    /// The guest made these accesses, and then the CPU left it: the kernel marks what was logged.
    func leave(after accesses: [GuestAccess], vcpu: Int) {
        apply(accesses, vcpu: vcpu)
        subject.machine?.leaveGuest(vcpu: vcpu)
    }

    /// The vCPU's step is over.  Whether a doubtful access came before its bits were taken away, or behind,
    /// the next change of the SPTE tells.
    func end(vcpu: Int, succeeded: Bool, _ line: TraceLine) {
        let (made, doubtful) = model.end(vcpu: vcpu, succeeded: succeeded)
        leave(after: made + doubtful.filter { isFoundSet($0, behind: line.number, vcpu) }, vcpu: vcpu)
    }

    private func isFoundSet(_ access: GuestAccess, behind number: Int, _ vcpu: Int) -> Bool {
        let space = subject.machine?.addressSpace(vcpu: vcpu), gfn = access.gpa >> Paging.pageShift
        let next = smallChanges[gfn, default: []].first { $0.line > number && $0.change.addressSpace == space }
        let bits = access.access & PageFaultBits.write != 0 ? subject.layout.setByCPU : subject.layout.accessed
        return next.map { SPTEBits.isLeaf($0.change.old, level: 1) && $0.change.old & bits == bits } ?? false
    }

    /// The same, as the trace shows it; what the guest did before is told by other lines.
    func left(_ pointer: UInt64, task: Int) {
        guard let vcpu = vcpuOfPointer[pointer] else { return }
        model.left(vcpu: vcpu)
        guard model.showsExits, let ours = subject.machine?.address(ofVCPU: vcpu) else { return }
        subject.recording?.guestLeft(vcpu: ours, task: task)
    }

    /// An entry of the CPU's log was put into the vCPU's ring outside of any fault: the CPU has just
    /// left the guest, who had made this access and, as the log is read from its end, no later one.
    func pushed(_ entry: RingEntry, vcpu: Int, task: Int) {
        guard subject.recorded.hasPML, tasks[task]?.vcpu == vcpu,
            let slot = subject.machine?.slot(id: entry.slot), entry.offset < slot.pages
        else { return }
        let accesses = model.writes(vcpu: vcpu, to: slot.base &+ entry.offset)
        guard !accesses.isEmpty else { return }
        leave(after: accesses, vcpu: vcpu)
    }

    /// Changes that took Accessed or Dirty away, in a parallel part.
    func drop(_ changes: [SPTEChange]) {
        for change in changes where change.drops(subject.layout.setByCPU) { model.drop(gfn: change.gfn) }
    }

    /// Our entry where the task's last fault was.
    func faultingEntry(_ line: TraceLine) throws(BadInput) -> TableEntry? {
        let machine = try subject.require(line)
        guard let task = tasks[line.task], let vcpu = task.vcpu, let fault = task.fault else { return nil }
        return machine.entry(vcpu: vcpu, gfn: fault.address >> Paging.pageShift)
    }
}

/// Accessed and Dirty bits that the kernel found while a vCPU ran on another task.
extension GuestSide {
    /// Sets them now, if that vCPU's step explains them.  What it does not explain stays a
    /// difference.
    func applyEvidence(of operation: Operation, _ machine: Machine) {
        guard model.isRunning else { return }
        for index in operation.changes {
            guard case .spteChanged(let change) = subject.trace.lines[index].event else { continue }
            applyEvidence(change, subject.trace.lines[index].task, machine)
        }
    }

    private func applyEvidence(_ change: SPTEChange, _ task: Int, _ machine: Machine) {
        let bits = subject.layout.setByCPU
        guard SPTEBits.isLeaf(change.old, level: change.level),
            let entry = machine.entry(addressSpace: change.addressSpace, gfn: change.gfn, downTo: change.level),
            entry.level == change.level, entry.spte & ~bits == change.old & ~bits
        else { return }
        let missing = change.old & ~entry.spte & bits
        guard missing != 0,
            let (vcpu, access) = model.explanation(
                change.gfn, pages: Paging.pages(level: change.level),
                write: missing & subject.layout.dirty != 0, task: task)
        else { return }
        apply([access], vcpu: vcpu)
    }
}

extension Trace {
    /// One processor, of which every exit from a guest has a line: while another task runs no guest does,
    /// and one that has not left since it was let in has not been there.
    var showsExits: Bool {
        processors == 1 && lines.contains { if case .guestLeft = $0.event { true } else { false } }
    }
}

extension SPTEChange {
    /// The same small page with less of Accessed and Dirty, which are `bits`.
    fileprivate func drops(_ bits: UInt64) -> Bool {
        level == 1 && SPTEBits.isLeaf(old, level: level) && SPTEBits.isLeaf(new, level: level)
            && (old ^ new) & SPTEBits.address == 0 && old & ~new & bits != 0
    }
}
