// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Synchronization

/// Where tables come from and where they go.
extension VM {
    /// Tables that exist, strays included.
    package var tablesAlive: UInt64 { memory.pointee.tables.taken.load(ordering: .relaxed) }

    /// Takes a page into use, from the vCPU's cache or, without one, from the
    /// arena; nil if the limit is reached or memory used up.  `first`: of its entries, which map one another's
    /// sequel; else they hold nothing.
    @inline(__always)
    func takeTable(_ vcpu: VCPU?, role: Role, gfn: GFN, parent: SPTESlot?, first: SPTE? = nil) -> UnlinkedTable? {
        let limit = state.pointee.config.tableLimit
        let taken = memory.pointee.tables.taken.wrappingAdd(1, ordering: .relaxed).newValue
        if limit == 0 || taken <= limit,
           let page = vcpu.map({ $0.cache.take() }) ?? TableArena.take(count: 1) {
            let table = UnlinkedTable(
                page, owner: UInt(bitPattern: kvm), role: role, gfn: gfn, parent: parent, first: first)
            if traces(TDPMMU_TRACE_GET_PAGE) { tracePage(TDPMMU_TRACE_GET_PAGE, table.table, created: true) }
            return table
        }
        memory.pointee.tables.taken.wrappingSubtract(1, ordering: .relaxed)
        return nil
    }

    /// No way down leads to a table any more: it is freed after a grace period.
    func handToRCU(_ table: Table) {
        see(.handedToRCU, table)
        callRCU(table.rcuHead, freeTable)
    }

    /// A table that was not linked goes back to where it came from.
    func returnTable(_ vcpu: VCPU?, _ table: consuming UnlinkedTable) {
        let page = table.retired()
        see(.freed, page)
        if let vcpu { vcpu.cache.putBack(page) } else { TableArena.give(page) }
        memory.pointee.tables.taken.wrappingSubtract(1, ordering: .relaxed)
    }

    /// A table after its grace period goes back to the arena.
    fileprivate func releaseTable(_ table: Table) {
        table.retire()
        TableArena.give(table)
        memory.pointee.tables.taken.wrappingSubtract(1, ordering: .relaxed)
        tableMoved()
    }

    /// A grace period is over, and a table goes back, or a caller takes or gives one: until that is done the counts
    /// do not agree.
    func tableMoves() {
        // Acquire and release: pairs with whileNoTableMoves(); what is counted below comes after it.
        memory.pointee.tables.moves.wrappingAdd(1 &<< 32 | 1, ordering: .acquiringAndReleasing)
    }

    func tableMoved() {
        // Release: pairs with whileNoTableMoves(); who sees it sees all that was counted before.
        memory.pointee.tables.moves.wrappingSubtract(1, ordering: .releasing)
    }
}

/// The end of a grace period, for a table or a root.
let freeTable: @convention(c) (UnsafeMutablePointer<rcu_head>?) -> Void = { head in
    let table = Table(rcuHead: head.unsafelyUnwrapped)
    let vm = VM(UnsafeMutablePointer<kvm>(bitPattern: table.ownerAddress).unsafelyUnwrapped)
    vm.tableMoves()
    vm.counters.add(.strays, -1, exclusive: false)
    vm.trace(TDPMMU_TRACE_FREE_SP_RCU) { $0.sp.sp = UInt64(UInt(bitPattern: head)) }
    vm.see(.freed, table, flag: true)
    vm.releaseTable(table)
}
