// SPDX-License-Identifier: GPL-2.0-only

/// Dirty logging is switched while vCPUs run: KVM_SET_USER_MEMORY_REGION makes the new flags
/// seen, waits until nobody goes by the old ones, and only then splits, write-protects or
/// collapses.  No line tells when the flags are seen, but the faults do: one maps huge, or
/// not, by the flags that it saw.
extension Replayer {
    /// The step, if an item switches a slot's logging among other tasks.
    func flagsStep(_ index: Int) -> MemslotStep? {
        guard isParallel, case .operation(let operation) = schedule.items[index],
            case .step(.memslot(let step)) = trace.lines[operation.begin].event,
            step.operation == "dirty_log_on" || step.operation == "dirty_log_off"
        else { return nil }
        return step
    }

    /// Performs the step with what happened before and in the middle of it.
    func switchLogging(_ operation: Operation, _ step: MemslotStep, _ machine: Machine) throws(BadInput) -> Int {
        let index = currentItem, line = trace.lines[operation.begin].number
        let firstPart = operation.details.first { OperationGrammar.kindOfCall(trace.lines[$0].event) != nil }
            ?? operation.end
        try performOldFaults(ahead: index, before: firstPart, step, machine)
        var problem: BadInput?
        let result = machine.setMemoryRegion(step) { [self] in
            do throws(BadInput) { try performMeanwhile(index, before: firstPart) } catch { problem = error }
            currentLine = trace.lines[firstPart].number
        }
        if let problem { throw problem }
        currentLine = line
        return result
    }

    /// Faults that went by the old flags end before the step goes on.
    private func performOldFaults(
        ahead index: Int, before firstPart: Int, _ step: MemslotStep, _ machine: Machine
    ) throws(BadInput) {
        for candidate in index + 1..<schedule.items.count where schedule.positions[candidate] < firstPart {
            guard !performed.contains(candidate) else { continue }
            noteFastFix(schedule.items[candidate])
            guard case .operation(let fault) = schedule.items[candidate],
                let call = mapCall(in: fault), isInside(call, step, machine)
            else { continue }
            let isBefore = beginOfFault(fault) < schedule.items[index].firstLine
            let sawNew = sawLogging(fault, call, machine).map { $0 == isSwitchingOn(index) }
            if sawNew == nil, call.mapWritable { uncertain.insert(call.gfn) }
            if !(sawNew ?? !isBefore) { try perform(upTo: candidate, from: index) }
        }
    }

    /// A page made writable without mmu_lock: nothing tells whether the slot was logged then.
    private func noteFastFix(_ item: Schedule.Item) {
        let lines = switch item {
        case .event(let index): [index]
        case .operation(let operation): operation.details
        }
        for index in lines {
            if case .fastPageFault(let fault) = trace.lines[index].event, fault.fixed {
                uncertain.insert(fault.gpa >> Paging.pageShift)
            }
        }
    }

    /// What happened between the new flags and the first part, or what the parts found.
    private func performMeanwhile(_ index: Int, before firstPart: Int) throws(BadInput) {
        for item in index + 1..<schedule.items.count where schedule.positions[item] < firstPart {
            guard !performed.contains(item) else { continue }
            try bringForward(before: item)
            try perform(item: item)
        }
        try bringForward(what: index, depth: 0)
    }

    /// A look at the bitmap has no line of its own: what is written meanwhile may be in it.
    /// Where it protects what it finds, mmu_lock keeps out all but fixes without that.
    func noteFaults(during operation: Operation) {
        for index in operation.begin..<operation.end {
            if case .map(let call) = trace.lines[index].event, dirtyLogMode.isManual { uncertain.insert(call.gfn) }
            if case .fastPageFault(let fault) = trace.lines[index].event { uncertain.insert(fault.gpa >> Paging.pageShift) }
        }
    }

    private func isSwitchingOn(_ index: Int) -> Bool { flagsStep(index)?.operation == "dirty_log_on" }

    private func mapCall(in operation: Operation) -> MapCall? {
        for index in [operation.begin] + operation.details {
            if case .map(let call) = trace.lines[index].event { return call }
        }
        return nil
    }

    private func isInside(_ call: MapCall, _ step: MemslotStep, _ machine: Machine) -> Bool {
        let base = step.gpa >> Paging.pageShift
        guard let vcpu = vcpuOfPointer[call.vcpuPointer], machine.addressSpace(vcpu: vcpu) == step.addressSpace
        else { return false }
        return call.gfn >= base && call.gfn - base < step.pages
    }

    /// Line of the fault that a call belongs to.
    private func beginOfFault(_ operation: Operation) -> Int {
        let task = trace.lines[operation.begin].task
        for index in stride(from: operation.begin, to: max(-1, operation.begin - 1000), by: -1)
        where trace.lines[index].task == task {
            if case .pageFault = trace.lines[index].event { return index }
        }
        return operation.begin
    }

    /// Did the fault see that the slot is logged?  nil: it would have mapped alike.
    private func sawLogging(_ operation: Operation, _ call: MapCall, _ machine: Machine) -> Bool? {
        guard !(call.execute && call.noHugeFetch), let vcpu = vcpuOfPointer[call.vcpuPointer],
            let hva = machine.hva(vcpu: vcpu, gfn: call.gfn)
        else { return nil }
        for index in operation.details {
            guard case .spteRequested(_, _, let level) = trace.lines[index].event else { continue }
            if level > 1 { return false }
            return host.level(of: hva, at: trace.lines[index].number) > 1 && machine.fitsHuge(vcpu: vcpu, gfn: call.gfn)
                ? true : nil
        }
        return nil
    }
}
