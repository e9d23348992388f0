// SPDX-License-Identifier: GPL-2.0-only
import PageTable
import RCU
import Sync
import Synchronization

/// Recovery: tables that stand in for huge pages are zapped.
extension VM {
    /// One step of recovery: up to one in `part` of the listed tables, oldest first.
    @inline(never)
    package func recoverNXSplits(oneIn part: Int64) -> Int32 {
        lock.write { hold in zapNXSplits(oneIn: part, &hold) } ?? 0
    }

    /// Waiting threads get mmu_lock in between.  One flush for all the tables of a hold,
    /// before RCU is left.
    func zapNXSplits(oneIn part: Int64, _ hold: inout HeldForWrite) -> Int32 {
        insideRCU { rcu in
            var zapped: Int32 = 0, flush = OwedFlush()
            var budget = (total(.nxSplits) &+ part &- 1) / part
            while budget > 0, let table = locked(.pages, { memory.pointee.pages.firstNXSplit }) {
                budget -= 1
                // The log wants 4K pages there: a huge one would be split again at once.
                if !isLogged(table, rcu) && zapTable(table, hold, rcu, owing: &flush) {
                    zapped += 1
                } else {
                    forgetNXSplit(table)
                }
                if lock.needBreak {
                    flush.payNow(rcu) { flushAll() }
                    rcu.leave {
                        see(.givesWay, "mmu_lock")
                        hold.giveWay(lock) { rig.yielded() }
                        see(.isBack, "mmu_lock")
                    }
                }
            }
            flush.pay { flushAll() }
            return zapped
        }
    }

    private func isLogged(_ table: Table, _ rcu: borrowing InsideRCU) -> Bool {
        guard memory.pointee.slots.logged.load(ordering: .relaxed) != 0 else { return false }
        return slot(holding: table.gfn, addressSpace: table.role.addressSpace, rcu)?.isDirtyLogged ?? false
    }
}
