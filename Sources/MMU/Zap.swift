// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

extension VM {
    /// What of [start, end) can hold SPTEs; nil if nothing can.  An empty range is walked as in Linux: a huge leaf around
    /// it is in it.
    private func clamped(_ start: GFN, _ end: GFN, minLevel: Level = .page4K) -> WalkRange? {
        let range = WalkRange(minLevel: minLevel, start: start, end: min(end, gfnLimit))
        return start <= range.end && start < gfnLimit ? range : nil
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
        let writer = SPTEWriter(self, hold), table = root.table, byRow = writer.worksByRow
        traceRoot(
            TDPMMU_TRACE_ZAP_LEAFS, table, start: range.start, end: range.end, canYield: canYield, flush: flush.isOwed)
        // Nothing is owed on an invalid one's account, but what other roots owe is paid before its walk gives way, too.
        flush.addingNothing(if: table.role.isInvalid, because: "no CPU runs on an invalid root") { flush in
            writer.walk(
                root, range, &hold, canYield: canYield, owing: &flush, byRow: byRow,
                rows: { row, flush, rcu in empty(row, writer, rcu, owing: &flush) }
            ) { iter, flush, rcu in
                if iter.isAtLeaf { _ = writer.set(&iter, .nonPresent, owing: &flush) }
                return .next
            }
        }
        traceReturn(TDPMMU_TRACE_ZAP_LEAFS_RET, flush.isOwed)
    }

    /// The leaves of a row.
    @inline(__always)
    private func empty(
        _ row: SPTERow, _ writer: SPTEWriter, _ rcu: borrowing InsideRCU, owing flush: inout OwedFlush
    ) -> Visit {
        _ = row.change(RowChange(leaving: .nonPresent), in: writer, rcu, owing: &flush)
        return .next
    }

    /// Everything below one root.  In passes from the lowest level up, so that no step under the
    /// lock has more than one table's work.  One flush for all of them, before RCU is left; none
    /// for an invalid root.
    @inline(never)
    package func zapRoot<Hold: LockHold & ~Copyable>(_ root: borrowing RootReference, _ hold: inout Hold) {
        let table = root.table
        traceRoot(TDPMMU_TRACE_ZAP_ROOT, table, shared: hold.mode == .shared)
        insideRCU { rcu in
            var flush = owedFlush(for: table)
            zapRoot(table, upTo: .page4K, &hold, &rcu, owing: &flush)
            zapRoot(table, upTo: .page2M, &hold, &rcu, owing: &flush)
            zapRoot(table, upTo: .page1G, &hold, &rcu, owing: &flush)
            zapRoot(table, upTo: table.level, &hold, &rcu, owing: &flush)
            flush.pay { flushAll() }
        }
    }

    @inline(never)
    private func zapRoot<Hold: LockHold & ~Copyable>(
        _ root: Table, upTo level: Level, _ hold: inout Hold, _ rcu: inout InsideRCU, owing flush: inout OwedFlush
    ) {
        traceRoot(TDPMMU_TRACE_ZAP_ROOT_LEVEL, root, level: level, shared: hold.mode == .shared)
        let writer = SPTEWriter(self, hold)
        let isAlone = hold.mode == .shared && root.role.isInvalid && writer.worksByRow && beginAlone()
        (isAlone ? SPTEWriter(underInvalidRoot: self) : writer).summing {
            zapRoot(root, upTo: level, $0, &hold, &rcu, owing: &flush)
        }
        if isAlone { endAlone() }
    }

    @inline(__always)
    private func zapRoot<Hold: LockHold & ~Copyable>(
        _ root: Table, upTo level: Level, _ writer: SPTEWriter, _ hold: inout Hold, _ rcu: inout InsideRCU,
        owing flush: inout OwedFlush
    ) {
        let range = WalkRange(minLevel: level, start: GFN(0), end: gfnLimit)
        writer.walk(
            root, range, &hold, &rcu, owing: &flush, byRow: level == .page4K && writer.worksByRow,
            rows: { row, flush, rcu in empty(row, writer, rcu, owing: &flush) }
        ) { iter, flush, rcu in
            guard iter.old.isPresent, iter.atLevel <= level else { return .next }
            return writer.set(&iter, .nonPresent, owing: &flush) == .lost ? .again : .next
        }
    }

    /// May a pass have all below an invalid root to itself?  Under mmu_lock.
    private func beginAlone() -> Bool {
        if mayBeRebuilding { return false }
        // Sequentially consistent, both: pairs with isSomebodyAlone, so that of the two one sees the other.
        memory.pointee.tables.alone.wrappingAdd(1, ordering: .sequentiallyConsistent)
        if memory.pointee.tables.callersChange.load(ordering: .sequentiallyConsistent) == 0 { return true }
        endAlone()
        return false
    }

    /// Release: pairs with the load in isSomebodyAlone.
    private func endAlone() { memory.pointee.tables.alone.wrappingSubtract(1, ordering: .releasing) }

    /// What a walk under a root owes.  The CPUs were made to leave an invalid root (VCPURequests.swift).
    private func owedFlush(for root: Table) -> OwedFlush {
        root.role.isInvalid ? OwedFlush(neverBecause: "no CPU runs on an invalid root") : OwedFlush()
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

    /// Every root, valid or not.
    @inline(never)
    package func zapAll(_ hold: inout HeldForWrite) {
        trace(TDPMMU_TRACE_ZAP_ALL)
        forEachRoot(.all) { zapRoot($0, &hold) }
    }

    /// Zaps exactly this table, if its parent entry still points to it.
    @inline(never)
    func zapTable(
        _ table: Table, _ hold: borrowing HeldForWrite, _ rcu: borrowing InsideRCU, owing flush: inout OwedFlush
    ) -> Bool {
        trace(TDPMMU_TRACE_ZAP_SP) {
            $0.sp = tdpmmu_trace_sp(sp: UInt64(table.word), spt: table.address, gfn: table.gfn.raw)
        }
        guard let parent = table.parent else { return false }
        let old = parent.load(rcu), level = table.level.above
        guard old.isTable(at: level), Table(child: old, rcu) == table else { return false }
        let wish = SPTEChange(
            addressSpace: table.role.addressSpace, gfn: table.gfn, level: level, old: old, new: .nonPresent)
        if case .made = parent.change(wish, in: SPTEWriter(self, hold), owing: &flush) { return true }
        return false
    }

    /// The same, and the CPUs forget what it mapped.
    package func zapTableAndFlush(_ table: Table, _ hold: borrowing HeldForWrite) -> Bool {
        insideRCU { rcu in
            var flush = OwedFlush()
            let isZapped = zapTable(table, hold, rcu, owing: &flush)
            flush.pay { self.flush(table.gfn, pages: table.level.above.pages) }
            return isZapped
        }
    }
}
