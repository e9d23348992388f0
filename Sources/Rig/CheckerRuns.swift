// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync
import Synchronization

extension VM {
    /// Of who has mmu_lock for write, or not at all.
    package func checkNow() -> Int32? {
        if let hold = lock.callersWriteHold { return check(asksHost: true, hold) }
        return checkLocked(waiting: true)
    }

    /// nil: without waiting, or at all, the lock is not to be had.
    @inline(never) @_optimize(size)
    private func checkLocked(waiting: Bool) -> Int32? {
        guard waiting ? lock.writeLock() : lock.tryWriteLock(), let hold = lock.callersWriteHold else { return nil }
        let found = check(asksHost: waiting, hold)
        lock.writeUnlock()
        return found
    }

    /// How many faults are found.
    @inline(never) @_optimize(size)
    package func check(asksHost: Bool, _ hold: borrowing HeldForWrite) -> Int32 {
        checks.pointee.made.wrappingAdd(1, ordering: .relaxed)
        let result = trySlotsLocked { held in
            var checker = Checker(self, slotsAreStill: true, asksHost: asksHost)
            checker.checkSlots(held)
            return run(&checker, hold)
        }
        if let result { return result }
        var checker = Checker(self, slotsAreStill: false, asksHost: false)
        return run(&checker, hold)
    }

    @inline(never) @_optimize(size)
    private func run(_ checker: inout Checker, _ hold: borrowing HeldForWrite) -> Int32 {
        if checker.checkRoots() {
            checker.walkRoots(hold)
            checker.compareCounts()
        }
        return checker.found
    }

    package func checkAlways(every: UInt32) {
        checks.pointee.every.store(every, ordering: .relaxed)
        afterOperations(every == 0 ? nil : { VM($0).checkAfterOperation() })
    }

    package var checkStats: tdpmmu_check_stats {
        tdpmmu_check_stats(
            operations: checks.pointee.operations.load(ordering: .relaxed), checks: checks.pointee.made.load(ordering: .relaxed),
            skipped: checks.pointee.skipped.load(ordering: .relaxed), faults: checks.pointee.faults.load(ordering: .relaxed))
    }

    /// Is the thread where it may not take mmu_lock for write: under a lock, a reader, in a callback?
    @inline(never) @_optimize(size)
    var isThreadInside: Bool {
        !LockHolds.isEmpty || LockOrder.heldLocks != LockSet() || rcuReadLockHeld() || srcu.isReadLockHeld || rig.isRunning
    }

    /// An operation has ended, or the thread has let go of mmu_lock.
    @inline(never) @_optimize(size)
    fileprivate func checkAfterOperation() {
        let every = UInt64(checks.pointee.every.load(ordering: .relaxed))
        let count = checks.pointee.operations.wrappingAdd(1, ordering: .relaxed).newValue
        guard every != 0, count % every == 0 else { return }
        if isThreadInside || checkLocked(waiting: false) == nil {
            checks.pointee.skipped.wrappingAdd(1, ordering: .relaxed)
        }
    }
}
