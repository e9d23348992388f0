// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// Huge pages that must not be executed: a fetch gets a table in their place,
/// which is listed and zapped later, so that the page may be huge again.
extension VM {
    /// Lists a table that was linked marked, unless it is being removed already.
    func listNXSplit(_ table: Table) {
        locked(.pages) {
            // Again, under the lock: a zap may have been here since the link.
            guard table.isNXSplit, !table.isNXListed else { return }
            let last = Table(word: lastNXSplit.pointee)
            table.isNXListed = true
            table.nxNext = nil
            table.nxPrevious = last
            if let last { last.nxNext = table } else { firstNXSplit.pointee = table.word }
            lastNXSplit.pointee = table.word
            counters.add(.nxSplits, 1, exclusive: false)
        }
    }

    /// A table is on its way out, or need not be zapped: it leaves the list for good.
    func forgetNXSplit(_ table: Table) {
        // Only a fault marks, before it links; an unmarked table never is listed.
        guard table.isNXSplit else { return }
        locked(.pages) {
            table.isNXSplit = false
            guard table.isNXListed else { return }
            table.isNXListed = false
            let next = table.nxNext, previous = table.nxPrevious
            if let previous { previous.nxNext = next } else { firstNXSplit.pointee = next?.word ?? 0 }
            if let next { next.nxPrevious = previous } else { lastNXSplit.pointee = previous?.word ?? 0 }
            counters.add(.nxSplits, -1, exclusive: false)
        }
    }

    package func setNXHugePages(_ on: Bool) {
        withSlotsLocked { held in
            // Decided before the zap: faults from here on map as they should.
            if state.pointee.nxHugePages.exchange(on, ordering: .acquiringAndReleasing) != on { zapAllFast(held) }
        }
        wakeNXRecovery()
    }

    /// One step of recovery: up to 1/ratio of the listed tables, oldest first.
    @inline(never)
    package func recoverNXSplits(ratio: Int64) -> Int32 {
        lock.write { hold in zapNXSplits(ratio: ratio, &hold) } ?? 0
    }

    /// Others get mmu_lock in between if they want it.  One flush for all the tables of a hold,
    /// before RCU is left.
    func zapNXSplits(ratio: Int64, _ hold: inout HeldForWrite) -> Int32 {
        insideRCU { rcu in
            var zapped: Int32 = 0, flush = OwedFlush()
            var budget = (total(.nxSplits) + ratio - 1) / ratio
            while budget > 0, let table = Table(word: locked(.pages) { firstNXSplit.pointee }) {
                budget -= 1
                // The log wants 4K pages there: a huge one would be split again at once.
                if !isLogged(table, rcu) && zapTable(table, hold, rcu, owing: &flush) {
                    zapped += 1
                } else {
                    forgetNXSplit(table)
                }
                if lock.needBreak {
                    flush.payNow { flushAll() }
                    rcu.leave { hold.giveWay(lock) { rig.yielded() } }
                }
            }
            flush.pay { flushAll() }
            return zapped
        }
    }

    private func isLogged(_ table: Table, _ rcu: borrowing InsideRCU) -> Bool {
        guard state.pointee.loggedSlots.load(ordering: .relaxed) != 0 else { return false }
        return slot(holding: table.gfn, addressSpace: table.role.addressSpace, rcu)?.isDirtyLogged ?? false
    }
}
