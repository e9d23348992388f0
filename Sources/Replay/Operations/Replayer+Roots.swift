// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Roots and vCPUs.
extension Replayer {
    /// The vCPU that a pointer of the kernel's stands for: the one the task runs,
    /// learned at first sight.
    func vcpu(_ pointer: UInt64, _ line: TraceLine) throws(BadInput) -> Int {
        let running = tasks[line.task]?.vcpu
        if let known = vcpuOfPointer[pointer] {
            compare(line.number, "the vCPU is", running ?? known, known)
            return known
        }
        guard let running, !vcpuOfPointer.values.contains(running),
            try requireMachine(line).hasVCPU(running)
        else { throw trace.badInput(line.number, "no vCPU is known by 0x\(hex(pointer))") }
        vcpuOfPointer[pointer] = running
        return running
    }

    /// alloc_root … load_pgd: the vCPU gets a root, a new one or one that is there.
    func loadRoot(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) throws(BadInput) {
        guard case .allocRoot(let pointer) = begin.event else { return }
        let vcpu = try vcpu(pointer, begin)
        compare(begin.number, "kvm_mmu_load returns", 0, machine.loadRoot(vcpu: vcpu))
        compareChanges(operation)
        let last = trace.lines[operation.end]
        guard case .loadRoot(let loaded, let root, let level) = last.event else { return }
        compare(last.number, "load_pgd is for vCPU", pointer, loaded, hex)
        compareRoot(vcpu, root, level, isNew: allocates(operation), last)
    }

    private func allocates(_ operation: Operation) -> Bool {
        operation.details.contains {
            if case .tableAllocated(_, _, isNew: true) = trace.lines[$0].event { true } else { false }
        }
    }

    func compareRoot(_ vcpu: Int, _ recorded: UInt64, _ level: Int, isNew: Bool, _ line: TraceLine) {
        guard let machine, let ours = machine.rootAddress(vcpu: vcpu) else {
            return differ(line.number, "vCPU \(vcpu) has root", expected: hex(recorded), got: "none")
        }
        compare(line.number, "the root's level is", level, machine.rootLevel)
        let isSame = isNew
            ? renaming.learn(recorded: recorded, ours: ours, isRoot: true)
            : renaming.agree(recorded: recorded, ours: ours)
        guard !isSame else { return }
        differ(line.number, "vCPU \(vcpu) has root",
               expected: isNew ? "a new one" : hex(recorded),
               got: renaming.recorded(of: ours).map { "the one at \(hex($0))" } ?? "a new one")
    }

    /// The root that a walk begins at: its role word, and where it is.
    func compareRoot(_ root: RecordedRoot, _ vcpu: Int, _ machine: Machine, _ line: TraceLine) {
        compare(line.number, "the root's role is", root.role, machine.role(vcpu: vcpu) ?? 0) {
            "0x" + String($0, radix: 16)
        }
        guard let ours = machine.rootAddress(vcpu: vcpu), let recorded = renaming.recorded(of: ours) else {
            return
        }
        if directMapOffset == nil {
            directMapOffset = root.table &- recorded
            compare(line.number, "the direct map is aligned to 1 GiB", 0, (root.table &- recorded) & 0x3fff_ffff, hex)
        }
        compare(line.number, "the walk's root is", physical(root.table) ?? 0, recorded, hex)
    }

    /// Physical address of a table or entry that the trace names by the kernel's
    /// direct map.
    func physical(_ address: UInt64) -> UInt64? {
        directMapOffset.map { address &- $0 }
    }
}
