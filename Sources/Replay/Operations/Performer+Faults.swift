// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Faults.
extension Performer {
    func map(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) throws(BadInput) {
        guard case .map(let call) = begin.event else { return }
        let vcpu = try guest.vcpu(call.vcpuPointer, begin)
        guard let requested = requestedLevel(operation, call) else {
            throw trace.badInput(begin.number, "map without kvm_mmu_spte_requested")
        }
        compareArguments(call, begin)
        let expected = mapResult(operation)
        if isLostRace(expected, call) {
            guest.tasks[begin.task, default: GuestSide.RunningTask()].mapResult = expected
            compareChanges(operation)
            return
        }
        let result = machine.map(vcpu: vcpu, call, level: hostLevel(requested, call, vcpu, machine))
        guest.tasks[begin.task, default: GuestSide.RunningTask()].mapResult = result
        if let expected {
            verdict.compare(trace.lines[operation.end].number, "map returns", expected, result, FaultResult.text)
        }
        compareChanges(operation)
        if !place.isParallel { compareDetails(operation, vcpu, machine) }
    }

    private func mapResult(_ operation: Operation) -> Int? {
        if case .mapReturn(let result) = trace.lines[operation.end].event { result } else { nil }
    }

    /// Where execution through huge pages is forbidden, a fetch is mapped small, but
    /// what the host has there decides whether that is for this reason.
    private func hostLevel(_ requested: Int, _ call: MapCall, _ vcpu: Int, _ machine: Machine) -> Int {
        guard let hva = machine.hva(vcpu: vcpu, gfn: call.gfn) else { return requested }
        host.memory.touch(hva)
        guard call.execute, call.noHugeFetch, !host.isMappedAsTold else { return requested }
        return max(requested, host.level(of: hva))
    }

    func requestedLevel(_ operation: Operation, _ call: MapCall) -> Int? {
        for index in operation.details {
            guard case .spteRequested(let gfn, let pfn, let level) = trace.lines[index].event else { continue }
            verdict.compare(trace.lines[index].number, "kvm_mmu_spte_requested has gfn", gfn, call.gfn, hex)
            verdict.compare(trace.lines[index].number, "kvm_mmu_spte_requested has pfn", pfn, call.pfn, hex)
            return level
        }
        return nil
    }

    /// The recorder shows the fault's fields twice and more: they must agree, else
    /// an argument of the call may have been garbled.
    func compareArguments(_ call: MapCall, _ begin: TraceLine) {
        verdict.compare(begin.number, "map has gfn", call.gfn, call.address >> Paging.pageShift, hex)
        let bits: [(name: String, bit: UInt64, value: Bool)] = [
            ("write", PageFaultBits.write, call.write), ("exec", PageFaultBits.fetch, call.execute),
            ("present", PageFaultBits.present, call.present),
        ]
        for (name, bit, value) in bits {
            verdict.compare(begin.number, "map has \(name)", value, call.errorCode & bit != 0)
        }
        guard let fault = guest.tasks[begin.task]?.fault else { return comparePrefault(call, begin) }
        guard !call.prefetch else { return }
        verdict.compare(begin.number, "map has addr", call.address, fault.address, hex)
        verdict.compare(begin.number, "map has ec", call.errorCode, fault.errorCode, hex)
    }

    /// KVM_PRE_FAULT_MEMORY goes page by page, and its error code is always the same.
    private func comparePrefault(_ call: MapCall, _ begin: TraceLine) {
        verdict.compare(begin.number, "a prefault has ec", call.errorCode, PageFaultBits.guestFinal, hex)
        verdict.compare(begin.number, "a prefault has page offset", call.address & Paging.pageMask, 0, hex)
    }

    func compareDetails(_ operation: Operation, _ vcpu: Int, _ machine: Machine) {
        for index in operation.details {
            let line = trace.lines[index]
            switch line.event {
            case .spteSet(let gfn, let spte, let level, let address):
                let entry = machine.entry(vcpu: vcpu, gfn: gfn, downTo: level)
                compare(entry, gfn, level, spte, address, line)
            case .mmioMarked(let mark):
                let entry = machine.entry(vcpu: vcpu, gfn: mark.gfn)
                compareMMIO(entry, mark, machine, line)
            case .iteratorStart(let root, _, _): compareRoot(root, vcpu, machine, line)
            default: break
            }
        }
    }

    /// kvm_mmu_set_spte: the entry as the fault left it, and where it is.
    private func compare(_ entry: TableEntry?, _ gfn: UInt64, _ level: Int, _ spte: UInt64,
                         _ address: UInt64, _ line: TraceLine)
    {
        let isSame = entry.map {
            $0.level == level && $0.gfn == gfn && verdict.renaming.same(recorded: spte, ours: $0.spte, level: level)
                && verdict.isSameAddress(address, $0)
        }
        guard isSame != true else { return }
        verdict.differ(line.number, "kvm_mmu_set_spte",
                       expected: "gfn \(hex(gfn)) spte \(hex(spte)) level \(level) at \(hex(address))",
                       got: entry.map(verdict.text) ?? "no entry")
    }

    private func compareMMIO(_ entry: TableEntry?, _ mark: MMIOMark, _ machine: Machine, _ line: TraceLine) {
        let spte = entry?.spte ?? 0
        verdict.compare(line.number, "mark_mmio_spte has gfn", mark.gfn, machine.mmioGFN(spte) ?? 0, hex)
        verdict.compare(line.number, "mark_mmio_spte has access", mark.access, spte & 7, hex)
        verdict.compare(line.number, "mark_mmio_spte has gen", mark.generation, machine.generation(ofMMIO: spte), hex)
        guard let entry, let address = verdict.physical(mark.address), !verdict.isSameAddress(address, entry) else { return }
        verdict.differ(line.number, "mark_mmio_spte is at", expected: hex(address), got: verdict.text(entry))
    }
}
