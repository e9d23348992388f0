// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Zapping.
extension Performer {
    func unmap(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) {
        guard case .unmap(let start, let end, let flush) = begin.event else { return }
        compareRanges(operation, start, end)
        let result = machine.unmap(addressSpace(operation, holding: start), start: start, end: end, flush: flush)
        guard let result else {
            return verdict.differ(begin.number, "unmap_gfn_range", expected: "a slot at gfn \(hex(start))", got: "none")
        }
        if case .unmapReturn(let expected) = trace.lines[operation.end].event {
            verdict.compare(trace.lines[operation.end].number, "unmap_gfn_range returns", expected, result)
        }
        compareLastRoot(operation, result)
        compareChanges(operation)
    }

    func zapLeafs(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) {
        guard case .zapLeafs(let start, let end, let flush) = begin.event else { return }
        compareRanges(operation, start, end)
        compareLastRoot(operation, machine.zapLeafs(start: start, end: end, flush: flush))
        compareChanges(operation)
    }

    /// The recorder shows the range again for each root: an argument that was
    /// garbled does not agree.
    func compareRanges(_ operation: Operation, _ start: UInt64, _ end: UInt64) {
        for index in operation.details {
            guard case .zapLeafsOfRoot(_, let first, let stop) = trace.lines[index].event else { continue }
            verdict.compare(trace.lines[index].number, "zap_leafs has start", first, start, hex)
            verdict.compare(trace.lines[index].number, "zap_leafs has end", stop, end, hex)
        }
    }

    /// What the zap of the last root returned is what the call returns.
    private func compareLastRoot(_ operation: Operation, _ result: Bool) {
        for index in operation.details.reversed() {
            guard case .zapLeafsOfRootReturn(let expected) = trace.lines[index].event else { continue }
            return verdict.compare(trace.lines[index].number, "zap_leafs returns", expected, result)
        }
    }

    /// The slot's address space: that of the roots that were visited.
    func addressSpace(_ operation: Operation, holding gfn: UInt64) -> Int {
        for index in operation.details + operation.changes {
            switch trace.lines[index].event {
            case .zapLeafsOfRoot(let root, _, _), .iteratorStart(let root, _, _): return Int(root.role >> 24)
            case .spteChanged(let change): return change.addressSpace
            default: continue
            }
        }
        // It has visited none: any will do.
        return subject.machine?.slots.first { $0.first <= gfn && gfn - $0.first < $0.pages }?.addressSpace ?? 0
    }

    func zapAll(_ operation: Operation, _ machine: Machine) {
        switch operation.kind {
        case .zapAll: machine.zapAll()
        case .zapAllFast: machine.zapAllFast()
        default:
            verdict.renaming.forgetRoots()
            machine.uninit()
        }
        compareChanges(operation)
        if operation.kind == .zapAllFast { verdict.renaming.forgetRoots() }
    }
}
