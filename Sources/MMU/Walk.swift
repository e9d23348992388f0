// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

/// What a visit asks of the walk.
enum Visit {
    case next
    /// Go on, and a flush is pending from here.
    case nextAndFlush
    /// Go on, and a flush is pending that the walk itself serves before it leaves RCU: a table was
    /// unlinked, and no CPU may use a translation through freed memory.
    case nextAndFlushInside
    /// Look at the same entry again: somebody changed it meanwhile.
    case again
    /// The walk is over.
    case stop
}

/// Which entries a walk visits.
struct WalkRange {
    var minLevel: Level
    var start: GFN
    /// Exclusive.
    var end: GFN
    /// Whether to yield is asked at present leaves, not at each entry.
    var yieldsAtLeavesOnly = false
}

extension Actor {
    /// The walk that all range operations share: every entry in the range, inside
    /// RCU, giving way to others if it may.  A pending flush is served before the
    /// lock is dropped, and then it is pending no more.  False if a visit stopped it.
    @inline(__always)
    @discardableResult
    func walk(
        _ root: Table, _ range: WalkRange, canYield: Bool, flush: inout Bool,
        _ visit: (inout tdp_iter) -> Visit
    ) -> Bool {
        rcuReadLock()
        defer { rcuReadUnlock() }
        return walkInsideRCU(root, range, canYield: canYield, flush: &flush, visit)
    }

    /// The same for several walks in one reader, which a yield leaves and enters again.
    @inline(__always)
    func walkInsideRCU(
        _ root: Table, _ range: WalkRange, canYield: Bool, flush: inout Bool,
        _ visit: (inout tdp_iter) -> Visit
    ) -> Bool {
        var unlinked = false
        var iter = tdp_iter(root: root, minLevel: range.minLevel, from: range.start)
        if vm.traces(TDPMMU_TRACE_ITER_START) { vm.traceWalk(root, iter) }
        let asksRig = isRigAsked
        while iter.valid && iter.atGFN < range.end {
            if canYield && (!range.yieldsAtLeavesOnly || iter.isAtLeaf) && yieldIfWanted(&iter, &flush, asksRig) {
                vm.traceRestart(GFN(iter.next_last_level_gfn), yielded: GFN(iter.yielded_gfn))
                unlinked = false
                iter.next()
                continue
            }
            let visited = visit(&iter)
            if visited == .nextAndFlush || visited == .nextAndFlushInside { flush = true }
            if visited == .nextAndFlushInside { unlinked = true }
            if visited == .stop { break }
            if visited != .again { iter.next() }
        }
        if unlinked { vm.flush(range.start, pages: range.end.raw &- range.start.raw) }
        return !(iter.valid && iter.atGFN < range.end)
    }

    /// The same under several roots, for operations that leave no flush pending.
    @inline(__always)
    func walkRoots(_ roots: RootFilter, _ range: WalkRange, canYield: Bool, _ visit: (inout tdp_iter) -> Visit) {
        var goesOn = true
        vm.forEachRoot(roots) { root in
            guard goesOn else { return }
            var flush = false
            goesOn = walk(root, range, canYield: canYield, flush: &flush, visit)
        }
    }

    /// Lets others have mmu_lock if they want it and the walk has come forward
    /// since it last yielded; else it could yield for ever at one place.
    @inline(__always)
    private func yieldIfWanted(_ iter: inout tdp_iter, _ flush: inout Bool, _ asksRig: Bool) -> Bool {
        guard iter.next_last_level_gfn != iter.yielded_gfn else { return false }
        guard vm.lock.needBreak || asksRig && rigWantsYield(at: iter) else { return false }
        yieldLock(&flush)
        iter.yielded = true
        return true
    }

    /// Looked up once in a walk, not at each entry.
    @inline(__always)
    private var isRigAsked: Bool {
        vm.state.pointee.config.ops.need_resched != nil || vm.state.pointee.config.ops.yield_at != nil
    }

    /// As yieldIfWanted() for the rig alone, in the middle of a visit, forward or not; nothing may
    /// wait for a flush.
    @inline(never)
    func yieldIfRigWants(_ iter: inout tdp_iter) -> Bool {
        guard isYieldPlace(iter) else { return false }
        var flush = false
        yieldLock(&flush)
        iter.yielded = true
        vm.traceRestart(GFN(iter.next_last_level_gfn), yielded: GFN(iter.yielded_gfn))
        return true
    }

    /// Not inline, and of a copy: else the iterator would live in memory in every walk.
    @inline(never)
    private func rigWantsYield(at iter: tdp_iter) -> Bool {
        let ops = vm.state.pointee.config.ops, context = vm.state.pointee.config.opsContext
        if let callback = ops.need_resched, callback(context, vm.kvm) { return true }
        return isYieldPlace(iter)
    }

    @inline(never)
    private func isYieldPlace(_ iter: tdp_iter) -> Bool {
        guard let callback = vm.state.pointee.config.ops.yield_at else { return false }
        return withUnsafePointer(to: iter) { callback(vm.state.pointee.config.opsContext, vm.kvm, $0) }
    }

    @inline(never)
    private func yieldLock(_ flush: inout Bool) {
        if flush {
            vm.flushAll()
            flush = false
        }
        count(.yields)
        rcuReadUnlock()
        switch mode {
        case .shared:
            _ = vm.lock.readUnlock()
            vm.tellYielded()
            _ = vm.lock.readLock()
        case .exclusive:
            _ = vm.lock.writeUnlock()
            vm.tellYielded()
            _ = vm.lock.writeLock()
        }
        rcuReadLock()
    }
}
