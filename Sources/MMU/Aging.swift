// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync

/// What the host's reclaim asks: was it used?  Lockless: RCU keeps the tables,
/// compare-and-exchange keeps the entries honest.
extension VM {
    /// Makes every leaf of the range look unused; returns whether any was used.
    @inline(never)
    package func age(addressSpace: Int32, start: GFN, end: GFN) -> Bool {
        traceRange(TDPMMU_TRACE_AGE, start, end)
        let range = WalkRange(minLevel: .page4K, start: start, end: min(end, gfnLimit))
        let young = touchLeaves(.all(in: addressSpace), range, .shared) { iter in
            let old = SPTE(iter.old_spte)
            return masks.isAccessed(old) ? masks.markForAccessTrack(old) : nil
        }
        traceReturn(TDPMMU_TRACE_AGE_RET, young)
        return young
    }

    @inline(never)
    package func isAccessed(addressSpace: Int32, start: GFN, end: GFN) -> Bool {
        traceRange(TDPMMU_TRACE_TEST_AGE, start, end)
        let range = WalkRange(minLevel: .page4K, start: start, end: min(end, gfnLimit))
        var accessed = false
        Actor(self, .shared).walkRoots(.all(in: addressSpace), range, canYield: false) { iter in
            guard iter.isAtLeaf, masks.isAccessed(iter.old) else { return .next }
            accessed = true
            return .stop
        }
        traceReturn(TDPMMU_TRACE_TEST_AGE_RET, accessed)
        return accessed
    }
}
