// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU

/// Why a table is put in, and from whose pages it is made.
struct TableLink {
    /// The vCPU whose fault it is; nil for an operation on the whole VM.
    var vcpu: VCPU?
    /// It stands in for a huge page that a fetch may not have.
    var isNXSplit = false
    /// And a huge page could be there again, once the guest no longer executes from it.
    var isNXRecoverable = false
}

enum LinkResult {
    /// The table is there.
    case linked
    /// Another thread changed the entry first.
    case lost
    case noMemory
    /// The change is illegal: warned, not made.
    case refused
}

extension SPTEWriter {
    /// Puts a table where nothing or a huge leaf stands.
    @inline(__always)
    func linkTable(_ link: TableLink, _ iter: inout some StandsOnEntry, _ rcu: borrowing InsideRCU) -> LinkResult {
        iter.withPlace { linkTable(link, at: &$0, rcu) }
    }

    @inline(never)
    private func linkTable(_ link: TableLink, at iter: inout EntryPlace, _ rcu: borrowing InsideRCU) -> LinkResult {
        let role = Table(of: iter.slot).role.child, huge = iter.old
        let first = huge.isPresent ? vm.masks.splitChild(of: huge, at: iter.atLevel, executable: vm.nxHugePages) : nil
        guard let new = vm.takeTable(link.vcpu, role: role, gfn: iter.atGFN, parent: iter.slot, first: first)
        else { return .noMemory }
        // Marked before it is visible: a fault that finds it (standsForNXHugePage()) must know that it
        // has to stay.
        if link.isNXSplit { new.table.isNXSplit = true }
        var flush = OwedFlush()
        let result = set(&iter, vm.masks.table(at: new.table.address), owing: &flush)
        flush.forgo(because: "the children map what the huge leaf did, and nothing less")
        guard result == .done else {
            vm.returnTable(link.vcpu, new)
            return result == .lost ? .lost : .refused
        }
        let table = new.linked()
        if huge.isPresent {
            if vm.traces(TDPMMU_TRACE_SPLIT_HUGE_PAGE) { vm.traceSplit(iter.atGFN, iter.atLevel, huge) }
            countLeaves(at: iter.atLevel.below, Int64(entriesPerTable))
            count(.splits)
        }
        if link.isNXSplit && link.isNXRecoverable { vm.listNXSplit(table) }
        return .linked
    }
}
