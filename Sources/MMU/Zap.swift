// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

extension VM {
    /// What of [start, end) can hold SPTEs; nil if nothing can.
    private func clamped(_ start: GFN, _ end: GFN, minLevel: Level = .page4K) -> WalkRange? {
        let range = WalkRange(minLevel: minLevel, start: start, end: min(end, gfnLimit))
        return range.start < range.end ? range : nil
    }

    /// Leaves and whole tables inside [start, end).
    @inline(never)
    package func zapRange(
        _ root: borrowing RootReference, start: GFN, end: GFN, canYield: Bool, _ hold: inout HeldForWrite,
        owing flush: inout OwedFlush
    ) {
        guard let range = clamped(start, end) else { return }
        let writer = SPTEWriter(self, hold)
        writer.walk(root, range, &hold, canYield: canYield, owing: &flush) { iter, flush, rcu in
            guard iter.old.isPresent else { return .next }
            // A table that reaches beyond the range is entered, not removed.
            let reachesOut = iter.atGFN < range.start || range.end < iter.atGFN + iter.atLevel.pages
            if reachesOut && iter.isAtTable { return .next }
            _ = writer.set(&iter, .nonPresent, owing: &flush)
            return .next
        }
    }

    /// Leaves only; tables stay.
    @inline(never)
    package func zapLeafs(
        _ root: borrowing RootReference, start: GFN, end: GFN, canYield: Bool, _ hold: inout HeldForWrite,
        owing flush: inout OwedFlush
    ) {
        guard let range = clamped(start, end) else { return }
        let writer = SPTEWriter(self, hold), table = root.table
        traceRoot(
            TDPMMU_TRACE_ZAP_LEAFS, table, start: range.start, end: range.end, canYield: canYield, flush: flush.isOwed)
        if table.role.isInvalid {
            var none = OwedFlush(neverBecause: "every CPU was made to leave an invalid root")
            zapLeafs(root, range, canYield: canYield, writer, &hold, owing: &none)
            flush.add(none)
        } else {
            zapLeafs(root, range, canYield: canYield, writer, &hold, owing: &flush)
        }
        traceReturn(TDPMMU_TRACE_ZAP_LEAFS_RET, flush.isOwed)
    }

    private func zapLeafs(
        _ root: borrowing RootReference, _ range: WalkRange, canYield: Bool, _ writer: SPTEWriter,
        _ hold: inout HeldForWrite, owing flush: inout OwedFlush
    ) {
        writer.walk(root, range, &hold, canYield: canYield, owing: &flush) { iter, flush, rcu in
            if iter.isAtLeaf { _ = writer.set(&iter, .nonPresent, owing: &flush) }
            return .next
        }
    }

    /// Everything below one root.  In passes from the lowest level up, so that no
    /// step under the lock has more than one table's work.
    @inline(never)
    package func zapRoot<Hold: LockHold & ~Copyable>(
        _ root: borrowing RootReference, _ hold: inout Hold, owing flush: inout OwedFlush
    ) {
        let table = root.table
        traceRoot(TDPMMU_TRACE_ZAP_ROOT, table, shared: Hold.mode == .shared)
        zapRoot(root, upTo: .page4K, &hold, owing: &flush)
        zapRoot(root, upTo: .page2M, &hold, owing: &flush)
        zapRoot(root, upTo: .page1G, &hold, owing: &flush)
        zapRoot(root, upTo: table.level, &hold, owing: &flush)
    }

    @inline(never)
    private func zapRoot<Hold: LockHold & ~Copyable>(
        _ root: borrowing RootReference, upTo level: Level, _ hold: inout Hold, owing flush: inout OwedFlush
    ) {
        let writer = SPTEWriter(self, hold)
        traceRoot(TDPMMU_TRACE_ZAP_ROOT_LEVEL, root.table, level: level, shared: Hold.mode == .shared)
        let range = WalkRange(minLevel: level, start: GFN(0), end: gfnLimit)
        writer.walk(root, range, &hold, owing: &flush) { iter, flush, rcu in
            guard iter.old.isPresent, iter.atLevel <= level else { return .next }
            return writer.set(&iter, .nonPresent, owing: &flush) == .lost ? .again : .next
        }
    }

    /// zap_gfn_range() under every valid root.  Returns whether a flush is pending.
    @inline(never)
    package func zapRange(start: GFN, end: GFN, _ hold: inout HeldForWrite) -> OwedFlush {
        var flush = OwedFlush()
        forEachRoot(.valid) { zapRange($0, start: start, end: end, canYield: true, &hold, owing: &flush) }
        return flush
    }

    @inline(never)
    package func zapLeafs(start: GFN, end: GFN, _ hold: inout HeldForWrite, owing flush: inout OwedFlush) {
        traceRange(TDPMMU_TRACE_KVM_ZAP_LEAFS, start, end, flush: flush.isOwed)
        forEachRoot(.valid) { zapLeafs($0, start: start, end: end, canYield: true, &hold, owing: &flush) }
    }

    /// A memory notifier's unmap: invalid roots too, since they still hold the
    /// host's pages until they are zapped.
    @inline(never)
    package func unmapRange(
        addressSpace: Int32, start: GFN, end: GFN, mayBlock: Bool, _ hold: inout HeldForWrite,
        owing flush: inout OwedFlush
    ) {
        traceRange(TDPMMU_TRACE_UNMAP_GFN_RANGE, start, end, flush: flush.isOwed)
        forEachRoot(.all(in: addressSpace)) {
            zapLeafs($0, start: start, end: end, canYield: mayBlock, &hold, owing: &flush)
        }
        traceReturn(TDPMMU_TRACE_UNMAP_GFN_RANGE_RET, flush.isOwed)
    }

    /// Every root, valid or not, then the flush.
    @inline(never)
    package func zapAll(_ hold: inout HeldForWrite) {
        trace(TDPMMU_TRACE_ZAP_ALL)
        var flush = OwedFlush()
        forEachRoot(.all) { zapRoot($0, &hold, owing: &flush) }
        flush.forgo(because: "everything is flushed, whatever was found")
        flushAll()
    }

    /// Zaps exactly this table, if its parent entry still points to it.
    @inline(never)
    package func zapTable(_ table: Table, _ hold: borrowing HeldForWrite) -> Bool {
        trace(TDPMMU_TRACE_ZAP_SP) {
            $0.sp = tdpmmu_trace_sp(sp: UInt64(table.word), spt: table.address, gfn: table.gfn.raw)
        }
        guard let parent = table.parent else { return false }
        let old = parent.load(hold), level = table.level.above
        guard old.isTable(at: level), Table(child: old, hold) == table else { return false }
        let writer = SPTEWriter(self, hold)
        let wish = SPTEChange(
            addressSpace: table.role.addressSpace, gfn: table.gfn, level: level, old: old, new: .nonPresent)
        // RCU across the flush, as for every removal: the table must outlive it.
        return insideRCU { _ in
            var flush = OwedFlush()
            var isDone = false
            if case .made = parent.change(wish, in: writer, owing: &flush) { isDone = true }
            flush.pay { self.flush(wish.gfn, pages: level.pages) }
            return isDone
        }
    }
}
