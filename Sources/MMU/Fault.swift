// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
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

    package init(
        vcpu: VCPU, _ access: FaultAccess, pfn: PFN, hostWritable: Bool, hostLevel: Level, prefetch: Bool
    ) {
        self.vcpu = vcpu
        self.access = access
        self.pfn = pfn
        self.hostWritable = hostWritable
        self.hostLevel = hostLevel
        self.prefetch = prefetch
    }

    @inline(__always) package var gfn: GFN { access.gfn }
    @inline(__always) package var isWrite: Bool { access.isWrite }
    @inline(__always) package var isFetch: Bool { access.isFetch }
}

package enum FaultResult {
    case retry
    case emulate
    case fixed
    case spurious
    /// Not fixed, and another path has to try.
    case invalid
    /// table_limit, or the system's memory, is used up.
    case noMemory
    /// The vCPU's dirty ring has no room for a page that would become writable.
    case ringFull
    /// The change was refused, with a warning.
    case refused
    /// The host has no page there, or a broken one.
    case hostFault
    case hostPoison

    /// What a pfn that is an answer means to the one who faulted.
    package init(answer pfn: PFN) {
        switch pfn {
        case .readOnlyError: self = .emulate
        case .poisonError: self = .hostPoison
        default: self = .hostFault
        }
    }

    /// RET_PF_*, or a negative errno.
    package var code: Int32 {
        switch self {
        case .retry: Int32(bitPattern: RET_PF_RETRY.rawValue)
        case .emulate: Int32(bitPattern: RET_PF_EMULATE.rawValue)
        case .fixed: Int32(bitPattern: RET_PF_FIXED.rawValue)
        case .spurious: Int32(bitPattern: RET_PF_SPURIOUS.rawValue)
        case .invalid: Int32(bitPattern: RET_PF_INVALID.rawValue)
        case .noMemory: -ENOMEM
        case .ringFull: -ENOBUFS
        case .refused: -EINVAL
        case .hostFault: -EFAULT
        case .hostPoison: -EHWPOISON
        }
    }
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
    @inline(never)
    package func handle() -> FaultResult {
        let actor = Actor(vcpu)
        actor.count(.faults)
        let result = resolve(actor)
        actor.vm.traceReturn(TDPMMU_TRACE_MAP_RET, result.code)
        switch result {
        case .fixed: actor.count(.fixed)
        case .spurious: actor.count(.spurious)
        case .retry: actor.count(.retried)
        case .emulate: actor.count(.emulated)
        case .invalid, .noMemory, .ringFull, .refused, .hostFault, .hostPoison: break
        }
        return result
    }

    @inline(__always)
    private func resolve(_ actor: Actor) -> FaultResult {
        rcuReadLock()
        defer { rcuReadUnlock() }
        let slot = actor.vm.slot(holding: gfn, addressSpace: vcpu.addressSpace)
        if actor.vm.traces(TDPMMU_TRACE_MAP) { trace(slot) }
        guard let root = vcpu.root, !root.role.isInvalid else { return .retry }
        if let slot {
            if slot.isInvalid { return .retry }
            if slot.isReadOnly && isWrite { return .emulate }
            // The slot came after the caller looked.
            if pfn == .noSlot { return .retry }
            if hostWritable && slot.isDirtyLogged && vcpu.ringIsFull { return .ringFull }
        }
        if pfn == .noSlot && !actor.vm.masks.cachesMMIO { return .emulate }
        let level = level(in: slot), nx = actor.vm.nxHugePages
        if actor.vm.traces(TDPMMU_TRACE_SPTE_REQUESTED) { traceRequest(nx && isFetch ? .page4K : level) }
        var target = Target(
            fault: self, slot: slot, level: nx && isFetch ? .page4K : level, wantedLevel: level,
            hostWritable: hostWritable && !(slot.map { $0.isReadOnly } ?? false), nxHugePages: nx)
        let result = actor.install(&target, under: root)
        // The page can be written from here on without our hearing of it.
        if result == .fixed && target.hostWritable, let slot { slot.markDirty(gfn, by: vcpu) }
        return result
    }
}

extension Actor {
    /// Walks down to the target's level, linking tables and splitting huge leaves
    /// on the way, each step one compare-and-exchange.
    @inline(__always)
    fileprivate func install(_ target: inout Target, under root: Table) -> FaultResult {
        var iter = tdp_iter(root: root, minLevel: .page4K, from: target.fault.gfn)
        if vm.traces(TDPMMU_TRACE_ITER_START) { vm.traceWalk(root, iter) }
        while iter.valid && iter.atGFN <= target.fault.gfn {
            // Somebody is removing what is below.
            if iter.old.isFrozen { return .retry }
            if target.nxHugePages && standsForNXHugePage(iter, target.level) { target.level = target.level.below }
            if iter.atLevel == target.level { return installLeaf(target, &iter) }
            if !iter.isAtTable {
                let link = TableLink(vcpu: target.fault.vcpu, isNXSplit: target.hugeIsDisallowed,
                                     isNXRecoverable: target.wantedLevel >= iter.atLevel)
                let result = linkTable(link, &iter)
                if result != .fixed { return result }
            }
            iter.next()
        }
        // An entry on the way was frozen or zapped between two looks.
        return .retry
    }

    /// A table that was put in a huge page's place because of a fetch stays: else
    /// reads and fetches would replace each other's mapping for ever.
    @inline(never)
    private func standsForNXHugePage(_ iter: tdp_iter, _ level: Level) -> Bool {
        iter.atLevel == level && level > .page4K && iter.isAtTable
            && Table(child: iter.old).isNXSplit
    }

    @inline(__always)
    private func installLeaf(_ target: Target, _ iter: inout tdp_iter) -> FaultResult {
        let isMMIO = target.fault.pfn == .noSlot
        if !isMMIO && iter.isAtLeaf {
            if iter.old.pfn != target.pfn {
                // Never from page to page in one step: a CPU could use both.
                let result = zapAtomically(&iter)
                if result != .done { return result == .lost ? .retry : .refused }
            } else if wouldDowngrade(target, iter.old) {
                return .spurious
            }
        }
        let new = isMMIO ? mmioSPTE(target, iter.atGFN) : vm.masks.leaf(LeafRequest(
            gfn: iter.atGFN, pfn: target.pfn, level: target.level, old: iter.old,
            hostWritable: target.hostWritable, prefetch: target.fault.prefetch,
            noExecuteHuge: target.nxHugePages))
        return installLeaf(new, isMMIO: isMMIO, &iter)
    }

    @inline(__always)
    private func installLeaf(_ new: SPTE, isMMIO: Bool, _ iter: inout tdp_iter) -> FaultResult {
        let old = iter.old
        if new != old {
            switch set(&iter, new) {
            case .lost: return .retry
            case .refused: return .refused
            case .done: break
            }
            // A table went, inside RCU still; or memory became MMIO: CPUs may have the translation.
            if old.isTable(at: iter.atLevel) || isMMIO && old.isLeaf(at: iter.atLevel) { vm.flush(iter.atGFN, pages: iter.atLevel.pages) }
            if isMMIO { count(.mmioSPTEs) }
        }
        if isMMIO {
            if vm.traces(TDPMMU_TRACE_MARK_MMIO_SPTE) { vm.traceMMIO(iter.slot, iter.atGFN, new) }
            return .emulate
        }
        if vm.traces(TDPMMU_TRACE_SET_SPTE) { vm.traceSet(iter) }
        return new == old ? .spurious : .fixed
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
}
