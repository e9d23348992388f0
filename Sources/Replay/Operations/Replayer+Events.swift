// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Lines between operations: what userspace and the guest did.
extension Replayer {
    func take(_ line: TraceLine) throws(BadInput) {
        switch line.event {
        case .step(let step): try take(step, line)
        case .done(let done): take(done, line)
        case .pageFault(let vcpu, let address, let errorCode):
            tasks[line.task, default: TaskState()].vcpu = vcpu
            tasks[line.task]?.fault = (address, errorCode)
            apply(guest.fault(vcpu: vcpu, gpa: address), vcpu: vcpu)
        case .mmioExit(let vcpu, let gpa): apply(guest.fault(vcpu: vcpu, gpa: gpa), vcpu: vcpu)
        case .pageFaultReturn(let result):
            comparePageFaultReturn(result, line)
            if let task = tasks[line.task], let vcpu = task.vcpu, let fault = task.fault {
                answered(vcpu: vcpu, gpa: fault.address, result)
            }
        case .mmioChecked(let check): try compare(check, line)
        case .mmioHandled(let gfn): try compareMMIO(gfn, line)
        case .fastPageFault(let fault): try fastPageFault(fault, line)
        case .invalidateEnd: endInvalidation(line)
        case .pages(let list): compare(list, line)
        case .ringEntries(let vcpu, let entries): try harvest(vcpu: vcpu, entries, line)
        case .loadRoot(let pointer, let root, let level):
            let vcpu = try vcpu(pointer, line)
            compareRoot(vcpu, root, level, isNew: false, line)
        case .smmTransition(let vcpu, let entering):
            // What it did in SMM, while it still has that address space's root.
            if !entering { apply(guest.end(vcpu: vcpu, succeeded: true), vcpu: vcpu) }
            let result = try requireMachine(line).setAddressSpace(vcpu: vcpu, entering ? 1 : 0)
            compare(line.number, "the switch of address space returns", 0, result)
        default: break
        }
        reportWarnings(line.number)
    }

    private func take(_ step: Step, _ line: TraceLine) throws(BadInput) {
        switch step {
        case .createVM(_, let longMode): try createVM(longMode, line)
        case .createVCPU(let id):
            guard try requireMachine(line).createVCPU(id) else {
                throw trace.badInput(line.number, "vCPU \(id) cannot be created")
            }
        case .touch(let touch): try begin(.touch(touch), vcpu: touch.vcpu, line)
        case .batch(let vcpu, let accesses): try begin(.batch(accesses), vcpu: vcpu, line)
        case .kick(let vcpu): try begin(.halt, vcpu: vcpu, line)
        case .smiTouch(let vcpu, let access): try begin(.smi(access), vcpu: vcpu, line)
        case .prefault(let vcpu, _, _): tasks[line.task] = TaskState(vcpu: vcpu)
        case .enableCapability(let name, let argument): try enableCapability(name, argument, line)
        case .hostMap(let map):
            tasks[line.task, default: TaskState()].hostMap = map
            host.map(map)
        case .hostChange(let change): tasks[line.task, default: TaskState()].hostChange = change
        case .dump(let id, let root, let level): try compareDump(id, root, level, line)
        case .parallel: isParallel = true
        case .memslot, .parameter, .getDirtyLog, .clearDirtyLog, .resetDirtyRings, .other: break
        }
    }

    private func take(_ done: Done, _ line: TraceLine) {
        switch done.operation {
        case "touch", "batch", "kick", "smi_touch":
            guard let vcpu = tasks[line.task]?.vcpu else { return }
            apply(guest.end(vcpu: vcpu, succeeded: done.result == 0), vcpu: vcpu)
        case "enable_cap": compareCapability(done, line)
        case "host_map":
            guard let map = tasks[line.task]?.hostMap, let size = done.hugeKilobytes else { return }
            host.mapped(map, hugeKilobytes: size)
        case _ where OperationTable.hostSteps.contains(done.operation):
            guard done.result == 0, let change = tasks[line.task]?.hostChange else { return }
            host.change(change)
        case "parallel_begin":
            isParallel = false
            endParallel(line)
        case "dump": compareDumpCount(done, line)
        case "vm_create", "vcpu_create":
            compare(line.number, "\(done.operation) returns", done.result, 0)
        default: break
        }
    }

    private func begin(_ program: GuestRun.Program, vcpu: Int, _ line: TraceLine) throws(BadInput) {
        guard try requireMachine(line).hasVCPU(vcpu) else {
            throw trace.badInput(line.number, "there is no vCPU \(vcpu)")
        }
        tasks[line.task] = TaskState(vcpu: vcpu)
        guest.begin(vcpu: vcpu, task: line.task, program)
    }

