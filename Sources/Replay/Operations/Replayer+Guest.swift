// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The guest mode: faults, and what the host's memory manager does.
extension Replayer {
    /// From kvm_page_fault to kvm_tdp_page_fault's return.
    func fault(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) throws(BadInput) {
        guard case .pageFault(let vcpu, let address, let errorCode) = begin.event else { return }
        try noteHostPages(operation, machine, vcpu)
        let last = trace.lines[operation.end]
        let fix = fastFault(operation)
        guard let expected = result(operation) else { return compareChangesOfNothing(operation) }
        if expected == FaultResult.retry, hostPages.isEmpty {
            // The host was busy with the page, or will wake the guest when it has it.
            guard isInvalidating(machine.hva(vcpu: vcpu, gfn: address >> Paging.pageShift)) else {
                return compareChangesOfNothing(operation)
            }
            hostPages[address >> Paging.pageShift] = HostPage(pfn: 0, isWritable: false, level: 1)
        }
        if isParallel, expected == FaultResult.retry, let call = mapCall(operation), isLostRace(expected, call, vcpu) {
            return compareChangesOfNothing(operation)
        }
        let before = machine.entry(vcpu: vcpu, gfn: address >> Paging.pageShift)
        let result = isLocked ? fastFault(vcpu, address, errorCode, machine, task: begin.task)
            : machine.pageFault(vcpu: vcpu, gpa: address, errorCode: errorCode)
        compare(last.number, "the fault returns", expected, result, returnText)
        compareChanges(operation)
        answered(vcpu: vcpu, gpa: address, result)
        if let fix { compare(fix.fault, fix.line, before, machine) }
        if !isParallel { compareDetails(operation, vcpu, machine) }
    }

    /// With mmu_lock in the hands of one that stands, only what needs none.
    private func fastFault(_ vcpu: Int, _ address: UInt64, _ errorCode: UInt64, _ machine: Machine, task: Int) -> Int {
        let fix = { machine.fastPageFault(vcpu: vcpu, gpa: address, errorCode: errorCode) }
        return recording.map { $0.fault(vcpu: vcpu, address, errorCode, task: task, fix) } ?? fix()
    }

    private func compareChangesOfNothing(_ operation: Operation) {
        compareChanges(operation)
    }

    /// What the fault came to; nil: the guest was taken out of it.
    private func result(_ operation: Operation) -> Int? {
        switch trace.lines[operation.end].event {
        case .pageFaultReturn(let result): result
        case .mmioHandled: FaultResult.emulate
        default: nil
        }
    }

    private func mapCall(_ operation: Operation) -> MapCall? {
        for index in operation.details {
            if case .map(let call) = trace.lines[index].event { return call }
        }
        return nil
    }

    private func fastFault(_ operation: Operation) -> (fault: FastPageFault, line: TraceLine)? {
        for index in operation.details {
            if case .fastPageFault(let fault) = trace.lines[index].event { return (fault, trace.lines[index]) }
        }
        return nil
    }

    /// The host's pages are what the kernel's map calls were given.
    private func noteHostPages(_ operation: Operation, _ machine: Machine, _ vcpu: Int) throws(BadInput) {
        hostPages = [:]
        for index in operation.details {
            guard case .map(let call) = trace.lines[index].event else { continue }
            currentLine = trace.lines[index].number
            compareArguments(call, trace.lines[index])
            let hva = machine.hva(vcpu: vcpu, gfn: call.gfn)
            if let hva { host.touch(hva) }
            let level = mappedAsTold.contains(currentItem)
                ? requestedLevel(operation, call) : hva.map { host.level(of: $0, at: currentLine) }
            hostPages[call.gfn] = HostPage(pfn: call.pfn, isWritable: call.mapWritable, level: level ?? 1)
        }
    }

    /// KVM_PRE_FAULT_MEMORY.
    func prefault(_ operation: Operation, _ vcpu: Int, _ gpa: UInt64, _ length: UInt64, _ machine: Machine) {
        do { try noteHostPages(operation, machine, vcpu) } catch { return }
        let (result, next) = machine.prefault(vcpu: vcpu, gpa: gpa, length: length)
        compareResult(operation, result)
        if case .done(let done) = trace.lines[operation.end].event, let left = done.leftAt {
            compare(trace.lines[operation.end].number, "prefault stops at", left, next, hex)
        }
        compareChanges(operation)
    }
}

/// The memory notifier.
extension Replayer {
    func notify(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) {
        let results = flags(operation)
        switch begin.event {
        case .hostUnmapped(let start, let end):
            // The kernel tells the end only where a slot was concerned.
            if start < end, machine.isGuestMemory(hostStart: start, hostEnd: end) {
                invalidations[begin.task, default: []].append(start..<end)
                machine.invalidate(hostStart: start, hostEnd: end)
            }
        case .hostAged(let start, let end):
            compare(begin.number, "aging returns", results.contains(true), machine.age(hostStart: start, hostEnd: end))
        case .hostTestAged(let start, _):
            compare(begin.number, "the look for use returns", results.contains(true),
                    machine.testAge(hostStart: start))
        default: break
        }
        compareChanges(operation)
    }

    /// What the calls for each slot returned.
    private func flags(_ operation: Operation) -> [Bool] {
        operation.details.compactMap { index in
            switch trace.lines[index].event {
            case .ageReturn(let flag), .testAgeReturn(let flag): flag
            default: nil
            }
        }
    }

    func endInvalidation(_ line: TraceLine) {
        guard let machine, let range = invalidations[line.task]?.popLast() else { return }
        machine.endInvalidation(hostStart: range.lowerBound, hostEnd: range.upperBound)
    }

    private func isInvalidating(_ hva: UInt64?) -> Bool {
        guard let hva else { return false }
        return invalidations.values.contains { $0.contains { $0.contains(hva) } }
    }
}

/// The recovery thread.
extension Replayer {
    /// When it takes a step, is for the host's clock to say; which tables it takes, is not.
    func recover(_ operation: Operation, _ gfn: UInt64, _ machine: Machine) {
        if recovered.isEmpty {
            _ = machine.recover(ratio: max(parameters.recoveryRatio, 1))
            recovered = machine.takeChanges()
        }
        let count = min(operation.changes.count, recovered.count)
        compareChanges(operation, with: Array(recovered[..<count]))
        recovered.removeFirst(count)
    }

    /// A step is over when something else happens.
    func compareRecovered(_ operation: Operation) {
        guard operation.kind != .zapTable else { return }
        for change in recovered {
            differ(trace.lines[operation.begin].number, "SPTE change in recovery",
                   expected: "no further change", got: change.text)
        }
        recovered = []
    }
}
