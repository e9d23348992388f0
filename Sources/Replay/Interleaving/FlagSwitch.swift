// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Dirty logging is switched while vCPUs run: KVM_SET_USER_MEMORY_REGION makes the new flags
/// seen, waits until no fault goes by the old ones, and only then splits, write-protects or
/// collapses.  No line tells when the flags are seen, but the faults do: one maps huge, or
/// not, by the flags that it saw.
struct FlagSwitch {
    let turns: Turns
    let guest: GuestSide
    let host: HostSide
    let logs: DirtyLogs

    /// Faults in the slot up to a line, by the flags that they went by.
    func faultsByFlags(
        ahead index: Int, before firstPart: Int, _ step: MemslotStep, _ machine: Machine
    ) -> (old: [Int], new: [Int]) {
        var faults: (old: [Int], new: [Int]) = ([], [])
        // Line from which on a fault that begins must see the new flags, as one has before.
        var newSince = Int.max
        for candidate in index + 1..<turns.schedule.items.count where turns.schedule.positions[candidate] < firstPart {
            guard turns.isAhead(candidate) else { continue }
            noteFastFix(turns.schedule.items[candidate])
            guard case .operation(let fault) = turns.schedule.items[candidate],
                let call = fault.mapCall(turns.trace), isInside(call, step, machine)
            else { continue }
            let begin = beginOfFault(fault), isBefore = begin < turns.schedule.items[index].firstLine
            let sawNew = begin > newSince ? true : sawLogging(fault, call, machine).map { $0 == isSwitchingOn(index) }
            // A small page may have other reasons than the log.
            if !isMappedHuge(fault), call.mapWritable { logs.uncertain.insert(call.gfn) }
            if sawNew == true, isMappedHuge(fault) { newSince = min(newSince, fault.end) }
            if sawNew == true { faults.new.append(candidate) }
            if !(sawNew ?? !isBefore) { faults.old.append(candidate) }
        }
        return faults
    }

    /// Then the slot was not logged, for certain.
    private func isMappedHuge(_ operation: Operation) -> Bool {
        operation.details.contains {
            if case .spteRequested(_, _, let level) = turns.trace.lines[$0].event { level > 1 } else { false }
        }
    }

    /// A page made writable without mmu_lock: nothing tells whether the slot was logged then.
    private func noteFastFix(_ item: Item) {
        let lines = switch item {
        case .event(let index): [index]
        case .operation(let operation): operation.details
        }
        for index in lines {
            if case .fastPageFault(let fault) = turns.trace.lines[index].event, fault.fixed {
                logs.uncertain.insert(fault.gpa >> Paging.pageShift)
            }
        }
    }

    func isSwitchingOn(_ index: Int) -> Bool { turns.flagsStep(index)?.operation == "dirty_log_on" }

    private func isInside(_ call: MapCall, _ step: MemslotStep, _ machine: Machine) -> Bool {
        let base = step.gpa >> Paging.pageShift
        guard let vcpu = guest.vcpuOfPointer[call.vcpuPointer], machine.addressSpace(vcpu: vcpu) == step.addressSpace
        else { return false }
        return call.gfn >= base && call.gfn - base < step.pages
    }

    /// Line of the fault that a call belongs to.
    private func beginOfFault(_ operation: Operation) -> Int {
        let task = turns.trace.lines[operation.begin].task
        for index in stride(from: operation.begin, to: max(-1, operation.begin - 1000), by: -1)
        where turns.trace.lines[index].task == task {
            if case .pageFault = turns.trace.lines[index].event { return index }
        }
        return operation.begin
    }

    /// Did the fault see that the slot is logged?  nil: it would have mapped alike.
    private func sawLogging(_ operation: Operation, _ call: MapCall, _ machine: Machine) -> Bool? {
        guard !(call.execute && call.noHugeFetch), let vcpu = guest.vcpuOfPointer[call.vcpuPointer],
            let hva = machine.hva(vcpu: vcpu, gfn: call.gfn)
        else { return nil }
        for index in operation.details {
            guard case .spteRequested(_, _, let level) = turns.trace.lines[index].event else { continue }
            if level > 1 { return false }
            return host.memory.level(of: hva, at: turns.trace.lines[index].number) > 1 && machine.fitsHuge(vcpu: vcpu, gfn: call.gfn)
                ? true : nil
        }
        return nil
    }
}
