// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// Splitting huge leaves ahead of the faults that would, and the way back.
extension VM {
    /// Under mmu_lock, which orders these: who makes a root invalid under it sees whoever began before, and
    /// walks on under that root once he has given way.  Those who begin later keep to valid roots.
    private func beginRebuilding() { memory.pointee.tables.rebuilding.wrappingAdd(1, ordering: .relaxed) }
    private func endRebuilding() { memory.pointee.tables.rebuilding.wrappingSubtract(1, ordering: .relaxed) }

    /// Does some operation perhaps rebuild under a root that is invalid by now?  Under mmu_lock.
    var mayBeRebuilding: Bool { memory.pointee.tables.rebuilding.load(ordering: .relaxed) != 0 }

    /// Splits down to `target` what lies in [start, end).  False: no memory for a table.
    @inline(never)
    package func splitHugePages(
        addressSpace: Int32, start: GFN, end: GFN, target: Level, _ hold: inout HeldEitherWay
    ) -> Bool {
        traceRange(TDPMMU_TRACE_SPLIT, start, end, target: target, shared: hold.mode == .shared)
        var work = Rebuilding(.split)
        rebuild(.valid(in: addressSpace), WalkRange(minLevel: target.above, start: start, end: end), &work, &hold)
        traceReturn(TDPMMU_TRACE_SPLIT_RET)
        return work.isComplete
    }

    /// Drops the tables in whose place a huge leaf could stand; the next fault maps huge.
    @inline(never)
    package func zapCollapsible(_ slot: kvm_memory_slot, _ hold: inout HeldEitherWay) {
        traceSlot(TDPMMU_TRACE_ZAP_COLLAPSIBLE, slot)
        rebuild(in: slot, .collapse(slot), &hold)
        traceReturn(TDPMMU_TRACE_ZAP_COLLAPSIBLE_RET)
    }

    /// Puts the huge leaf in such a table's place.
    @inline(never)
    package func recoverHugePages(_ slot: kvm_memory_slot, _ hold: inout HeldEitherWay) {
        rebuild(in: slot, .recover(slot), &hold)
    }

    private func rebuild(in slot: kvm_memory_slot, _ aim: Rebuilding.Aim, _ hold: inout HeldEitherWay) {
        let leaves = LeafRange(of: slot, minLevel: .page2M)
        var work = Rebuilding(aim)
        rebuild(leaves.roots, leaves.range, &work, &hold)
    }

    /// One walk for all three: what they visit is rare, and what they do with it is much.
    @inline(never)
    private func rebuild(_ roots: RootFilter, _ range: WalkRange, _ work: inout Rebuilding, _ hold: inout HeldEitherWay) {
        beginRebuilding()
        defer { endRebuilding() }
        var flush = OwedFlush()
        SPTEWriter(self, hold).batchingRemovals { writer in
            writer.walkRoots(roots, range, &hold, owing: &flush) { iter, flush, rcu in
                writer.visit(&iter, &work, rcu, owing: &flush)
            }
        }
        flush.forgo(because: "each walk has paid for the tables it unlinked or zapped, and a split takes nothing away")
    }

    /// Could one leaf at the entry's level map all that the table below it maps?
    fileprivate func couldBeHuge(
        _ iter: borrowing tdp_iter, _ slot: kvm_memory_slot, _ rcu: borrowing InsideRCU
    ) -> Bool {
        let level = Level(iter.level), gfn = GFN(iter.gfn)
        // A table that reaches out of the slot says nothing about what is outside.
        guard level <= .maxHuge, gfn.raw >= slot.base_gfn, gfn.raw < slot.base_gfn &+ slot.npages else { return false }
        // The rig gets the slot itself, which may be another by now, or none: then nothing is put together.
        guard let slot = self.slot(holding: gfn, addressSpace: Int32(slot.as_id), rcu) else { return false }
        return slot.allows(level, at: gfn) && rig.mappingLevel(of: gfn, in: slot) >= level
    }

    /// The leaf that maps what a table's 512 entries map: those that are present
    /// must continue each other and permit the same.  nil if they do not, or
    /// none is there.
    fileprivate func hugeLeaf(replacing table: Table, at level: Level, _ rcu: borrowing InsideRCU) -> SPTE? {
        var result: SPTE?
        for index in 0..<entriesPerTable {
            let child = table[index].load(rcu)
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

/// What is to become of huge leaves, or of the tables that stand in for them.
private struct Rebuilding {
    enum Aim {
        case split
        case collapse(kvm_memory_slot)
        case recover(kvm_memory_slot)
    }
    let aim: Aim
    /// Nothing was left for want of memory.
    var isComplete = true
    /// The rig was asked to yield at this leaf.
    var wasAsked = false

    init(_ aim: Aim) { self.aim = aim }
}

extension SPTEWriter {
    @inline(never)
    fileprivate func visit(
        _ iter: inout tdp_iter, _ work: inout Rebuilding, _ rcu: borrowing InsideRCU, owing flush: inout OwedFlush
    ) -> Visit {
        switch work.aim {
        case .split: return split(&iter, &work, rcu)
        case .collapse(let slot):
            guard iter.isAtTable, vm.couldBeHuge(iter, slot, rcu) else { return .next }
            return zapAtomically(&iter, rcu) == .lost ? .again : .next
        case .recover(let slot):
            guard iter.isAtTable, vm.couldBeHuge(iter, slot, rcu),
                  let huge = vm.hugeLeaf(replacing: Table(child: iter.old, rcu), at: iter.atLevel, rcu)
            else { return .next }
            return set(&iter, huge, owing: &flush) == .lost ? .again : .next
        }
    }

    private func split(_ iter: inout tdp_iter, _ work: inout Rebuilding, _ rcu: borrowing InsideRCU) -> Visit {
        guard iter.isAtLeaf, iter.old.isLarge else { return .next }
        // The kernel allocates the table with mmu_lock dropped; here that is for a rig to choose.
        if !work.wasAsked {
            work.wasAsked = true
            if vm.rig.wantYieldHere(iter) { return .giveWay }
            // Nor is anybody asked again before the walk has come forward from here.
            iter.yielded_gfn = iter.next_last_level_gfn
        }
        work.wasAsked = false
        switch linkTable(TableLink(), &iter, rcu) {
        case .lost: return .again
        case .noMemory:
            work.isComplete = false
            return .stop
        case .linked, .refused: return .next
        }
    }
}
