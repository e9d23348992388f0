// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

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
        let faults = faultsByFlags(ahead: index, before: firstPart, step, machine)
        // The flags change behind the old ones, as far as none of the new ones is before.
        let firstNew = faults.new.first.map { schedule.positions[$0] } ?? .max
        if let last = faults.old.last(where: { schedule.positions[$0] < firstNew }) {
            stand(before: schedule.positions[last] + 1)
        }
        for fault in faults.old where isAhead(fault) {
            // One that found the log on before it went off maps small, whenever it does so.
            if isSwitchingOn(index) { try perform(upTo: fault) } else { mappedAsTold.insert(fault) }
        }
        let result = machine.setMemoryRegion(step)
        currentLine = line
        return result
    }

    /// Faults in the slot up to a line, by the flags that they went by.
    private func faultsByFlags(
        ahead index: Int, before firstPart: Int, _ step: MemslotStep, _ machine: Machine
    ) -> (old: [Int], new: [Int]) {
        var faults: (old: [Int], new: [Int]) = ([], [])
        // Line from which on whoever begins must see the new flags, as somebody has before.
        var newSince = Int.max
        for candidate in index + 1..<schedule.items.count where schedule.positions[candidate] < firstPart {
            guard isAhead(candidate) else { continue }
            noteFastFix(schedule.items[candidate])
            guard case .operation(let fault) = schedule.items[candidate],
                let call = mapCall(in: fault), isInside(call, step, machine)
            else { continue }
            let begin = beginOfFault(fault), isBefore = begin < schedule.items[index].firstLine
            let sawNew = begin > newSince ? true : sawLogging(fault, call, machine).map { $0 == isSwitchingOn(index) }
            // A small page may have other reasons than the log.
            if !isMappedHuge(fault), call.mapWritable { uncertain.insert(call.gfn) }
            if sawNew == true, isMappedHuge(fault) { newSince = min(newSince, fault.end) }
            if sawNew == true { faults.new.append(candidate) }
            if !(sawNew ?? !isBefore) { faults.old.append(candidate) }
        }
        return faults
    }

    /// Then the slot was not logged, for certain.
    private func isMappedHuge(_ operation: Operation) -> Bool {
        operation.details.contains {
            if case .spteRequested(_, _, let level) = trace.lines[$0].event { level > 1 } else { false }
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

    /// A look at the bitmap has no line of its own: what is written meanwhile may be in it.
    /// Where it protects what it finds, mmu_lock keeps out all but fixes without that.
    func noteFaults(during operation: Operation) {
        if dirtyLogMode.isManual { noteMaps(during: operation) }
        for index in operation.begin..<operation.end {
            if case .fastPageFault(let fault) = trace.lines[index].event { uncertain.insert(fault.gpa >> Paging.pageShift) }
        }
    }

    /// Also those that were under way when it began.
    private func noteMaps(during operation: Operation) {
        var underWay: [Int: UInt64] = [:]
        for index in max(0, operation.begin - 200)..<operation.end {
            switch trace.lines[index].event {
            case .map(let call) where index < operation.begin: underWay[trace.lines[index].task] = call.gfn
            case .map(let call): uncertain.insert(call.gfn)
            case .mapReturn where index < operation.begin: underWay[trace.lines[index].task] = nil
            default: break
            }
        }
        uncertain.formUnion(underWay.values)
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
