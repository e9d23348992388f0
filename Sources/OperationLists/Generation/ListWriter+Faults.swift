// SPDX-License-Identifier: GPL-2.0-only

/// What vCPUs and the hardware do.
extension ListWriter {
    mutating func write(_ step: Step) {
        let slot = slotIndex()
        switch step {
        case .fault: writeFaults(slot)
        case .mmio:
            add(.fault, vcpu(of: slot), layout.hole(&random), access(["r", "w"]), 3)
        case .map: writeMap(slot)
        case .hardware:
            for _ in 0..<random.element([1, 8]) {
                add(.hw, vcpu(of: slot), layout.gfn(slot, &random), access(["r", "w", "x"]))
            }
        case .fastFault: add(.fastpf, vcpu(of: slot), layout.gfn(slot, &random), access(["wp", "rp", "xp", "w", "r"]))
        // docs/KERNELS.md: where the ring has only its reserve left, the kernel's goes on.
        case .prefault where setup.ringBytes > 0: break
        case .prefault:
            add(.prefault, vcpu(of: slot), layout.gfn(slot, &random), random.element([1, 4, 512, 700]))
            hasStaleRoots = hasStaleRoots && allVCPUs.count > 1
        default: writeOther(step, slot)
        }
    }

    mutating func access(_ words: [Substring]) -> UInt64 { Access.errorCode(random.element(words)) ?? 0 }

    private mutating func writeFaults(_ index: Int) {
        let count: UInt64 = random.element([1, 1, 4, 16, 64]), first = layout.gfn(index, &random)
        let vcpu = vcpu(of: index)
        for offset in 0..<count {
            let gfn = min(first + offset, layout.slots[index].end - 1)
            add(.fault, vcpu, gfn, access(["r", "w", "w", "x", "wp"]), random.element([1, 1, 2, 3]))
        }
    }

    /// The map alone, with what a fault's beginning would have told it.
    private mutating func writeMap(_ index: Int) {
        let slot = layout.slots[index], gfn = layout.gfn(index, &random)
        let isWritable: UInt64 = random.isTrue(percent: 85) ? 1 : 0, isPrefetch: UInt64 = random.isTrue(percent: 12) ? 1 : 0
        add(.mapcall, vcpu(of: index), gfn, access(["r", "w", "x"]), isWritable, random.below(3) + 1, slot.pfn + gfn - slot.first,
            isPrefetch)
    }
}
