// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The guest mode: faults, and what the host's memory manager does.
extension Performer {
    /// From kvm_page_fault to kvm_tdp_page_fault's return.
    func fault(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) throws(BadInput) {
        guard case .pageFault(let vcpu, let address, let errorCode) = begin.event else { return }
        try noteHostPages(operation, machine, vcpu)
        let last = trace.lines[operation.end]
        let fix = fastPath(operation)
        guard let expected = result(operation) else { return _ = compareChanges(operation) }
        if expected == FaultResult.retry, host.pages.isEmpty {
            // The host was busy with the page, or will wake the guest when it has it.
            guard host.isInvalidating(machine.hva(vcpu: vcpu, gfn: address >> Paging.pageShift)) else {
                return _ = compareChanges(operation)
            }
            host.pages[address >> Paging.pageShift] = HostPage(pfn: 0, isWritable: false, level: 1)
        }
        if place.isParallel, expected == FaultResult.retry, let call = operation.mapCall(trace), isLostRace(expected, call) {
            return _ = compareChanges(operation)
        }
        let before = machine.entry(vcpu: vcpu, gfn: address >> Paging.pageShift)
        let result = others?.isLocked == true ? fastFault(vcpu, address, errorCode, machine, task: begin.task)
            : machine.pageFault(vcpu: vcpu, gpa: address, errorCode: errorCode)
        verdict.compare(last.number, "the fault returns", expected, result, FaultResult.text)
        // While the table that it looked into is still known: the fault may have replaced it.
        if let fix { compare(fix.fault, fix.line, before, machine) }
        compareChanges(operation)
        guest.answered(vcpu: vcpu, gpa: address, result)
        if !place.isParallel { compareDetails(operation, vcpu, machine) }
    }

    /// With mmu_lock in the hands of one that stands, only what needs none.
    private func fastFault(_ vcpu: Int, _ address: UInt64, _ errorCode: UInt64, _ machine: Machine, task: Int) -> Int {
        let fix = { machine.fastPageFault(vcpu: vcpu, gpa: address, errorCode: errorCode) }
        return subject.recording.map { $0.fault(vcpu: vcpu, address, errorCode, task: task, fix) } ?? fix()
    }

    /// What the fault came to; nil: the guest was taken out of it.
    private func result(_ operation: Operation) -> Int? {
        switch trace.lines[operation.end].event {
        case .pageFaultReturn(let result): result
        case .mmioHandled: FaultResult.emulate
        default: nil
        }
    }

    /// A look at the entry without mmu_lock, which the kernel's fault began with.
    private func fastPath(_ operation: Operation) -> (fault: FastPageFault, line: TraceLine)? {
        for index in operation.details {
            if case .fastPageFault(let fault) = trace.lines[index].event { return (fault, trace.lines[index]) }
        }
        return nil
    }

    /// The host's pages are what the kernel's map calls were given.
    private func noteHostPages(_ operation: Operation, _ machine: Machine, _ vcpu: Int) throws(BadInput) {
        host.pages = [:]
        for index in operation.details {
            guard case .map(let call) = trace.lines[index].event else { continue }
            place.line = trace.lines[index].number
            compareArguments(call, trace.lines[index])
            let hva = machine.hva(vcpu: vcpu, gfn: call.gfn)
            if let hva { host.memory.touch(hva) }
            let level = host.isMappedAsTold
                ? requestedLevel(operation, call) : hva.map { host.level(of: $0) }
            host.pages[call.gfn] = HostPage(pfn: call.pfn, isWritable: call.mapWritable, level: level ?? 1)
        }
    }

    /// KVM_PRE_FAULT_MEMORY.
    func prefault(_ operation: Operation, _ vcpu: Int, _ gpa: UInt64, _ length: UInt64, _ machine: Machine) {
        do { try noteHostPages(operation, machine, vcpu) } catch { return }
        let (result, next) = machine.prefault(vcpu: vcpu, gpa: gpa, length: length)
        compareResult(operation, result)
        if case .done(let done) = trace.lines[operation.end].event, let left = done.leftAt {
            verdict.compare(trace.lines[operation.end].number, "prefault stops at", left, next, hex)
        }
        compareChanges(operation)
    }
}
