// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync

extension VM {
    /// What of [start, end) can hold SPTEs; nil if nothing can.
    private func clamped(_ start: GFN, _ end: GFN, minLevel: Level = .page4K) -> WalkRange? {
        let range = WalkRange(minLevel: minLevel, start: start, end: min(end, gfnLimit))
        return range.start < range.end ? range : nil
    }

    /// Leaves and whole tables inside [start, end).  mmu_lock for write.
    @inline(never)
    package func zapRange(
        _ root: Table, start: GFN, end: GFN, canYield: Bool, flush: inout Bool
    ) {
        guard let range = clamped(start, end) else { return }
        let actor = Actor(self, .exclusive)
        actor.walk(root, range, canYield: canYield, flush: &flush) { iter in
            guard iter.old.isPresent else { return .next }
            // A table that reaches beyond the range is entered, not removed.
            let reachesOut = iter.atGFN < range.start || range.end < iter.atGFN + iter.atLevel.pages
            if reachesOut && iter.isAtTable { return .next }
            let isTable = iter.isAtTable
            guard actor.set(&iter, .nonPresent) == .done else { return .next }
            return isTable ? .nextAndFlushInside : .nextAndFlush
        }
    }

    /// Leaves only; tables stay.  mmu_lock for write.
    @inline(never)
    package func zapLeafs(_ root: Table, start: GFN, end: GFN, canYield: Bool, flush: inout Bool) {
        guard let range = clamped(start, end) else { return }
        let actor = Actor(self, .exclusive)
        // The CPUs left an invalid root for good: nothing to flush on its account.
        let wantsFlush = !root.role.isInvalid
        traceRoot(TDPMMU_TRACE_ZAP_LEAFS, root, start: range.start, end: range.end, canYield: canYield, flush: flush)
        actor.walk(root, range, canYield: canYield, flush: &flush) { iter in
            guard iter.isAtLeaf, actor.set(&iter, .nonPresent) == .done, wantsFlush else { return .next }
            return .nextAndFlush
        }
        traceReturn(TDPMMU_TRACE_ZAP_LEAFS_RET, flush)
    }

    /// Everything below one root.  In passes from the lowest level up, so that no
    /// step under the lock has more than one table's work.  One flush for all of them, before RCU
    /// is left; none for an invalid root, which the CPUs were made to leave.
    @inline(never)
    package func zapRoot(_ root: Table, _ mode: LockMode) {
        traceRoot(TDPMMU_TRACE_ZAP_ROOT, root, shared: mode == .shared)
        var flush = false
        insideRCU {
            zapRoot(root, upTo: .page4K, mode, &flush)
            zapRoot(root, upTo: .page2M, mode, &flush)
            zapRoot(root, upTo: .page1G, mode, &flush)
            zapRoot(root, upTo: root.level, mode, &flush)
            if flush { flushAll() }
        }
    }

    @inline(never)
    private func zapRoot(_ root: Table, upTo level: Level, _ mode: LockMode, _ flush: inout Bool) {
        let actor = Actor(self, mode)
        let wantsFlush = !root.role.isInvalid
        traceRoot(TDPMMU_TRACE_ZAP_ROOT_LEVEL, root, level: level, shared: mode == .shared)
        let range = WalkRange(minLevel: level, start: GFN(0), end: gfnLimit)
        _ = actor.walkInsideRCU(root, range, canYield: true, flush: &flush) { iter in
            guard iter.old.isPresent, iter.atLevel <= level else { return .next }
            switch actor.set(&iter, .nonPresent) {
            case .lost: return .again
            case .refused: return .next
            case .done: return wantsFlush ? .nextAndFlush : .next
            }
        }
    }

    /// zap_gfn_range() under every valid root.  Returns whether a flush is pending.
    @inline(never)
    package func zapRange(start: GFN, end: GFN) -> Bool {
        var flush = false
        forEachRoot(.valid) { zapRange($0, start: start, end: end, canYield: true, flush: &flush) }
        return flush
    }

    @inline(never)
    package func zapLeafs(start: GFN, end: GFN, flush pending: Bool) -> Bool {
        var flush = pending
        traceRange(TDPMMU_TRACE_KVM_ZAP_LEAFS, start, end, flush: pending)
        forEachRoot(.valid) { zapLeafs($0, start: start, end: end, canYield: true, flush: &flush) }
        return flush
    }

    /// A memory notifier's unmap: invalid roots too, since they still hold the
    /// host's pages until they are zapped.
    @inline(never)
    package func unmapRange(
        addressSpace: Int32, start: GFN, end: GFN, mayBlock: Bool, flush pending: Bool
    ) -> Bool {
        var flush = pending
        traceRange(TDPMMU_TRACE_UNMAP_GFN_RANGE, start, end, flush: pending)
        forEachRoot(.all(in: addressSpace)) {
            zapLeafs($0, start: start, end: end, canYield: mayBlock, flush: &flush)
        }
        traceReturn(TDPMMU_TRACE_UNMAP_GFN_RANGE_RET, flush)
        return flush
    }

    /// Every root, valid or not.  mmu_lock for write.
    @inline(never)
    package func zapAll() {
        trace(TDPMMU_TRACE_ZAP_ALL)
        forEachRoot(.all) { zapRoot($0, .exclusive) }
    }
}
