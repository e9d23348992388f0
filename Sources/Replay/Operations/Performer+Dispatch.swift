// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Each kind of operation by its own.
extension Performer {
    func perform(_ operation: Operation) throws(BadInput) {
        let begin = trace.lines[operation.begin]
        place.line = begin.number
        if isBeforeVM(begin) { return }
        let machine = try subject.require(begin)
        guest.applyEvidence(of: operation, machine)
        verdict.report.calls += 1
        verdict.report.changes += operation.changes.count
        if operation.kind.isStep {
            try performStep(operation, begin, machine)
        } else {
            try call(operation, begin, machine)
        }
        compareSplits(operation)
        compareRecovered(operation)
        if operation.kind == .uninit { machine.destroy() }
        let end = trace.lines[operation.end]
        verdict.report(machine.takeWarnings(), end.number, refused: end.event.isRefusal)
        if operation.kind == .uninit { subject.machine = nil }
    }

    private func call(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) throws(BadInput) {
        switch operation.kind {
        case .map: try map(operation, begin, machine)
        case .unmap: unmap(operation, begin, machine)
        case .zapLeafs: zapLeafs(operation, begin, machine)
        case .loadRoot: try loadRoot(operation, begin, machine)
        case .age, .testAge: age(operation, begin, machine)
        case .zapTable: zapTable(operation, begin, machine)
        case .fault: try fault(operation, begin, machine)
        case .hostUnmap, .hostAge, .hostTestAge: notify(operation, begin, machine)
        case .zapAll, .zapAllFast, .uninit: zapAll(operation, machine)
        default: callOnSlot(operation, begin, machine)
        }
    }
}

extension TraceEvent {
    /// The return of a call that the kernel refused.
    fileprivate var isRefusal: Bool {
        switch self {
        case .done(let done): done.result < 0
        case .mapReturn(let result): result < 0
        default: false
        }
    }
}
