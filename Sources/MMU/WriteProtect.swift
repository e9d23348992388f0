// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync

/// Making writes, or dirtying, visible again.
extension VM {
    /// Clears W on a slot's leaves; MMU-writable stays.  mmu_lock for read.
    package func writeProtect(_ slot: kvm_memory_slot, minLevel: Level) -> Bool {
        traceSlot(TDPMMU_TRACE_WRPROT_SLOT, slot, minLevel: minLevel)
        let changed = updateLeaves(
            leaves(of: slot, minLevel: minLevel), .shared, canYield: true, clear: SPTE.writable)
        traceReturn(TDPMMU_TRACE_WRPROT_SLOT_RET, changed)
        return changed
    }

    /// Clears Dirty, or W where there is no Dirty bit.  mmu_lock for read.
    package func clearDirty(_ slot: kvm_memory_slot) -> Bool {
        traceSlot(TDPMMU_TRACE_CLEAR_DIRTY_SLOT, slot)
        var leaves = leaves(of: slot, minLevel: .page4K)
        leaves.range.yieldsAtLeavesOnly = true
        return updateLeaves(leaves, .shared, canYield: true, clear: dirtyingBit)
    }

    /// Sets Dirty.  mmu_lock for write.
    package func setDirty(_ slot: kvm_memory_slot) -> Bool {
        updateLeaves(leaves(of: slot, minLevel: .page4K), .exclusive, canYield: true, set: masks.dirty)
    }

    /// Clears W and MMU-writable on what maps one gfn.  mmu_lock for write.
    package func writeProtect(_ gfn: GFN, addressSpace: Int32, minLevel: Level) -> Bool {
        trace(TDPMMU_TRACE_WRITE_PROTECT_GFN) {
            $0.gfn.gfn = gfn.raw
            $0.gfn.min_level = minLevel.raw
        }
        let bits = SPTE.writable | masks.mmuWritable
        let leaves = LeafRange(
            roots: RootFilter(validOnly: true, addressSpace: addressSpace),
            range: WalkRange(minLevel: minLevel, start: gfn, end: gfn + 1))
        return updateLeaves(leaves, .exclusive, canYield: false, clear: bits)
    }

    /// Clears Dirty (or W) on the 4K leaves that `mask` names, counted from gfn.
    /// mmu_lock for write.
    @inline(never)
    package func clearDirty(_ gfn: GFN, mask: UInt64, addressSpace: Int32, writeProtect: Bool) {
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
        _ = touchLeaves(RootFilter(validOnly: true, addressSpace: addressSpace), range, .exclusive) { iter in
            let old = SPTE(iter.old_spte)
            guard iter.level == 1, mask >> (iter.gfn &- gfn.raw) & 1 != 0, old.raw & bits != 0 else { return nil }
            return SPTE(old.raw & ~bits)
        }
    }

    private var dirtyingBit: UInt64 { masks.dirty != 0 ? masks.dirty : SPTE.writable }
}
