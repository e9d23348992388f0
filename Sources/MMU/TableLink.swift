// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable

/// Why a table is put in, and from whose pages it is made.
struct TableLink {
    /// The vCPU whose fault it is; nil for an operation on the whole VM.
    var vcpu: VCPU?
    /// It stands in for a huge page that a fetch may not have.
    var isNXSplit = false
    /// And a huge page could be there again, once nobody executes.
    var isNXRecoverable = false
}

extension Actor {
    /// Puts a table where nothing or a huge leaf stands; .fixed when it is there.
    @inline(never)
    func linkTable(_ link: TableLink, _ iter: inout tdp_iter) -> FaultResult {
        let parent = Table(containing: UInt(bitPattern: iter.sptep))
        guard let table = vm.takeTable(link.vcpu, role: parent.role.child, gfn: iter.atGFN, parent: iter.slot)
        else { return .noMemory }
        let huge = iter.old
        if huge.isPresent { fill(table, bySplitting: huge, at: iter.atLevel) }
        // Marked before it is visible: whoever finds it must know that it has to stay.
        if link.isNXSplit { table.isNXSplit = true }
        switch set(&iter, vm.masks.table(at: table.address)) {
        case .done:
            if huge.isPresent {
                if vm.traces(TDPMMU_TRACE_SPLIT_HUGE_PAGE) { vm.traceSplit(iter, huge) }
                countLeaves(at: iter.atLevel.below, Int64(entriesPerTable))
                count(.splits)
            }
            if link.isNXSplit && link.isNXRecoverable { vm.listNXSplit(table) }
            return .fixed
        case .lost:
            vm.returnTable(link.vcpu, table)
            return .retry
        case .refused:
            vm.returnTable(link.vcpu, table)
            return .refused
        }
    }

    /// The children map exactly what the huge leaf did, so linking them needs no flush.
    private func fill(_ table: Table, bySplitting huge: SPTE, at level: Level) {
        let executable = vm.nxHugePages
        for index in 0..<entriesPerTable {
            table[index].store(
                vm.masks.splitChild(of: huge, at: level, index: index, executable: executable))
        }
    }
}
