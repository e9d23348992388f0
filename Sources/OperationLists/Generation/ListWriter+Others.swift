// SPDX-License-Identifier: GPL-2.0-only

/// What userspace, the host and the TDP MMU's own walks do.
extension ListWriter {
    mutating func writeOther(_ step: Step, _ index: Int) {
        let slot = layout.slots[index]
        switch step {
        case .zapLeafs:
            let range = walkedRange(index)
            add(.zapleafs, range.start, range.end)
        case .unmap:
            let range = walkedRange(index)
            add(.unmap, slot.id, range.start, range.end)
        case .zapTable: add(.zapsp, vcpu(of: index), layout.gfn(index, &random), random.element([1, 1, 2, 3]))
        case .zapAll:
            prepareMeanwhile()
            add(.zapall)
        case .writeProtect:
            prepareMeanwhile()
            add(.wrprot, slot.id, random.element([1, 1, 2]))
        case .writeProtectGFN: add(.wrprotgfn, slot.id, layout.gfn(index, &random), random.element([1, 1, 2]))
        case .clearDirty:
            prepareMeanwhile()
            add(.cleardirty, slot.id)
        case .clearDirtyMasked: writeClearDirtyMasked(index)
        case .age:
            let range = layout.range(index, &random)
            add(random.element([.age, .age, .testage]), slot.id, range.start, range.end)
        case .split:
            let range = walkedRange(index)
            add(.split, slot.id, range.start, range.end, random.element([1, 1, 2]), random.isTrue(percent: 70) ? 1 : 0)
        case .collapse:
            prepareMeanwhile()
            add(.collapse, slot.id)
        case .hostLevel: add(.hostlevel, slot.id, random.below(max(slot.pages / 512, 1)), random.below(3) + 1)
        case .switchLog, .harvest, .markDirty, .logMode, .fillLog, .exit: writeLog(step, index)
        default: writeRare(step, index)
        }
    }

    /// Of an operation that may give way.
    private mutating func walkedRange(_ index: Int) -> (start: UInt64, end: UInt64) {
        let range = layout.range(index, &random)
        prepareMeanwhile()
        return range
    }

    private mutating func writeClearDirtyMasked(_ index: Int) {
        let slot = layout.slots[index], gfn = max(layout.gfn(index, &random) & ~63, slot.first)
        var mask = random.element([random.next(), .max, 1 << random.below(64)])
        if slot.end - gfn < 64 { mask &= 1 << (slot.end - gfn) - 1 }
        add(.cleardirtymask, slot.id, gfn, max(mask, 1), random.below(2))
    }

    private mutating func writeLog(_ step: Step, _ index: Int) {
        let slot = layout.slots[index]
        switch step {
        case .switchLog: switchLog(index)
        case .fillLog: writeFillLog(index)
        case .exit: if setup.pageModificationLogging { add(.exit, vcpu(of: index)) }
        case .harvest: setup.ringBytes > 0 ? writeRingHarvest() : writeHarvest(index)
        case .markDirty: add(.markdirty, slot.space, layout.gfn(index, &random))
        default: add(.logmode, random.element([0, 1, 3]))
        }
    }

    private mutating func switchLog(_ index: Int) {
        settle()
        let slot = layout.slots[index]
        layout.setLogged(index, !slot.isLogged)
        add(.slotflags, slot.id, slot.isLogged ? 0 : 1)
    }

    /// So many pages become dirty by a CPU that its own log may overflow: pages that were huge before, if they are split early.
    private mutating func writeFillLog(_ index: Int) {
        guard setup.pageModificationLogging, !options.without.contains(.slotflags) else { return }
        if layout.slots[index].isLogged { switchLog(index) }
        let slot = layout.slots[index], vcpu = vcpu(of: index), gfn = layout.gfn(index, &random)
        let pages = min(random.element([64, 513, 700, 1100]), slot.end - gfn)
        for start in stride(from: gfn, to: gfn + pages, by: 512) { add(.fault, vcpu, start, access(["r"]), 2) }
        switchLog(index)
        if random.isTrue(percent: 30) { add(.cleardirty, slot.id) }
        add(.hw, vcpu, gfn, access(["w"]), pages)
        if random.isTrue(percent: 50) { add(.exit, vcpu) }
    }

    private mutating func writeRingHarvest() {
        for vcpu in allVCPUs where random.isTrue(percent: 80) {
            if setup.pageModificationLogging, random.isTrue(percent: 80) { add(.exit, vcpu) }
            add(.harvest, vcpu)
        }
        if random.isTrue(percent: 80) { add(.resetring) }
    }

