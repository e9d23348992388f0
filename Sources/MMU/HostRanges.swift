// SPDX-License-Identifier: GPL-2.0-only
import PageTable
import RCU
import Sync

/// Operations that name memory by the host's addresses: what a memory notifier has.
extension VM {
    /// Visits the gfns that map [start, end) of the host, slot by slot: in each address space
    /// by the slots' host addresses, as the kernel does, and of equal ones the one put in
    /// last behind those before it.  The slots are looked at one by one, so `body` may drop mmu_lock.
    package func forEachGFNRange(
        hostStart: UInt64, hostEnd: UInt64, _ body: (_ addressSpace: Int32, _ start: GFN, _ end: GFN) -> Void
    ) {
        for space in Int32(0)..<2 {
            var last: SlotRecord?
            while let record = insideRCU({ rcu in slots(space, rcu).next(after: last, hostStart, hostEnd) }) {
                last = record
                let slot = record.slot, bytes = slot.npages << 12
                let first = max(hostStart, slot.userspace_addr), end = min(hostEnd, slot.userspace_addr + bytes)
                let from = (first - slot.userspace_addr) >> 12, to = (end - slot.userspace_addr + 4095) >> 12
                body(space, GFN(slot.base_gfn + from), GFN(slot.base_gfn + to))
            }
        }
    }

    /// The page at these gfns is another now.  Never from page to page in one step:
    /// empty, flush, and only then, if it is to be read-only, the new page.
    @inline(never)
    package func setPage(
        addressSpace: Int32, start: GFN, end: GFN, _ pfn: PFN, writable: Bool, _ hold: borrowing HeldForWrite
    ) -> Bool {
        let writer = SPTEWriter(self, hold)
        var changed = false, flush = OwedFlush()
        let range = WalkRange(minLevel: .page4K, start: start, end: end)
        writer.walkRoots(.all(in: addressSpace), range, owing: &flush) { iter, flush, rcu in
            guard iter.isAtLeaf, writer.set(&iter, .nonPresent, owing: &flush) == .done else { return .next }
            let old = iter.old, gfn = iter.atGFN, pages = iter.atLevel.pages
            changed = true
            flush.payNow(rcu) { self.flush(gfn, pages: pages) }
            iter.old = .nonPresent
            // A huge page loses its mapping whole; a writable page is faulted in.
            if iter.atLevel == .page4K && !writable {
                _ = writer.set(&iter, masks.readOnlyLeaf(like: old, pfn), owing: &flush)
            }
            return .next
        }
        flush.pay { flushAll() }
        return changed
    }
}

extension SlotTable {
    /// A copy of the slot that touches [start, end) of the host and comes behind `last`, which need not be here any
    /// more.  RCU.  Behind `last` the search begins by bisection, so that a range over thousands of slots does not look
    /// at each for each.
    fileprivate func next(after last: SlotRecord?, _ start: UInt64, _ end: UInt64) -> SlotRecord? {
        let rank = last.map { SlotRank(key: $0.slot.userspace_addr, sequence: $0.sequence) }
        let first = rank.map { isSmall ? 0 : max(chunks(.hostAddress).count(upTo: $0) - 1, 0) } ?? 0
        for i in first..<runs(.hostAddress) where reaches(i, start) {
            let run = run(.hostAddress, i)
            for pair in (i == first ? rank.map { run.count(upTo: $0) } ?? 0 : 0)..<run.count {
                if run[pair].key >= end { return nil }
                let slot = run[pair].item.pointee.slot
                if slot.userspace_addr + slot.npages << 12 > start { return run[pair].item.pointee }
            }
        }
        return nil
    }

    /// May a slot of a run end behind an address of the host?
    private func reaches(_ index: Int, _ start: UInt64) -> Bool {
        isSmall || chunks(.hostAddress)[index].item.pointee.hostEnd > start
    }
}
