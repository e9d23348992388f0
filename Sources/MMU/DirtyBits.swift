// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
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
        return hold.eitherWay { changeBits(of: named, &$0, owing: &flush, clear: dirtyingBit) }
    }

    /// Sets Dirty.
    package func setDirty(_ slot: kvm_memory_slot, _ hold: inout HeldForWrite, owing flush: inout OwedFlush) -> Bool {
        hold.eitherWay { changeBits(of: LeafRange(of: slot, minLevel: .page4K), &$0, owing: &flush, set: masks.dirty) }
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
        let bits = writeProtect ? SPTE.writable : dirtyingBit, writer = SPTEWriter(self, hold)
        let first = gfn + UInt64(mask.trailingZeroBitCount), end = gfn + UInt64(64 - mask.leadingZeroBitCount)
        if masks.isOneOfLog(bits) && writer.worksByRow {
            let named = mask &>> UInt64(truncatingIfNeeded: mask.trailingZeroBitCount)
            return clearByRow(bits, from: first, to: end, named: named, addressSpace, writer, owing: &flush)
        }
        let range = LeafRange(.valid(in: addressSpace), WalkRange(minLevel: .page4K, start: first, end: end))
        _ = changeLeaves(of: range, writer, owing: &flush) { iter in
            guard iter.level == 1, mask >> (iter.gfn &- gfn.raw) & 1 != 0, iter.old_spte & bits != 0 else { return nil }
            return SPTE(iter.old_spte & ~bits)
        }
    }

    /// The same in the one table, or the two, that hold the range.
    @inline(__always)
    private func clearByRow(
        _ bits: UInt64, from first: GFN, to end: GFN, named: UInt64, _ addressSpace: Int32, _ writer: SPTEWriter,
        owing flush: inout OwedFlush
    ) {
        let change = RowChange(clearing: bits)
        insideRCU { rcu in
            forEachRoot(.valid(in: addressSpace), rcu) { root, rcu in
                var here = first, named = named
                while here < end {
                    let next = min(end, here.rounded(to: .page2M) + Level.page2M.pages), count = next.raw &- here.raw
                    if let row = root.row(at: here, count: Int(truncatingIfNeeded: count), named: named, rcu) {
                        _ = row.change(change, in: writer, rcu, owing: &flush)
                    }
                    named >>= count
                    here = next
                }
            }
        }
    }

    private var dirtyingBit: UInt64 { masks.dirty != 0 ? masks.dirty : SPTE.writable }
}