    /// Of a part of the slot, mostly, at a multiple of 64 pages.
    private mutating func writeHarvest(_ index: Int) {
        let slot = layout.slots[index]
        if random.isTrue(percent: 60) { add(.dirty, slot.id) }
        guard random.isTrue(percent: 70) else { return }
        let first = random.isTrue(percent: 30) ? 0 : (layout.gfn(index, &random) - slot.first) & ~63
        let pages = random.isTrue(percent: 50) ? slot.pages - first : min(slot.pages - first, 64 * (1 + random.below(8)))
        add(.clearlog, slot.id, first, pages, random.element([.max, .max, random.next(), 1 << 63 | 1, 1 << random.below(64)]))
    }

    private mutating func writeRare(_ step: Step, _ index: Int) {
        switch step {
        case .invalidate: writeInvalidate()
        case .zapFast:
            settle()
            add(.zapfast)
            loadSomeOrAll()
        case .switchNX:
            settle()
            add(.nx, random.below(2))
            loadSomeOrAll()
        // docs/KERNELS.md: the kernel's recovery gives way between two tables.
        case .recover where !isYielding: add(.recover, random.element([1, 2, 3, 60]))
        case .recover: break
        case .switchEager: add(.eager, random.below(2))
        case .invalidation: writeInvalidation(index)
        case .hostAge: writeHostAge(index)
        case .moveSlot: moveSlot(index)
        case .replaceSlot: replaceSlot(index)
        case .changeSpace: changeSpace()
        default:
            let vcpu = random.element(allVCPUs)
            add(.unload, vcpu)
            if random.isTrue(percent: 70) { add(.load, vcpu) } else { hasStaleRoots = true }
        }
    }

    private mutating func writeInvalidate() {
        add(.invalidate)
        if random.isTrue(percent: 60) {
            prepareMeanwhile()
            add(.zapinvalid)
        }
        loadSomeOrAll()
    }

    /// A vCPU that has none, or an obsolete one, goes on, too.
    private mutating func loadSomeOrAll() {
        if random.isTrue(percent: 75) { loadAll() } else { hasStaleRoots = true }
    }

    private mutating func writeInvalidation(_ index: Int) {
        if openInvalidations > 0, random.isTrue(percent: 50) {
            add(.invalend)
            openInvalidations -= 1
            return
        }
        guard openInvalidations < 2, !options.without.contains(.invalbegin) else { return }
        let slot = layout.slots[index], range = walkedRange(index)
        add(.invalbegin, slot.id, range.start, range.end)
        openInvalidations += 1
    }

    private mutating func writeHostAge(_ index: Int) {
        let slot = layout.slots[index], range = layout.range(index, &random)
        if random.isTrue(percent: 25) {
            add(.testyoung, slot.id, range.start)
        } else {
            add(.young, slot.id, range.start, range.end, random.below(2))
        }
    }

    private mutating func moveSlot(_ index: Int) {
        settle()
        var moved = layout.slots[index]
        let room = min(GuestLayout.span, setup.gfnLimit - layout.shift)
        // Aligned to its memory as before, or not.
        moved.first = layout.shift + random.below(room / 512) * 512 + (random.isTrue(percent: 80) ? moved.pfn & 511 : 0)
        guard !options.without.contains(.moveslot), moved.end <= setup.gfnLimit, !layout.overlaps(moved) else { return }
        add(.moveslot, moved.id, moved.first)
        layout.move(index, to: moved.first)
        loadSomeOrAll()
    }

    private mutating func replaceSlot(_ index: Int) {
        settle()
        let slot = layout.slots[index]
        guard !options.without.contains(.delslot) else { return }
        add(.delslot, slot.id)
        for _ in 0..<random.below(4) { add(.fault, vcpu(of: index), layout.gfn(index, &random), access(["r", "w"]), 3) }
        settle()
        add(.slot, slot.id, slot.space, slot.first, slot.pages, slot.pfn)
        layout.setLogged(index, false)
        loadSomeOrAll()
    }

    private mutating func changeSpace() {
        guard hasSMM else { return }
        let vcpu = random.element(vcpus(space: 0))
        add(.smm, vcpu, 1)
        add(.load, vcpu)
        add(.fault, vcpu, layout.gfn(3, &random), access(["r", "w", "x"]), random.below(3) + 1)
        add(.smm, vcpu, 0)
        add(.load, vcpu)
    }
}
