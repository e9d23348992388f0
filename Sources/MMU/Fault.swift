// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

/// One page fault, from the vCPU's access to what the host says of the page.
package struct Fault {
    package let vcpu: VCPU
    package let gfn: GFN
    package let isWrite: Bool
    /// The host page of `gfn` itself, or an answer.
    package let pfn: PFN
    package let hostWritable: Bool
    /// Largest level at which the host maps the page in one piece.
    package let hostLevel: Level
    /// The guest did not ask.
    package let prefetch: Bool

    package init(
        vcpu: VCPU, gfn: GFN, isWrite: Bool, pfn: PFN, hostWritable: Bool, hostLevel: Level, prefetch: Bool
    ) {
        self.vcpu = vcpu
        self.gfn = gfn
        self.isWrite = isWrite
        self.pfn = pfn
        self.hostWritable = hostWritable
        self.hostLevel = hostLevel
        self.prefetch = prefetch
    }
}

package enum FaultResult {
    case retry
    case emulate
    case fixed
    case spurious
    /// table_limit, or the system's memory, is used up.
    case noMemory
    /// The change was refused, with a warning.
    case refused
}

/// A fault once slot and level are known.
private struct Target {
    let fault: Fault
    let level: Level
    let pfn: PFN
    let hostWritable: Bool
}

extension SlotPointer {
    @inline(__always) var isInvalid: Bool { pointee.flags & slotInvalidFlag != 0 }
    @inline(__always) var isReadOnly: Bool { pointee.flags & UInt32(KVM_MEM_READONLY) != 0 }
    @inline(__always) var isDirtyLogged: Bool { pointee.flags & UInt32(KVM_MEM_LOG_DIRTY_PAGES) != 0 }

    /// May one entry at this level map gfn?  It must lie inside the slot, and the
    /// host's addresses must be aligned as the guest's are.
    @inline(__always)
    func allows(_ level: Level, at gfn: GFN) -> Bool {
        let first = gfn.rounded(to: level).raw, base = pointee.base_gfn
        let congruent = (base ^ (pointee.userspace_addr &>> 12)) & (level.pages &- 1) == 0
        return congruent && first >= base && first &+ level.pages <= base &+ pointee.npages
    }
}

extension Fault {
    /// The level to map at: what the host offers, cut down by alignment, the
    /// slot's bounds, and dirty logging, which wants single pages.
    @inline(__always)
    private func level(in slot: SlotPointer?) -> Level {
        guard hostLevel > .page4K, let slot, !slot.isDirtyLogged, pfn != .noSlot else { return .page4K }
        var level = min(hostLevel, .maxHuge)
        while level > .page4K {
            let offset = level.pages &- 1
            if slot.allows(level, at: gfn) && (pfn.raw ^ gfn.raw) & offset == 0 { break }
            level = level.below
        }
        return level
    }

    /// mmu_lock for read.
    package func handle() -> FaultResult {
        let actor = Actor(vcpu)
        actor.count(.faults)
        let result = resolve(actor)
        switch result {
        case .fixed: actor.count(.fixed)
        case .spurious: actor.count(.spurious)
        case .retry: actor.count(.retried)
        case .emulate: actor.count(.emulated)
        case .noMemory, .refused: break
        }
        return result
    }

    @inline(__always)
    private func resolve(_ actor: Actor) -> FaultResult {
        guard let root = vcpu.root, !root.role.isInvalid else { return .retry }
        rcuReadLock()
        defer { rcuReadUnlock() }
        let slot = actor.vm.slot(holding: gfn, addressSpace: vcpu.addressSpace)
        if let slot {
            if slot.isInvalid { return .retry }
            if slot.isReadOnly && isWrite { return .emulate }
            // The slot came after the caller looked.
            if pfn == .noSlot { return .retry }
        }
        if pfn == .noSlot && !actor.vm.masks.cachesMMIO { return .emulate }
        let level = level(in: slot)
        let target = Target(
            fault: self, level: level, pfn: PFN(pfn.raw & ~(level.pages &- 1)),
            hostWritable: hostWritable && !(slot.map { $0.isReadOnly } ?? false))
        return actor.install(target, under: root)
    }
}

