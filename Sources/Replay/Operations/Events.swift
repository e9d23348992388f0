// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Lines between operations: what userspace, the guest and the host did there.
final class Events {
    private let performer: Performer
    private let dumps: Dumps
    /// By task: what KVM_ENABLE_CAP returned.
    private var enabled: [Int: Int] = [:]

    var trace: Trace { performer.trace }
    var place: Place { performer.place }
    var subject: Subject { performer.subject }
    var verdict: Verdict { performer.verdict }
    var guest: GuestSide { performer.guest }
    var host: HostSide { performer.host }
    var logs: DirtyLogs { performer.logs }

    init(_ performer: Performer, _ dumps: DumpFile?) {
        self.performer = performer
        self.dumps = Dumps(file: dumps, subject: performer.subject, verdict: performer.verdict)
    }

    func take(_ line: TraceLine) throws(BadInput) {
        switch line.event {
        case .step(let step): try take(step, line)
        case .done(let done): take(done, line)
        case .pageFault(let vcpu, let address, let errorCode):
            guest.tasks[line.task, default: GuestSide.RunningTask()].vcpu = vcpu
            guest.tasks[line.task]?.fault = (address, errorCode)
            guest.leave(after: guest.model.fault(vcpu: vcpu, gpa: address), vcpu: vcpu)
        case .mmioExit(let vcpu, let gpa): guest.leave(after: guest.model.fault(vcpu: vcpu, gpa: gpa), vcpu: vcpu)
        case .pageFaultReturn(let result):
            comparePageFaultReturn(result, line)
            if let task = guest.tasks[line.task], let vcpu = task.vcpu, let fault = task.fault {
                guest.answered(vcpu: vcpu, gpa: fault.address, result)
            }
        case .mmioChecked(let check): try compare(check, line)
        case .mmioHandled(let gfn): try compareMMIO(gfn, line)
        case .fastPageFault(let fault): try performer.fastPageFault(fault, line)
        case .guestCPUID(let eax): compare(MachineFacts(physicalBits: Int(eax & 0xff)), line)
        case .guestLeft(let pointer): guest.left(pointer, task: line.task)
        case .machineInfo(let info): compare(info.facts, line)
        case .ringPushed(let push): guest.pushed(push.entry, vcpu: push.vcpu, task: line.task)
        case .invalidateEnd:
            guard let range = host.endInvalidation(task: line.task) else { break }
            subject.machine?.endInvalidation(hostStart: range.lowerBound, hostEnd: range.upperBound)
        case .pages(let list): logs.compare(list, line)
        case .ringEntries(let vcpu, let entries): try logs.harvest(vcpu: vcpu, entries, line)
        case .loadRoot(let pointer, let root, let level, _):
            let vcpu = try guest.vcpu(pointer, line)
            performer.compareRoot(vcpu, root, level, isNew: false, line)
        case .smmTransition(let vcpu, let entering):
            // What it did in SMM, while it still has that address space's root.
            if !entering { guest.end(vcpu: vcpu, succeeded: true, line) }
            let result = try subject.require(line).setAddressSpace(vcpu: vcpu, entering ? 1 : 0)
            verdict.compare(line.number, "the switch of address space returns", 0, result)
        default: break
        }
        verdict.report(subject.machine?.takeWarnings() ?? [], line.number)
    }

    private func take(_ step: Step, _ line: TraceLine) throws(BadInput) {
        switch step {
        case .createVM(_, let longMode): try createVM(longMode, line)
        case .createVCPU(let id):
            guard try subject.require(line).createVCPU(id) else {
                throw trace.badInput(line.number, "vCPU \(id) cannot be created")
            }
        case .touch(let touch): try guest.begin(.touch(touch), vcpu: touch.vcpu, line)
        case .batch(let vcpu, let accesses): try guest.begin(.batch(accesses), vcpu: vcpu, line)
        case .kick(let vcpu): try guest.begin(.halt, vcpu: vcpu, line)
        case .smiTouch(let vcpu, let access): try guest.begin(.smi(access), vcpu: vcpu, line)
        case .run(let vcpu): try guest.begin(.told, vcpu: vcpu, line)
        case .access(let vcpu, let access): guest.apply([access], vcpu: vcpu)
        case .prefault(let vcpu, _, _): guest.tasks[line.task] = GuestSide.RunningTask(vcpu: vcpu)
        case .enableCapability(let name, let argument): try enableCapability(name, argument, line)
        case .hostMap(let map): host.begin(map, task: line.task)
        case .hostChange(let change): host.begin(change, task: line.task)
        case .dump(let id, let root, let level): try dumps.compare(id, root, level, line)
        case .parallel: place.isParallel = true
        case .memslot, .parameter, .getDirtyLog, .clearDirtyLog, .resetDirtyRings, .other: break
        }
    }

