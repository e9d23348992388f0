// SPDX-License-Identifier: GPL-2.0-only
import PageTable
import Sync

/// Tables that stand in for a huge page which must not be executed: listed until they are zapped,
/// so that the page may be huge again.
extension VM {
    /// Lists a table that was linked marked, unless it is being removed already.
    func listNXSplit(_ table: Table) {
        locked(.pages) {
            // Again, under the lock: a zap may have been here since the link.
            guard table.isNXSplit, !table.isNXListed else { return }
            let last = memory.pointee.pages.lastNXSplit
            table.isNXListed = true
            table.nxNext = nil
            table.nxPrevious = last
            if let last { last.nxNext = table } else { memory.pointee.pages.firstNXSplit = table }
            memory.pointee.pages.lastNXSplit = table
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
            if let previous { previous.nxNext = next } else { memory.pointee.pages.firstNXSplit = next }
            if let next { next.nxPrevious = previous } else { memory.pointee.pages.lastNXSplit = previous }
            counters.add(.nxSplits, -1, exclusive: false)
        }
    }
}
