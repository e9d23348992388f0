// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

/// One page fault, from the vCPU's access to what the host says of the page.
package struct Fault {
    package let vcpu: VCPU
    package let access: FaultAccess
    /// The host page of `gfn` itself, or an answer.
    package let pfn: PFN
    package let hostWritable: Bool
    /// Largest level at which the host maps the page in one piece.
    package let hostLevel: Level
    /// The guest did not ask.
    package let prefetch: Bool
    /// Where the caller, who is still inside kvm->srcu, has found gfn's slot.
    let seenSlot: SeenSlot

    @inline(__always)
    package init(
        vcpu: VCPU, _ access: FaultAccess, pfn: PFN, hostWritable: Bool, hostLevel: Level, prefetch: Bool
    ) {
        self.init(vcpu: vcpu, access, HostPage(pfn: pfn, writable: hostWritable, level: hostLevel),
                  prefetch: prefetch, seen: .none)
    }

    @inline(__always)
    init(vcpu: VCPU, _ access: FaultAccess, _ page: HostPage, prefetch: Bool, seen: SeenSlot) {
        self.vcpu = vcpu
        self.access = access
        pfn = page.pfn
        hostWritable = page.writable
        hostLevel = page.level
        self.prefetch = prefetch
        seenSlot = seen
    }

    @inline(__always) package var gfn: GFN { access.gfn }
    @inline(__always) package var isWrite: Bool { access.isWrite }
    @inline(__always) package var isFetch: Bool { access.isFetch }
}

/// A fault once slot and level are known.
private struct Target {
    let fault: Fault
    let slot: SlotPointer?
    /// Where the leaf goes; lowered when a table stands there that must stay.
    var level: Level
    /// The level it could have but for execution.
    let wantedLevel: Level
    let hostWritable: Bool
    /// Huge pages must not be executed in this VM.
    let nxHugePages: Bool

    /// A fetch that must not get a huge page.
    @inline(__always) var hugeIsDisallowed: Bool { nxHugePages && fault.isFetch }

    /// First host page of the leaf.
    @inline(__always) var pfn: PFN { PFN(fault.pfn.raw & ~(level.pages &- 1)) }
}

extension VCPU {
    /// What a fault gets that has no valid root: another try, when one is loaded, or no more at all.
    var faultWithoutRoot: FaultResult { vm.isSetUp ? .retry : .refused }
}

extension Fault {
    /// The level to map at: what the host offers, cut down by alignment, the
    /// slot's bounds, and dirty logging, which wants single pages.
    @inline(__always)
    private func level(in slot: SlotPointer?) -> Level {
        guard hostLevel > .page4K, let slot, !slot.isDirtyLogged, pfn != .noSlot else { return .page4K }
        return slot.level(of: gfn, at: pfn, atMost: hostLevel)
    }

    /// Maps the page, or says why not.
    @inline(__always)
    package func handle(_ hold: borrowing HeldForRead) -> FaultResult {
        guard !prefetch, pfn.isPage else { return handleAtLength(hold) }
        let page = HostPage(pfn: pfn, writable: hostWritable, level: hostLevel)
        let result = insideRCU { rcu in
            let slot = vcpu.vm.slot(holding: gfn, for: vcpu, seen: seenSlot, rcu)
            return slot.map { vcpu.fillAtOnce(gfn, page, in: $0, hold, rcu) } ?? .invalid
        }
        return result == .invalid ? handleAtLength(hold) : result
    }

    @inline(never)
    func handleAtLength(_ hold: borrowing HeldForRead) -> FaultResult {
        let writer = SPTEWriter(vcpu, hold)
        writer.count(.faults)
        let result = insideRCU { rcu in resolve(writer, rcu) }
        writer.vm.traceReturn(TDPMMU_TRACE_MAP_RET, result.code)
        switch result {
        case .fixed: writer.count(.fixed)
        case .spurious: writer.count(.spurious)
        case .retry: writer.count(.retried)
        case .emulate: writer.count(.emulated)
        default: break
        }
        return result
    }