extension Actor {
    /// Walks down to the target's level, linking tables and splitting huge leaves
    /// on the way, each step one compare-and-exchange.
    @inline(__always)
    fileprivate func install(_ target: Target, under root: Table) -> FaultResult {
        var iter = tdp_iter(root: root, minLevel: .page4K, from: target.fault.gfn)
        while iter.valid && iter.atGFN <= target.fault.gfn {
            // Somebody is removing what is below.
            if iter.old.isFrozen { return .retry }
            if iter.atLevel == target.level { return installLeaf(target, &iter) }
            if !iter.isAtTable {
                let result = linkTable(target.fault.vcpu, &iter)
                if result != .fixed { return result }
            }
            iter.next()
        }
        // An entry on the way was frozen or zapped between two looks.
        return .retry
    }

    /// Puts a table where nothing or a huge leaf stands; .fixed when it is there.
    @inline(never)
    private func linkTable(_ vcpu: VCPU, _ iter: inout tdp_iter) -> FaultResult {
        let parent = Table(containing: UInt(bitPattern: iter.sptep))
        guard let table = vm.takeTable(vcpu, role: parent.role.child, gfn: iter.atGFN, parent: iter.slot)
        else { return .noMemory }
        let huge = iter.old
        if huge.isPresent { fill(table, bySplitting: huge, at: iter.atLevel) }
        switch set(&iter, vm.masks.table(at: table.address)) {
        case .done:
            if huge.isPresent { countLeaves(at: iter.atLevel.below, Int64(entriesPerTable)) }
            return .fixed
        case .lost:
            vm.returnTable(vcpu, table)
            return .retry
        case .refused:
            vm.returnTable(vcpu, table)
            return .refused
        }
    }

    /// The children map exactly what the huge leaf did, so linking them needs no flush.
    private func fill(_ table: Table, bySplitting huge: SPTE, at level: Level) {
        for index in 0..<entriesPerTable {
            table[index].store(vm.masks.splitChild(of: huge, at: level, index: index))
        }
    }

    @inline(__always)
    private func installLeaf(_ target: Target, _ iter: inout tdp_iter) -> FaultResult {
        let isMMIO = target.fault.pfn == .noSlot
        if !isMMIO && iter.isAtLeaf {
            if iter.old.pfn != target.pfn {
                // Never from page to page in one step: a CPU could use both.
                let result = vacate(&iter)
                if result != .done { return result == .lost ? .retry : .refused }
            } else if wouldDowngrade(target, iter.old) {
                return .spurious
            }
        }
        let new = isMMIO ? mmioSPTE(target, iter.atGFN) : vm.masks.leaf(LeafRequest(
            gfn: iter.atGFN, pfn: target.pfn, level: target.level, old: iter.old,
            hostWritable: target.hostWritable, prefetch: target.fault.prefetch))
        return installLeaf(new, isMMIO: isMMIO, &iter)
    }

    @inline(__always)
    private func installLeaf(_ new: SPTE, isMMIO: Bool, _ iter: inout tdp_iter) -> FaultResult {
        if new != iter.old {
            let old = iter.old
            switch set(&iter, new) {
            case .lost: return .retry
            case .refused: return .refused
            case .done:
                // Memory became MMIO: CPUs may still have the translation.
                if isMMIO && old.isLeaf(at: iter.atLevel) { vm.flush(iter.atGFN, pages: iter.atLevel.pages) }
                if isMMIO { count(.mmioSPTEs) }
            }
        } else if !isMMIO {
            return .spurious
        }
        return isMMIO ? .emulate : .fixed
    }

    /// A read that finds the page writable leaves it so: another vCPU may be
    /// writing through it.
    @inline(__always)
    private func wouldDowngrade(_ target: Target, _ old: SPTE) -> Bool {
        old.isWritable && !target.hostWritable && !target.fault.isWrite
    }

    @inline(never)
    private func mmioSPTE(_ target: Target, _ gfn: GFN) -> SPTE {
        vm.masks.mmio(gfn, generation: vm.slotGeneration(target.fault.vcpu.addressSpace) & mmioGenerationMask)
    }

    /// Empties a leaf under the read lock: frozen keeps others off until the
    /// CPUs have forgotten the old page.
    @inline(never)
    private func vacate(_ iter: inout tdp_iter) -> SetResult {
        let leaf = iter.old
        var seen = leaf
        guard iter.slot.replace(&seen, with: .frozen) else {
            iter.old = seen
            return .lost
        }
        vm.flush(iter.atGFN, pages: iter.atLevel.pages)
        iter.slot.store(.nonPresent)
        record(SPTEChange(iter, to: .nonPresent))
        iter.old = .nonPresent
        return .done
    }
}
