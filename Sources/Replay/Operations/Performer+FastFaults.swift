// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Faults that are fixed without mmu_lock.
extension Performer {
    func fastPageFault(_ fault: FastPageFault, _ line: TraceLine) throws(BadInput) {
        let machine = try subject.require(line)
        if let known = guest.tasks[line.task]?.fault {
            verdict.compare(line.number, "fast_page_fault has gva", fault.gpa, known.address, hex)
            verdict.compare(line.number, "fast_page_fault has error_code", fault.errorCode, known.errorCode, hex)
        }
        // What it could not fix, it may have seen in a moment that is not ours.
        if place.isParallel, !fault.fixed, !fault.spurious { return }
        let before = entry(fault, machine)
        let result = machine.fastPageFault(vcpu: fault.vcpu, gpa: fault.gpa, errorCode: fault.errorCode)
        if result == FaultResult.fixed || result == FaultResult.spurious { guest.tasks[line.task]?.mapResult = result }
        for change in machine.takeChanges() {
            verdict.differ(line.number, "fast_page_fault", expected: "no traced SPTE change", got: change.text)
        }
        // Another fault was faster here, or there.
        if place.isParallel, before?.spte != fault.old { return }
        verdict.compare(line.number, "fast_page_fault returns", fault.result, result, FaultResult.text)
        compare(fault, line, before, machine)
    }

    /// What it found, and what it left.
    func compare(_ fault: FastPageFault, _ line: TraceLine, _ before: TableEntry?, _ machine: Machine) {
        if place.isParallel { return }
        verdict.compare(line.number, "fast_page_fault finds", fault.old, before?.spte ?? 0, hex)
        // If it could not fix it, another fault did: that is another line's matter.
        if fault.fixed || fault.spurious {
            verdict.compare(line.number, "fast_page_fault leaves", fault.new, entry(fault, machine)?.spte ?? 0, hex)
        } else {
            verdict.compare(line.number, "fast_page_fault leaves", fault.new, before?.spte ?? 0, hex)
        }
        guard let before, let address = verdict.physical(fault.address), !verdict.isSameAddress(address, before) else { return }
        verdict.differ(line.number, "fast_page_fault is at", expected: hex(address), got: verdict.text(before))
    }

    private func entry(_ fault: FastPageFault, _ machine: Machine) -> TableEntry? {
        machine.entry(vcpu: fault.vcpu, gfn: fault.gpa >> Paging.pageShift)
    }
}

extension FastPageFault {
    fileprivate var result: Int {
        fixed ? FaultResult.fixed : spurious ? FaultResult.spurious : FaultResult.invalid
    }
}
