// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

/// What a visit asks of the walk.
enum Visit {
    case next
    /// Look at the same entry again: another thread, or a CPU, changed it meanwhile.
    case again
    /// Let waiting threads have mmu_lock here, and look at the entry again.
    case giveWay
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
    /// Whether all flushes that are owed are paid before the walk gives way.  Not where only bits
    /// change: as in the kernel that is the caller's flush, whatever came in between.
    var paysBeforeYielding = true
}

/// The walk that all range operations share:
///   1. enter RCU, and stand on the entry of the root that covers the range's start;
///   2. if a thread waits for mmu_lock, or the rig says so, and the walk has come forward since it
///      last gave way (and, where the range says so, stands on a leaf): pay all flushes that are owed (if the range says so), leave RCU, let go
///      of the lock; take them again, start over from the root at the gfn where the walk wanted to go, and go on with 2;
///   3. else visit the entry.  It says how to go on: next, again (the same entry, from 2), give way
///      (as in 2, asked by nobody), or stop;
///      Where nobody asks for single entries (SPTEWriter.worksByRow), an operation may take what is left of
///      a table of 4K leaves at once: one question about giving way, at most 512 entries late;
///   4. next: step down if a table is there now, else aside, else up, and go on with 2;
///   5. past the range's end, or at stop: pay what is owed for tables that were unlinked, and
///      leave RCU.  What else is owed is the caller's.
/// A walk that never gives way has no step 2, and is inside its caller's RCU reader; of several in one
/// reader (zapRoot()) the caller does what step 5 says, once for all.
extension SPTEWriter {
    /// One that never gives way.  False if a visit stopped it.
    @inline(__always)
    @discardableResult
    func walk(
        _ root: Table, _ range: WalkRange, owing flush: inout OwedFlush, _ rcu: borrowing InsideRCU, byRow: Bool = false,
        rows: (SPTERow, inout OwedFlush, borrowing InsideRCU) -> Visit = { _, _, _ in .next },
        _ visit: (inout tdp_iter, inout OwedFlush, borrowing InsideRCU) -> Visit
    ) -> Bool {
        var iter = tdp_iter()
        begin(&iter, root, range, rcu)
        while iter.valid && iter.atGFN < range.end {
            let visited = byRow && iter.level == 1 ? takeRow(&iter, range, &flush, rcu, rows) : visit(&iter, &flush, rcu)
            if visited == .stop { break }
            if visited != .again { iter.next(rcu) }
        }
        payForTables(range, &flush, rcu)
        return !(iter.valid && iter.atGFN < range.end)
    }

    /// One that gives way, unless `canYield` says otherwise.
    @inline(__always)
    @discardableResult
    func walk<Hold: LockHold & ~Copyable>(
        _ root: borrowing RootReference, _ range: WalkRange, _ hold: inout Hold, canYield: Bool = true,
        owing flush: inout OwedFlush, byRow: Bool = false,
        rows: (SPTERow, inout OwedFlush, borrowing InsideRCU) -> Visit = { _, _, _ in .next },
        _ visit: (inout tdp_iter, inout OwedFlush, borrowing InsideRCU) -> Visit
    ) -> Bool {
        let table = root.table
        return insideRCU { rcu in
            let isWhole = walk(table, range, &hold, &rcu, canYield: canYield, owing: &flush, byRow: byRow, rows: rows, visit)
            payForTables(range, &flush, rcu)
            return isWhole
        }
    }

    /// The same as one of several in one reader, which giving way leaves and enters again: the caller
    /// pays for tables, and has a reference to the root.
    @inline(__always)
    @discardableResult
    func walk<Hold: LockHold & ~Copyable>(
        _ root: Table, _ range: WalkRange, _ hold: inout Hold, _ rcu: inout InsideRCU, canYield: Bool = true,
        owing flush: inout OwedFlush, byRow: Bool = false,
        rows: (SPTERow, inout OwedFlush, borrowing InsideRCU) -> Visit = { _, _, _ in .next },
        _ visit: (inout tdp_iter, inout OwedFlush, borrowing InsideRCU) -> Visit
    ) -> Bool {
        var iter = tdp_iter()
        begin(&iter, root, range, rcu)
        // Looked up once in a walk, not at each entry.
        let asksRig = vm.rig.areAskedToYield
        while iter.valid && iter.atGFN < range.end {
            // One place where the walk comes forward, which is much code.
            var visited = Visit.next
            if canYield && (!range.yieldsAtLeavesOnly || iter.isAtLeaf || byRow)
                && yieldIfWanted(&iter, range, &flush, asksRig, &hold, &rcu) {
                vm.traceRestart(GFN(iter.next_last_level_gfn), yielded: GFN(iter.yielded_gfn))
            } else if byRow && iter.level == 1 {
                visited = takeRow(&iter, range, &flush, rcu, rows)
            } else {
                visited = visit(&iter, &flush, rcu)
                if visited == .giveWay {
                    yield(&iter, range, &flush, &hold, &rcu)
                    vm.traceRestart(GFN(iter.next_last_level_gfn), yielded: GFN(iter.yielded_gfn))
                }
            }
            if visited == .stop { break }
            if visited != .again { iter.next(rcu) }
        }
        return !(iter.valid && iter.atGFN < range.end)
    }

