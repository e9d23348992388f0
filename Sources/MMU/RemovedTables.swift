// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// Tables that a removal cut off, chained until they are handed to RCU.
private struct Strays {
    var first: Table?
    var count: Int64 = 0

    mutating func add(_ table: Table) {
        table.nextStray = first
        first = table
        count += 1
    }
}

extension Actor {
    /// A table entry is gone: freeze all that was below it, and free the tables after a grace
    /// period.  A walker inside must find frozen entries.  The caller is inside RCU and stays
    /// there until it has flushed: no CPU may use a translation through freed memory.
    @inline(never)
    func removeSubtree(_ change: SPTEChange) {
        var strays = Strays()
        detach(Table(child: change.old), change.addressSpace, &strays)
        count(.strays, strays.count)
        while let table = strays.first {
            strays.first = table.nextStray
            callRCU(table.rcuHead, freeTable)
        }
    }

    private func detach(_ table: Table, _ addressSpace: Int32, _ strays: inout Strays) {
        let level = table.level
        vm.tracePage(TDPMMU_TRACE_PREPARE_ZAP_PAGE, table)
        vm.forgetNXSplit(table)
        for index in 0..<entriesPerTable {
            guard let old = freeze(table[index], at: level) else { continue }
            record(SPTEChange(
                addressSpace: addressSpace, gfn: table.gfn + UInt64(index) &* level.pages,
                level: level, old: old, new: .frozen))
            if old.isTable(at: level) { detach(Table(child: old), addressSpace, &strays) }
        }
        strays.add(table)
    }

    /// Returns what was there, or nil if there was nothing to freeze.
    @inline(__always)
    private func freeze(_ slot: SPTESlot, at level: Level) -> SPTE? {
        switch mode {
        case .shared:
            // Others may still be changing entries of this table: take each from
            // them.  An entry they hold frozen is theirs until they let go.
            while true {
                let old = slot.exchange(.frozen)
                if !old.isFrozen { return old }
                cp_cpu_relax()
            }
        case .exclusive:
            let old = slot.load()
            guard old.isPresent else { return nil }
            if old.isLeaf(at: level) && vm.masks.hasVolatileBits(old) { return slot.exchange(.frozen) }
            slot.store(.frozen)
            return old
        }
    }
}

/// The end of a grace period, for a table or a root.
let freeTable: @convention(c) (UnsafeMutablePointer<rcu_head>?) -> Void = { head in
    let table = Table(rcuHead: head.unsafelyUnwrapped)
    let vm = VM(table.header.pointee.kvm.unsafelyUnwrapped)
    vm.counters.add(.strays, -1, exclusive: false)
    vm.trace(TDPMMU_TRACE_FREE_SP_RCU) { $0.sp.sp = UInt64(UInt(bitPattern: head)) }
    vm.releaseTable(table)
}

extension VM {
    /// Tables that exist, strays included.
    package var tablesAlive: UInt64 { state.pointee.tablesTaken.load(ordering: .relaxed) }

    /// Takes a page into use, from the vCPU's cache or, without one, from the
    /// arena; nil if the limit is reached or memory used up.
    @inline(__always)
    func takeTable(_ vcpu: VCPU?, role: Role, gfn: GFN, parent: SPTESlot?) -> Table? {
        let limit = state.pointee.config.tableLimit
        let taken = state.pointee.tablesTaken.wrappingAdd(1, ordering: .relaxed).newValue
        if limit == 0 || taken <= limit,
           let table = vcpu.map({ $0.cache.take() }) ?? TableArena.take(count: 1) {
            table.becomeTable(owner: UInt(bitPattern: kvm), role: role, gfn: gfn, parent: parent)
            if traces(TDPMMU_TRACE_GET_PAGE) { tracePage(TDPMMU_TRACE_GET_PAGE, table, created: true) }
            return table
        }
        state.pointee.tablesTaken.wrappingSubtract(1, ordering: .relaxed)
        return nil
    }

    /// A table that nobody ever saw goes back to where it came from.
    func returnTable(_ vcpu: VCPU?, _ table: Table) {
        table.retire()
        if let vcpu { vcpu.cache.putBack(table) } else { TableArena.give(table) }
        state.pointee.tablesTaken.wrappingSubtract(1, ordering: .relaxed)
    }

    /// A table after its grace period goes back to the arena.
    func releaseTable(_ table: Table) {
        table.retire()
        TableArena.give(table)
        state.pointee.tablesTaken.wrappingSubtract(1, ordering: .relaxed)
    }
}
