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
        beginRebuilding()
        defer { endRebuilding() }
        let writer = SPTEWriter(self, hold)
        let range = WalkRange(minLevel: target.above, start: start, end: end)
        var complete = true
        var wasAsked = false
        var flush = OwedFlush()
        writer.walkRoots(.valid(in: addressSpace), range, &hold, owing: &flush) { iter, _, rcu in
            guard iter.isAtLeaf, iter.old.isLarge else { return .next }
            // The kernel allocates the table with mmu_lock dropped; here that is for a rig to choose.
            if !wasAsked {
                wasAsked = true
                if rig.wantYieldHere(iter) { return .giveWay }
                // Nor is anybody asked again before the walk has come forward from here.
                iter.yielded_gfn = iter.next_last_level_gfn
            }
            wasAsked = false
            switch writer.linkTable(TableLink(), &iter, rcu) {
            case .lost: return .again
            case .noMemory:
                complete = false
                return .stop
            case .linked, .refused: return .next
            }
        }
        flush.forgo(because: "a split takes nothing away")
        traceReturn(TDPMMU_TRACE_SPLIT_RET)
        return complete
    }

    /// Could one leaf at the entry's level map all that the table below it maps?
    private func couldBeHuge(
        _ iter: borrowing tdp_iter, _ slot: kvm_memory_slot, _ rcu: borrowing InsideRCU
    ) -> Bool {
        let level = Level(iter.level), gfn = GFN(iter.gfn)
        // A table that reaches out of the slot says nothing about what is outside.
        guard level <= .maxHuge, gfn.raw >= slot.base_gfn, gfn.raw < slot.base_gfn &+ slot.npages else { return false }
        // The rig gets the slot itself, which may be another by now, or none: then nothing is put together.
        guard let slot = self.slot(holding: gfn, addressSpace: Int32(slot.as_id), rcu) else { return false }
        return slot.allows(level, at: gfn) && rig.mappingLevel(of: gfn, in: slot) >= level
    }

    /// Drops such tables; the next fault maps huge.
    @inline(never)
    package func zapCollapsible(_ slot: kvm_memory_slot, _ hold: inout HeldForRead) {
        traceSlot(TDPMMU_TRACE_ZAP_COLLAPSIBLE, slot)
        beginRebuilding()
        defer { endRebuilding() }
        let leaves = LeafRange(of: slot, minLevel: .page2M)
        var flush = OwedFlush()
        SPTEWriter(self, hold).batchingRemovals { writer in
            writer.walkRoots(leaves.roots, leaves.range, &hold, owing: &flush) { iter, _, rcu in
                guard iter.isAtTable, couldBeHuge(iter, slot, rcu) else { return .next }
                return writer.zapAtomically(&iter, rcu) == .lost ? .again : .next
            }
        }
        flush.forgo(because: "each zap has flushed while its entry was frozen")
        traceReturn(TDPMMU_TRACE_ZAP_COLLAPSIBLE_RET)
    }

    /// Puts the huge leaf in such a table's place.
    @inline(never)
    package func recoverHugePages(_ slot: kvm_memory_slot, _ hold: inout HeldForRead) {
        beginRebuilding()
        defer { endRebuilding() }
        let leaves = LeafRange(of: slot, minLevel: .page2M)
        var flush = OwedFlush()
        SPTEWriter(self, hold).batchingRemovals { writer in
            writer.walkRoots(leaves.roots, leaves.range, &hold, owing: &flush) { iter, flush, rcu in
                guard iter.isAtTable, couldBeHuge(iter, slot, rcu),
                      let huge = hugeLeaf(replacing: Table(child: iter.old, rcu), at: iter.atLevel, rcu)
                else { return .next }
                return writer.set(&iter, huge, owing: &flush) == .lost ? .again : .next
            }
        }
        flush.forgo(because: "each walk has paid for the tables it unlinked, and nothing else went")
    }

    /// The leaf that maps what a table's 512 entries map: those that are present
    /// must continue each other and permit the same.  nil if they do not, or
    /// none is there.
    private func hugeLeaf(replacing table: Table, at level: Level, _ rcu: borrowing InsideRCU) -> SPTE? {
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