    /// A walk never unlinks a table that reaches out of its range.
    @inline(__always)
    private func payForTables(_ range: WalkRange, _ flush: inout OwedFlush, _ rcu: borrowing InsideRCU) {
        flush.payForTables(rcu) { vm.flush(range.start, pages: range.end.raw &- range.start.raw) }
    }

    /// What is left of a table of 4K leaves, at once: the walk stands on its last entry then.
    @inline(__always)
    private func takeRow(
        _ iter: inout tdp_iter, _ range: WalkRange, _ flush: inout OwedFlush, _ rcu: borrowing InsideRCU,
        _ rows: (SPTERow, inout OwedFlush, borrowing InsideRCU) -> Visit
    ) -> Visit {
        let visited = rows(iter.row(until: range.end), &flush, rcu)
        if visited != .stop { iter.passRow(until: range.end) }
        return visited
    }

    @inline(__always)
    private func begin(_ iter: inout tdp_iter, _ root: Table, _ range: WalkRange, _ rcu: borrowing InsideRCU) {
        iter.start(root: root, minLevel: range.minLevel, from: range.start, rcu)
        if vm.traces(TDPMMU_TRACE_ITER_START) { vm.traceWalk(root, from: range.start, minLevel: range.minLevel) }
    }

    /// The walk that gives way, under several roots.
    @inline(__always)
    func walkRoots<Hold: LockHold & ~Copyable>(
        _ filter: RootFilter, _ range: WalkRange, _ hold: inout Hold, owing flush: inout OwedFlush, byRow: Bool = false,
        rows: (SPTERow, inout OwedFlush, borrowing InsideRCU) -> Visit = { _, _, _ in .next },
        _ visit: (inout tdp_iter, inout OwedFlush, borrowing InsideRCU) -> Visit
    ) {
        var goesOn = true
        vm.forEachRoot(filter) { root in
            if goesOn { goesOn = walk(root, range, &hold, owing: &flush, byRow: byRow, rows: rows, visit) }
        }
    }

    /// The walk that does not, under several roots.
    @inline(__always)
    func walkRoots(
        _ filter: RootFilter, _ range: WalkRange, owing flush: inout OwedFlush, byRow: Bool = false,
        rows: (SPTERow, inout OwedFlush, borrowing InsideRCU) -> Visit = { _, _, _ in .next },
        _ visit: (inout tdp_iter, inout OwedFlush, borrowing InsideRCU) -> Visit
    ) {
        var goesOn = true
        insideRCU { rcu in
            vm.forEachRoot(filter, rcu) { root, rcu in
                if goesOn { goesOn = walk(root, range, owing: &flush, rcu, byRow: byRow, rows: rows, visit) }
            }
        }
    }
}

/// Giving way.
extension SPTEWriter {
    /// Lets waiting threads have mmu_lock, if there are any and the walk has come forward
    /// since it last yielded; else it could yield for ever at one place.
    @inline(__always)
    private func yieldIfWanted<Hold: LockHold & ~Copyable>(
        _ iter: inout tdp_iter, _ range: WalkRange, _ flush: inout OwedFlush, _ asksRig: Bool, _ hold: inout Hold, _ rcu: inout InsideRCU
    ) -> Bool {
        guard iter.next_last_level_gfn != iter.yielded_gfn else { return false }
        guard vm.lock.needBreak || asksRig && vm.rig.wantYield(at: iter) else { return false }
        yield(&iter, range, &flush, &hold, &rcu)
        return true
    }

    /// The same for a walk that a caller steps itself.
    @inline(never)
    func yieldOutside<Hold: LockHold & ~Copyable>(
        _ iter: inout tdp_iter, _ flush: inout OwedFlush, _ hold: inout Hold, _ rcu: inout InsideRCU
    ) -> Bool {
        let range = WalkRange(minLevel: .page4K, start: GFN(0), end: vm.gfnLimit)
        return yieldIfWanted(&iter, range, &flush, vm.rig.areAskedToYield, &hold, &rcu)
    }

    @inline(__always)
    private func yield<Hold: LockHold & ~Copyable>(
        _ iter: inout tdp_iter, _ range: WalkRange, _ flush: inout OwedFlush, _ hold: inout Hold, _ rcu: inout InsideRCU
    ) {
        if range.paysBeforeYielding { flush.payNow(rcu) { vm.flushAll() } }
        letOthers(&hold, &rcu)
        iter.yielded = true
    }

    @inline(never)
    private func letOthers<Hold: LockHold & ~Copyable>(_ hold: inout Hold, _ rcu: inout InsideRCU) {
        count(.yields)
        handInSums()
        rcu.leave {
            takeStrays()
            vm.see(.givesWay, "mmu_lock")
            hold.giveWay(vm.lock) { vm.rig.yielded() }
            vm.see(.isBack, "mmu_lock")
        }
    }
}