    @inline(__always)
    private func resolve(_ writer: SPTEWriter, _ rcu: borrowing InsideRCU) -> FaultResult {
        let slot = writer.vm.slot(holding: gfn, for: vcpu, seen: seenSlot, rcu)
        if writer.vm.traces(TDPMMU_TRACE_MAP) { trace(slot) }
        guard let root = vcpu.root(rcu), !root.role.isInvalid else { return vcpu.faultWithoutRoot }
        if let slot {
            if slot.isInvalid { return .retry }
            if slot.isReadOnly && isWrite { return .emulate }
            // The slot came after the caller looked.
            if pfn == .noSlot { return .retry }
            if hostWritable && slot.isDirtyLogged && vcpu.ringIsFull { return .ringFull }
        }
        if pfn == .noSlot && !writer.vm.masks.cachesMMIO { return .emulate }
        let level = level(in: slot), nx = writer.vm.nxHugePages
        if writer.vm.traces(TDPMMU_TRACE_SPTE_REQUESTED) { traceRequest(nx && isFetch ? .page4K : level) }
        let target = Target(
            fault: self, slot: slot, level: nx && isFetch ? .page4K : level, wantedLevel: level,
            hostWritable: hostWritable && !(slot.map { $0.isReadOnly } ?? false), nxHugePages: nx)
        return writer.install(target, under: root, rcu)
    }
}

extension VCPU {
    /// The short form of Fault.handleAtLength(), for what nearly all faults are: nobody looks on, the slot is an
    /// ordinary one, the table stands, and in it nothing or the same page.  .invalid: nothing was done.
    /// Of a page, which the guest asked for.  It comes in words: as a struct the fault would be written to memory first.
    @inline(__always)
    func fillAtOnce(
        _ gfn: GFN, _ page: HostPage, in slot: SlotPointer, _ hold: borrowing HeldForRead, _ rcu: borrowing InsideRCU
    ) -> FaultResult {
        guard !vm.tracesAny, slot.isOrdinary else { return .invalid }
        guard page.level == .page4K else { return fillHuge(gfn, page, slot, hold, rcu) }
        return fill(gfn, page.pfn, page.writable, at: .page4K, hold, rcu)
    }

    @inline(never)
    private func fillHuge(
        _ gfn: GFN, _ page: HostPage, _ slot: SlotPointer, _ hold: borrowing HeldForRead, _ rcu: borrowing InsideRCU
    ) -> FaultResult {
        let level = slot.level(of: gfn, at: page.pfn, atMost: page.level)
        guard level == .page4K || !vm.nxHugePages else { return .invalid }
        return fill(gfn, PFN(page.pfn.raw & ~(level.pages &- 1)), page.writable, at: level, hold, rcu)
    }

    /// Inlined for 4K pages, and for all sizes.
    @inline(__always)
    private func fill(
        _ gfn: GFN, _ pfn: PFN, _ hostWritable: Bool, at level: Level, _ hold: borrowing HeldForRead,
        _ rcu: borrowing InsideRCU
    ) -> FaultResult {
        guard let place = way(to: gfn, at: level, hold, rcu) else { return .invalid }
        let leaf = vm.masks.usedLeaf(LeafRequest(
            gfn: gfn, pfn: pfn, level: level, old: place.old, hostWritable: hostWritable, prefetch: false))
        let writer = SPTEWriter(self, hold)
        if place.old == leaf {
            writer.count(.faults)
            writer.count(.spurious)
            return .spurious
        }
        guard place.old == .nonPresent else { return rewrite(place.slot, gfn, level, place.old, leaf, hold) }
        let result = place.slot.fill(with: leaf, (addressSpace, gfn.rounded(to: level), level), in: writer)
        return result.map { writer.count($0) } ?? .invalid
    }

