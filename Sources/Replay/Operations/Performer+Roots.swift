// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Roots and vCPUs.
extension Performer {
    /// alloc_root … load_pgd: the vCPU gets a root, a new one or one that is there.
    func loadRoot(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) throws(BadInput) {
        guard case .allocRoot(let pointer) = begin.event else { return }
        let vcpu = try guest.vcpu(pointer, begin)
        verdict.compare(begin.number, "kvm_mmu_load returns", 0, machine.loadRoot(vcpu: vcpu))
        compareChanges(operation)
        let last = trace.lines[operation.end]
        guard case .loadRoot(let loaded, let root, let level, _) = last.event else { return }
        verdict.compare(last.number, "load_pgd is for vCPU", pointer, loaded, hex)
        compareRoot(vcpu, root, level, isNew: allocates(operation), last)
    }

    private func allocates(_ operation: Operation) -> Bool {
        operation.details.contains {
            if case .tableAllocated(let table) = trace.lines[$0].event { table.isNew } else { false }
        }
    }

    func compareRoot(_ vcpu: Int, _ recorded: UInt64, _ level: Int, isNew: Bool, _ line: TraceLine) {
        guard let machine = subject.machine, let ours = machine.rootAddress(vcpu: vcpu) else {
            return verdict.differ(line.number, "vCPU \(vcpu) has root", expected: hex(recorded), got: "none")
        }
        verdict.compare(line.number, "the root's level is", level, machine.rootLevel)
        let isSame = isNew
            ? verdict.renaming.learn(recorded: recorded, ours: ours, isRoot: true)
            : verdict.renaming.agree(recorded: recorded, ours: ours)
        guard !isSame else { return }
        verdict.differ(line.number, "vCPU \(vcpu) has root",
                       expected: isNew ? "a new one" : hex(recorded),
                       got: verdict.renaming.recorded(of: ours).map { "the one at \(hex($0))" } ?? "a new one")
    }

    /// The root that a walk begins at: its role word, and where it is.
    func compareRoot(_ root: RecordedRoot, _ vcpu: Int, _ machine: Machine, _ line: TraceLine) {
        verdict.compare(line.number, "the root's role is", root.role, machine.role(vcpu: vcpu) ?? 0) {
            "0x" + String($0, radix: 16)
        }
        if let ours = machine.rootAddress(vcpu: vcpu) { verdict.compareAddress(ofRoot: root, ours: ours, line) }
    }
}
