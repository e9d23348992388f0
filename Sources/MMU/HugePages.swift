// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync

/// Splitting huge leaves ahead of the faults that would, and the way back.
extension VM {
    /// Splits down to `target` what lies in [start, end).  mmu_lock as `mode`
    /// says.  False: no memory for a table.
    @inline(never)
    package func splitHugePages(
        addressSpace: Int32, start: GFN, end: GFN, target: Level, _ mode: LockMode
    ) -> Bool {
        traceRange(TDPMMU_TRACE_SPLIT, start, end, target: target, shared: mode == .shared)
        let actor = Actor(self, mode)
        let range = WalkRange(minLevel: target.above, start: start, end: end)
        var complete = true
        var wasAsked = false
        let roots = RootFilter(validOnly: true, addressSpace: addressSpace)
        actor.walkRoots(roots, range, canYield: true) { iter in
            guard iter.isAtLeaf, iter.old.isLarge else { return .next }
            // The kernel allocates the table with mmu_lock dropped; here that is for a rig to choose.
            if !wasAsked {
                wasAsked = true
                if actor.yieldIfRigWants(&iter) { return .next }
            }
            wasAsked = false
            switch actor.linkTable(TableLink(), &iter) {
            case .retry: return .again
            case .noMemory:
                complete = false
                return .stop
            default: return .next
            }
        }
        traceReturn(TDPMMU_TRACE_SPLIT_RET)
        return complete
    }

    /// Could one leaf at the entry's level map all that the table below it maps?
    private func couldBeHuge(_ iter: borrowing tdp_iter, _ slot: kvm_memory_slot) -> Bool {
        let level = Level(iter.level), gfn = GFN(iter.gfn)
        // A table that reaches out of the slot says nothing about what is outside.
        guard level <= .maxHuge, gfn.raw >= slot.base_gfn, gfn.raw < slot.base_gfn + slot.npages else { return false }
        return withUnsafePointer(to: slot) { $0.allows(level, at: gfn) && hostLevel(of: gfn, in: $0) >= level }
    }

    private func hostLevel(of gfn: GFN, in slot: SlotPointer) -> Level {
        guard let callback = state.pointee.config.ops.mapping_level else { return .maxHuge }
        return Level(callback(state.pointee.config.opsContext, kvm, slot, gfn.raw))
    }

    /// Drops such tables; the next fault maps huge.  mmu_lock for read.
    @inline(never)
    package func zapCollapsible(_ slot: kvm_memory_slot) {
        traceSlot(TDPMMU_TRACE_ZAP_COLLAPSIBLE, slot)
        let actor = Actor(self, .shared), leaves = leaves(of: slot, minLevel: .page2M)
        actor.walkRoots(leaves.roots, leaves.range, canYield: true) { iter in
            guard iter.isAtTable, couldBeHuge(iter, slot) else { return .next }
            return actor.zapAtomically(&iter) == .lost ? .again : .next
        }
        traceReturn(TDPMMU_TRACE_ZAP_COLLAPSIBLE_RET)
    }

    /// Puts the huge leaf in such a table's place.  mmu_lock for read.
    @inline(never)
    package func recoverHugePages(_ slot: kvm_memory_slot) {
        let actor = Actor(self, .shared), leaves = leaves(of: slot, minLevel: .page2M)
        actor.walkRoots(leaves.roots, leaves.range, canYield: true) { iter in
            guard iter.isAtTable, couldBeHuge(iter, slot),
                  let huge = hugeLeaf(replacing: Table(child: iter.old), at: iter.atLevel)
            else { return .next }
            switch actor.set(&iter, huge) {
            case .lost: return .again
            case .refused: return .next
            case .done: return .nextAndFlushInside
            }
        }
    }

    /// The leaf that maps what a table's 512 entries map: those that are present
    /// must continue each other and permit the same.  nil if they do not, or
    /// none is there.
    private func hugeLeaf(replacing table: Table, at level: Level) -> SPTE? {
        var result: SPTE?
        for index in 0..<entriesPerTable {
            let child = table[index].load()
            if child == .nonPresent { continue }
            guard child.isLeaf(at: table.level) else { return nil }
            let offset = UInt64(index) &* table.level.pages
            let first = SPTE((child.raw & ~SPTE.addressMask) | ((child.pfn.raw &- offset) &<< 12) & SPTE.addressMask)
            guard first.pfn.raw & (level.pages &- 1) == 0 else { return nil }
            let huge = masks.hugeLeaf(from: first, at: level, executable: !nxHugePages)
            guard let sofar = result else {
                result = huge
                continue
            }
            guard sofar.pfn == huge.pfn, masks.permissions(sofar) == masks.permissions(huge) else { return nil }
            // Dirty or accessed anywhere is dirty or accessed as a whole.
            result = SPTE(sofar.raw | huge.raw & (masks.accessed | masks.dirty))
        }
        return result
    }
}