    /// Over a leaf of the same page.  As in Linux a fault flushes where a table made way, or memory became MMIO, and not
    /// here: a CPU may go on with the Dirty or W that it remembers, of the same page.
    @inline(never)
    private func rewrite(
        _ slot: SPTESlot, _ gfn: GFN, _ level: Level, _ old: SPTE, _ new: SPTE, _ hold: borrowing HeldForRead
    ) -> FaultResult {
        guard old.isLeaf(at: level), old.pfn == new.pfn else { return .invalid }
        let wish = SPTEChange(
            addressSpace: addressSpace, gfn: gfn.rounded(to: level), level: level, old: old, new: new)
        let writer = SPTEWriter(self, hold)
        var flush = OwedFlush()
        let result = slot.changeBits(wish, in: writer, owing: &flush)
        flush.forgo(because: "the page stays, and Linux does not either")
        return writer.count(result)
    }
}

extension SPTEWriter {
    /// What came of a fault's change.
    @inline(__always)
    fileprivate func count(_ result: ChangeResult) -> FaultResult {
        count(.faults)
        switch result {
        case .made:
            count(.fixed)
            return .fixed
        case .lost:
            count(.retried)
            return .retry
        case .refused: return .refused
        }
    }

    /// To the target's level: at once where the vCPU remembers the table, else down from the root.
    @inline(__always)
    fileprivate func install(
        _ target: Target, under root: Table, _ rcu: borrowing InsideRCU
    ) -> FaultResult {
        if vm.traces(TDPMMU_TRACE_ITER_START) { vm.traceWalk(root, from: target.fault.gfn, minLevel: .page4K) }
        let cutOff = vm.tablesCutOff, vcpu = target.fault.vcpu
        // Where a table may have to stay in a huge page's place, the walk sees to it.
        guard target.level == .page4K || !target.nxHugePages,
              var iter = vcpu.wayByMemory(to: target.fault.gfn, at: target.level, under: root, cutOff: cutOff, rcu)
        else { return walkAndInstall(target, under: root, cutOff: cutOff, rcu) }
        return iter.old.isFrozen ? .retry : installLeaf(target, &iter, rcu)
    }

    /// Walks down to the target's level, linking tables and splitting huge leaves
    /// on the way, each step one compare-and-exchange.
    @inline(never)
    private func walkAndInstall(
        _ wanted: Target, under root: Table, cutOff: UInt64, _ rcu: borrowing InsideRCU
    ) -> FaultResult {
        var target = wanted
        var iter = Descent(from: root, to: target.fault.gfn, rcu)
        while true {
            // zapAtomically() or a removal of the table has the entry, in another thread.
            if iter.old.isFrozen { return .retry }
            if target.nxHugePages && standsForNXHugePage(iter, target.level, rcu) { target.level = target.level.below }
            if iter.atLevel == target.level {
                target.fault.vcpu.remember(iter.slot, of: iter.atGFN, at: iter.atLevel, under: root, cutOff: cutOff)
                return installLeaf(target, &iter, rcu)
            }
            if !iter.isAtTable {
                let link = TableLink(vcpu: target.fault.vcpu, isNXSplit: target.hugeIsDisallowed,
                                     isNXRecoverable: target.wantedLevel >= iter.atLevel)
                switch linkTable(link, &iter, rcu) {
                case .linked: break
                case .lost: return .retry
                case .noMemory: return .noMemory
                case .refused: return .refused
                }
            }
            // An entry on the way was frozen or zapped between two looks.
            guard iter.stepDown(rcu) else { return .retry }
        }
    }

    /// A table that was put in a huge page's place because of a fetch stays: else
    /// reads and fetches would replace each other's mapping for ever.
    @inline(__always)
    private func standsForNXHugePage(_ iter: Descent, _ level: Level, _ rcu: borrowing InsideRCU) -> Bool {
        iter.atLevel == level && level > .page4K && iter.isAtTable
            && Table(child: iter.old, rcu).isNXSplit
    }

