// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync

/// Making writes visible again.
extension VM {
    /// Clears W on a slot's leaves; MMU-writable stays.
    package func writeProtect(
        _ slot: kvm_memory_slot, minLevel: Level, _ hold: inout HeldForRead, owing flush: inout OwedFlush
    ) -> Bool {
        traceSlot(TDPMMU_TRACE_WRPROT_SLOT, slot, from: minLevel)
        let changed = hold.eitherWay {
            changeBits(of: LeafRange(of: slot, minLevel: minLevel), &$0, owing: &flush, clear: SPTE.writable)
        }
        traceReturn(TDPMMU_TRACE_WRPROT_SLOT_RET, changed)
        return changed
    }

    /// Clears W and MMU-writable on what maps one gfn.
    package func writeProtect(
        _ gfn: GFN, addressSpace: Int32, minLevel: Level, _ hold: inout HeldForWrite, owing flush: inout OwedFlush
    ) -> Bool {
        trace(TDPMMU_TRACE_WRITE_PROTECT_GFN) {
            $0.gfn.gfn = gfn.raw
            $0.gfn.min_level = minLevel.raw
        }
        let bits = SPTE.writable | masks.mmuWritable, writer = SPTEWriter(self, hold)
        let range = WalkRange(minLevel: minLevel, start: gfn, end: gfn + 1)
        return changeLeaves(of: LeafRange(.valid(in: addressSpace), range), writer, owing: &flush) { iter in
            iter.old_spte & bits != 0 ? SPTE(iter.old_spte & ~bits) : nil
        }
    }
}
