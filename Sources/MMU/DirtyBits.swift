// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync

/// Making visible again that a page becomes dirty: by its Dirty bit, or by W where there is none.
extension VM {
    /// Clears Dirty, or W where there is no Dirty bit.
    package func clearDirty(
        _ slot: kvm_memory_slot, _ hold: inout HeldForRead, owing flush: inout OwedFlush
    ) -> Bool {
        traceSlot(TDPMMU_TRACE_CLEAR_DIRTY_SLOT, slot)
        var named = LeafRange(of: slot, minLevel: .page4K)
        named.range.yieldsAtLeavesOnly = true
        return changeBits(of: named, &hold, owing: &flush, clear: dirtyingBit)
    }

    /// Sets Dirty.
    package func setDirty(_ slot: kvm_memory_slot, _ hold: inout HeldForWrite, owing flush: inout OwedFlush) -> Bool {
        changeBits(of: LeafRange(of: slot, minLevel: .page4K), &hold, owing: &flush, set: masks.dirty)
    }

    /// Clears Dirty (or W) on the 4K leaves that `mask` names, counted from gfn.
    @inline(never)
    package func clearDirty(
        _ gfn: GFN, mask: UInt64, addressSpace: Int32, writeProtect: Bool, _ hold: borrowing HeldForWrite,
        owing flush: inout OwedFlush
    ) {
        trace(TDPMMU_TRACE_CLEAR_DIRTY_PT_MASKED) {
            $0.gfn.gfn = gfn.raw
            $0.gfn.mask = mask
            $0.gfn.wrprot = writeProtect
        }
        guard mask != 0 else { return }
        let bits = writeProtect ? SPTE.writable : dirtyingBit
        let range = WalkRange(
            minLevel: .page4K, start: gfn + UInt64(mask.trailingZeroBitCount),
            end: gfn + UInt64(64 - mask.leadingZeroBitCount))
        let named = LeafRange(.valid(in: addressSpace), range)
        // All of the range is named, without a gap: then rows of it may be taken at once.
        let shifted = mask &>> UInt64(truncatingIfNeeded: mask.trailingZeroBitCount)
        let isWhole = shifted & (shifted &+ 1) == 0
        _ = changeLeaves(of: named, SPTEWriter(self, hold), owing: &flush, clearing: isWhole ? bits : 0) { iter in
            guard iter.level == 1, mask >> (iter.gfn &- gfn.raw) & 1 != 0, iter.old_spte & bits != 0 else { return nil }
            return SPTE(iter.old_spte & ~bits)
        }
    }

    private var dirtyingBit: UInt64 { masks.dirty != 0 ? masks.dirty : SPTE.writable }
}