    @inline(__always)
    private func installLeaf(
        _ target: Target, _ iter: inout Descent, _ rcu: borrowing InsideRCU
    ) -> FaultResult {
        let isMMIO = target.fault.pfn == .noSlot
        if !isMMIO && iter.isAtLeaf {
            if iter.old.pfn != target.pfn {
                // Never from page to page in one step: a CPU could use both.
                let result = zapAtomically(&iter, rcu)
                if result != .done { return result == .lost ? .retry : .refused }
            }
        }
        let new = isMMIO ? mmioSPTE(target.fault.vcpu.addressSpace, iter.atGFN) : memorySPTE(target, iter.atGFN, iter.old)
        return installLeaf(new, isMMIO: isMMIO, &iter, rcu)
    }

    /// Marks the page dirty where make_spte() does: as soon as the SPTE that is wanted has W, whatever
    /// comes of it.  An access-tracked one has none yet: the fault that restores it marks.
    @inline(__always)
    private func memorySPTE(_ target: Target, _ gfn: GFN, _ old: SPTE) -> SPTE {
        let new = vm.masks.leaf(LeafRequest(
            gfn: gfn, pfn: target.pfn, level: target.level, old: old,
            hostWritable: target.hostWritable, prefetch: target.fault.prefetch,
            noExecuteHuge: target.nxHugePages))
        if new.isWritable, let slot = target.slot { slot.markDirty(gfn, by: target.fault.vcpu) }
        return new
    }

    @inline(__always)
    private func installLeaf(
        _ new: SPTE, isMMIO: Bool, _ iter: inout Descent, _ rcu: borrowing InsideRCU
    ) -> FaultResult {
        let old = iter.old
        if new != old {
            var flush = OwedFlush()
            let result = setAmongOthers(&iter, new, owing: &flush)
            let isOwed = flush.handOver()
            switch result {
            case .lost: return .retry
            case .refused: return .refused
            case .done: break
            }
            // Memory became MMIO, or a table made way for a leaf: CPUs may still have what was there.
            if isOwed && (isMMIO || old.isTable(at: iter.atLevel)) { vm.flush(iter.atGFN, pages: iter.atLevel.pages) }
            if isMMIO { count(.mmioSPTEs) }
        }
        if isMMIO {
            if vm.traces(TDPMMU_TRACE_MARK_MMIO_SPTE) { vm.traceMMIO(iter.slot, iter.atGFN, new) }
            return .emulate
        }
        if vm.traces(TDPMMU_TRACE_SET_SPTE) { vm.traceSet(iter.atGFN, iter.atLevel, iter.slot, rcu) }
        return new == old ? .spurious : .fixed
    }

    @inline(never)
    private func mmioSPTE(_ addressSpace: Int32, _ gfn: GFN) -> SPTE {
        vm.masks.mmio(gfn, generation: vm.slotGeneration(addressSpace) & mmioGenerationMask)
    }
}

/// What is told of it.
extension Fault {
    @inline(never)
    func trace(_ slot: SlotPointer?) {
        vcpu.vm.trace(TDPMMU_TRACE_MAP) {
            $0.map = tdpmmu_trace_map(
                vcpu: UInt64(UInt(bitPattern: vcpu.memory)), addr: access.address, ec: access.errorCode, gfn: gfn.raw,
                pfn: pfn.raw, slot: UInt64(UInt(bitPattern: slot)), prefetch: prefetch, exec: isFetch, write: isWrite,
                present: access.isPresent, nxwa: vcpu.vm.nxHugePages, map_writable: hostWritable)
        }
    }

    @inline(never)
    func traceRequest(_ level: Level) {
        vcpu.vm.trace(TDPMMU_TRACE_SPTE_REQUESTED) {
            $0.spte_requested = tdpmmu_trace_spte_requested(
                gfn: gfn.raw, pfn: pfn.raw, level: UInt8(truncatingIfNeeded: level.raw))
        }
    }
}
