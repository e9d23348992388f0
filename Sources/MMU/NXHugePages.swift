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
            guard table.isNXSplit, table.isNXListed.pointee == 0 else { return }
            let address = UInt(bitPattern: table.header), last = lastNXSplit.pointee
            table.isNXListed.pointee = 1
            table.nxNext.pointee = 0
            table.nxPrevious.pointee = last
            if let previous = nxTable(last) { previous.nxNext.pointee = address } else { firstNXSplit.pointee = address }
            lastNXSplit.pointee = address
            counters.add(.nxSplits, 1, exclusive: false)
        }
    }

    private func nxTable(_ address: UInt) -> Table? {
        UnsafeMutablePointer(bitPattern: address).map { Table($0) }
    }

    /// A table is on its way out, or need not be zapped: it leaves the list for good.
    func forgetNXSplit(_ table: Table) {
        // Only a fault marks, before it links; an unmarked table never is listed.
        guard table.isNXSplit else { return }
        locked(.pages) {
            table.isNXSplit = false
            guard table.isNXListed.pointee != 0 else { return }
            table.isNXListed.pointee = 0
            let next = table.nxNext.pointee, previous = table.nxPrevious.pointee
            if let before = nxTable(previous) { before.nxNext.pointee = next } else { firstNXSplit.pointee = next }
            if let after = nxTable(next) { after.nxPrevious.pointee = previous } else { lastNXSplit.pointee = previous }
            counters.add(.nxSplits, -1, exclusive: false)
        }
    }

    package func setNXHugePages(_ on: Bool) {
        locked(.slots) {
            // Decided before the zap: faults from here on map as they should.
            if state.pointee.nxHugePages.exchange(on, ordering: .acquiringAndReleasing) != on { zapAllFastForSlots() }
        }
        wakeNXRecovery()
    }

    /// Zaps exactly this table, if its parent entry still points to it.  mmu_lock for write; inside
    /// RCU, until the caller has flushed.
    @inline(never)
    func zapTable(_ table: Table) -> Bool {
        trace(TDPMMU_TRACE_ZAP_SP) {
            $0.sp = tdpmmu_trace_sp(sp: UInt64(UInt(bitPattern: table.header)), spt: table.address, gfn: table.gfn.raw)
        }
        guard let parent = table.header.pointee.ptep.map({ SPTESlot($0) }) else { return false }
        let old = parent.load(), level = table.level.above
        guard old.isTable(at: level), Table(child: old) == table else { return false }
        parent.store(.nonPresent)
        Actor(self, .exclusive).finish(SPTEChange(
            addressSpace: table.role.addressSpace, gfn: table.gfn, level: level, old: old, new: .nonPresent))
        return true
    }

    /// The same, and the CPUs forget what it mapped.
    package func zapTableAndFlush(_ table: Table) -> Bool {
        insideRCU {
            guard zapTable(table) else { return false }
            flush(table.gfn, pages: table.level.above.pages)
            return true
        }
    }

    /// One step of recovery: up to 1/ratio of the listed tables, oldest first.
    @inline(never)
    package func recoverNXSplits(ratio: Int64) -> Int32 {
        guard lock.writeLock() else { return 0 }
        defer { _ = lock.writeUnlock() }
        return zapNXSplits(ratio: ratio)
    }

    /// mmu_lock for write, which others get in between if they want it.  One flush for all the
    /// tables of a hold, before RCU is left.
    func zapNXSplits(ratio: Int64) -> Int32 {
        var zapped: Int32 = 0, flush = false
        rcuReadLock()
        defer {
            if flush { flushAll() }
            rcuReadUnlock()
        }
        var budget = (total(.nxSplits) + ratio - 1) / ratio
        while budget > 0, let table = nxTable(locked(.pages) { firstNXSplit.pointee }) {
            budget -= 1
            if isLogged(table) {
                // The log wants 4K pages there: a huge one would be split again at once.
                forgetNXSplit(table)
            } else if zapTable(table) {
                zapped += 1
                flush = true
            } else {
                forgetNXSplit(table)
            }
            if lock.needBreak {
                if flush { flushAll() }
                flush = false
                rcuReadUnlock()
                _ = lock.writeUnlock()
                tellYielded()
                _ = lock.writeLock()
                rcuReadLock()
            }
        }
        return zapped
    }

    private func isLogged(_ table: Table) -> Bool {
        guard state.pointee.loggedSlots.load(ordering: .relaxed) != 0 else { return false }
        return insideRCU { slot(holding: table.gfn, addressSpace: table.role.addressSpace)?.isDirtyLogged ?? false }
    }
}
