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
        var iter = tdp_iter(root: root, minLevel: range.minLevel, from: range.start)
        if vm.traces(TDPMMU_TRACE_ITER_START) { vm.traceWalk(root, iter) }
        // Looked up once in a walk, not at each entry.
        let asksRig = vm.rig.areAskedToYield
        while iter.valid && iter.atGFN < range.end {
            if canYield && yieldIfWanted(&iter, &flush, asksRig) {
                vm.traceRestart(GFN(iter.next_last_level_gfn), yielded: GFN(iter.yielded_gfn))
                iter.next()
                continue
            }
            let visited = visit(&iter)
            if visited == .nextAndFlush { flush = true }
            if visited == .stop { break }
            if visited != .again { iter.next() }
        }
        rcuReadUnlock()
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
        guard vm.lock.needBreak || asksRig && vm.rig.wantYield(at: iter) else { return false }
        yieldLock(&flush)
        iter.yielded = true
        return true
    }

    /// As yieldIfWanted() for the rig alone, in the middle of a visit, forward or not; nothing may
    /// wait for a flush.
    @inline(never)
    func yieldIfRigWants(_ iter: inout tdp_iter) -> Bool {
        guard vm.rig.wantYieldHere(iter) else { return false }
        var flush = false
        yieldLock(&flush)
        iter.yielded = true
        vm.traceRestart(GFN(iter.next_last_level_gfn), yielded: GFN(iter.yielded_gfn))
        return true
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
            vm.rig.yielded()
            _ = vm.lock.readLock()
        case .exclusive:
            _ = vm.lock.writeUnlock()
            vm.rig.yielded()
            _ = vm.lock.writeLock()
        }
        rcuReadLock()
    }
}
