// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU

/// What the host's reclaim asks: was it used?  Lockless: RCU keeps the tables,
/// compare-and-exchange keeps the entries honest.
extension VM {
    /// Makes every leaf of the range look unused; returns whether any was used.
    @inline(never)
    package func age(addressSpace: Int32, start: GFN, end: GFN) -> Bool {
        traceRange(TDPMMU_TRACE_AGE, start, end)
        let range = WalkRange(minLevel: .page4K, start: start, end: min(end, gfnLimit))
        let young = insideRCU { rcu in
            var flush = OwedFlush()
            let young = changeLeaves(
                of: LeafRange(.all(in: addressSpace), range), SPTEWriter(lockless: self, rcu), owing: &flush,
                clearing: masks.accessed
            ) { iter in
                let old = SPTE(iter.old_spte)
                return masks.isAccessed(old) ? masks.markForAccessTrack(old) : nil
            }
            flush.forgo(because: "a page that looks unused for too long costs nothing but a guess")
            return young
        }
        traceReturn(TDPMMU_TRACE_AGE_RET, young)
        return young
    }

    @inline(never)
    package func isAccessed(addressSpace: Int32, start: GFN, end: GFN) -> Bool {
        traceRange(TDPMMU_TRACE_TEST_AGE, start, end)
        let range = WalkRange(minLevel: .page4K, start: start, end: min(end, gfnLimit))
        var accessed = false
        insideRCU { rcu in
            var flush = OwedFlush(neverBecause: "nothing is changed")
            let writer = SPTEWriter(lockless: self, rcu), byRow = masks.accessed != 0 && writer.worksByRow
            writer.walkRoots(
                .all(in: addressSpace), range, owing: &flush, byRow: byRow,
                rows: { row, _, rcu in
                    if row.hasLeaf(with: masks.accessed, rcu) { accessed = true }
                    return accessed ? .stop : .next
                }
            ) { iter, _, _ in
                guard iter.isAtLeaf, masks.isAccessed(iter.old) else { return .next }
                accessed = true
                return .stop
            }
            flush.forgo(because: "nothing is changed")
        }
        traceReturn(TDPMMU_TRACE_TEST_AGE_RET, accessed)
        return accessed
    }
}