    /// With other tasks at work, it may be long until the vCPU tells that it has gone on.
    func answered(vcpu: Int, gpa: UInt64, _ result: Int) {
        guard isParallel, result == FaultResult.fixed || result == FaultResult.spurious else { return }
        guest.answer(vcpu: vcpu, gpa: gpa)
    }

    /// The guest made these accesses; the CPU's page walker set its bits.
    func apply(_ accesses: [GuestAccess], vcpu: Int) {
        guard let machine else { return }
        for access in accesses where machine.access(vcpu: vcpu, access) { report.guestBits += 1 }
    }
}

/// The VM, made as the trace says.
extension Replayer {
    private func createVM(_ longMode: Bool, _ line: TraceLine) throws(BadInput) {
        guard machine == nil, report.calls == 0 else {
            throw trace.badInput(line.number, "a second VM in one trace")
        }
        // In the calls mode the library is never to ask.
        let created = Machine(rootLevel: rootLevel, physicalAddressBits: physicalAddressBits, parameters: parameters) {
            [unowned self] hva in host.level(of: hva, at: currentLine)
        } hostPage: {
            [unowned self] gfn in hostPages[gfn] ?? .fault
        }
        guard let machine = created else {
            throw trace.badInput(
                line.number, "no VM with \(rootLevel) levels and \(physicalAddressBits) address bits")
        }
        if recording != nil { machine.record() }
        machine.interleave { [unowned self] in yields(at: $0) } free: { [unowned self] in comeInBetween() }
            changed: { [unowned self] in hasChanged() }
        self.machine = machine
        guest.longMode = longMode
    }

    /// The level of the first root that is loaded.
    private var rootLevel: Int {
        for line in trace.lines {
            if case .loadRoot(_, _, let level) = line.event { return level }
        }
        return 4
    }

    /// MAXPHYADDR as the recorder read it, else that of the recorded machine's model.
    private var physicalAddressBits: Int {
        for line in trace.lines {
            if case .guestCPUID(let eax) = line.event { return Int(eax & 0xff) }
        }
        return 40
    }
}

/// Looks at our tables that the trace lets us make between operations.
extension Replayer {
    private func comparePageFaultReturn(_ result: Int, _ line: TraceLine) {
        if let ours = tasks[line.task]?.mapResult {
            compare(line.number, "the fault returns", result, ours, returnText)
        }
        tasks[line.task]?.mapResult = nil
    }

    /// Our entry where the task's last fault was.
    private func faultingEntry(_ line: TraceLine) throws(BadInput) -> TableEntry? {
        let machine = try requireMachine(line)
        guard let task = tasks[line.task], let vcpu = task.vcpu, let fault = task.fault else { return nil }
        return machine.entry(vcpu: vcpu, gfn: fault.address >> Paging.pageShift)
    }

    private func compare(_ check: MMIOCheck, _ line: TraceLine) throws(BadInput) {
        let machine = try requireMachine(line)
        let spte = try faultingEntry(line)?.spte ?? 0
        let addressSpace = tasks[line.task]?.vcpu.map { machine.addressSpace(vcpu: $0) } ?? 0
        let kvmGeneration = machine.mmioGeneration(addressSpace: addressSpace)
        let generation = machine.generation(ofMMIO: spte)
        let ours = MMIOCheck(
            spte: spte, kvmGeneration: kvmGeneration, spteGeneration: generation,
            valid: generation == kvmGeneration)
        compare(line.number, "check_mmio_spte", check, ours) {
            "spte \(hex($0.spte)) kvm_gen \(hex($0.kvmGeneration)) "
                + "spte-gen \(hex($0.spteGeneration)) valid \($0.valid ? 1 : 0)"
        }
    }

    private func compareMMIO(_ gfn: UInt64, _ line: TraceLine) throws(BadInput) {
        let machine = try requireMachine(line)
        let spte = try faultingEntry(line)?.spte
        compare(line.number, "handle_mmio_page_fault finds MMIO at gfn", gfn,
                spte.flatMap { machine.mmioGFN($0) } ?? 0, hex)
    }
}

/// "5 (RET_PF_FIXED)", "-14".
func returnText(_ result: Int) -> String {
    let names = ["CONTINUE", "RETRY", "EMULATE", "WRITE_PROTECTED", "INVALID", "FIXED", "SPURIOUS"]
    return names.indices.contains(result) ? "\(result) (RET_PF_\(names[result]))" : "\(result)"
}