    private func take(_ done: Done, _ line: TraceLine) {
        switch done.operation {
        case "touch", "batch", "kick", "smi_touch", "run":
            guard let vcpu = guest.tasks[line.task]?.vcpu else { return }
            guest.end(vcpu: vcpu, succeeded: done.result == 0, line)
        case "enable_cap":
            guard let ours = enabled.removeValue(forKey: line.task) else { return }
            verdict.compare(line.number, "enable_cap returns", done.result, ours)
        case "host_map": host.end(done, task: line.task)
        case _ where OperationTable.hostSteps.contains(done.operation): host.end(done, task: line.task)
        case "parallel_begin":
            place.isParallel = false
            verdict.closeBook(line)
            logs.uncertain = []
        case "dump": dumps.compareCount(done, line)
        case "vm_create", "vcpu_create":
            verdict.compare(line.number, "\(done.operation) returns", done.result, 0)
        default: break
        }
    }

    private func enableCapability(_ name: String, _ argument: UInt64, _ line: TraceLine) throws(BadInput) {
        let machine = try subject.require(line)
        guard let capability = Machine.Capability(name) else { return }
        enabled[line.task] = machine.enable(capability, argument)
        if capability == .manualDirtyLogProtect { logs.mode = DirtyLogMode(argument: argument) }
    }

    private func createVM(_ longMode: Bool, _ line: TraceLine) throws(BadInput) {
        guard subject.machine == nil, verdict.report.calls == 0 else {
            throw trace.badInput(line.number, "a second VM in one trace")
        }
        try subject.create(line, hostLevel: { [unowned host] in host.level(of: $0) },
                           hostPage: { [unowned host] in host.page($0) })
        guest.model.longMode = longMode
        guest.model.showsExits = trace.showsExits
        guest.model.walksAreWrites = subject.recorded.hasAD
    }
}

/// Looks at our tables that the trace lets us make between operations, and at our machine.
extension Events {
    /// By options it may be another than the trace says.
    private func compare(_ told: MachineFacts, _ line: TraceLine) {
        let ours = MachineFacts(subject.recorded)
        guard !told.isPart(of: ours) else { return }
        verdict.differ(line.number, "the machine has", expected: told.text, got: ours.text)
    }

    private func comparePageFaultReturn(_ result: Int, _ line: TraceLine) {
        if let ours = guest.tasks[line.task]?.mapResult {
            verdict.compare(line.number, "the fault returns", result, ours, FaultResult.text)
        }
        guest.tasks[line.task]?.mapResult = nil
    }

    private func compare(_ check: MMIOCheck, _ line: TraceLine) throws(BadInput) {
        let machine = try subject.require(line)
        let spte = try guest.faultingEntry(line)?.spte ?? 0
        let addressSpace = guest.tasks[line.task]?.vcpu.map { machine.addressSpace(vcpu: $0) } ?? 0
        let kvmGeneration = machine.mmioGeneration(addressSpace: addressSpace)
        let generation = machine.generation(ofMMIO: spte)
        let ours = MMIOCheck(
            spte: spte, kvmGeneration: kvmGeneration, spteGeneration: generation,
            valid: generation == kvmGeneration)
        verdict.compare(line.number, "check_mmio_spte", check, ours) {
            "spte \(hex($0.spte)) kvm_gen \(hex($0.kvmGeneration)) "
                + "spte-gen \(hex($0.spteGeneration)) valid \($0.valid ? 1 : 0)"
        }
    }

    private func compareMMIO(_ gfn: UInt64, _ line: TraceLine) throws(BadInput) {
        let machine = try subject.require(line)
        let spte = try guest.faultingEntry(line)?.spte
        verdict.compare(line.number, "handle_mmio_page_fault finds MMIO at gfn", gfn,
                        spte.flatMap { machine.mmioGFN($0) } ?? 0, hex)
    }
}
