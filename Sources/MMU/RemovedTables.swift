// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

/// A table entry is gone.  What follows, in this order:
///   1. the table leaves the list of those that NX recovery may zap;
///   2. entry by entry: it is frozen, so that a fault that stands in the table cannot put a page
///      where no walk would find it again, and what it held is told and counted.  If that was a
///      table, the same is done with it at once, from 1;
///   3. the table is handed to RCU: walkers that stand in it find frozen entries until they go;
///   4. the change that cut it off owes a flush for a table, once for all below
///      (UnsettledChange.settle()); the walk or its caller pays it before RCU is left, since no CPU
///      may use a translation through memory that is freed.
extension SPTEWriter {
    @inline(__always)
    package func tableIsCutOff() { vm.countCutOff() }

    @inline(never)
    package func removeTable(_ change: SPTEChange) {
        // A reader of its own: the book of a change (ChangeBook) hands on no proof of one.
        insideRCU { rcu in
            summing { $0.freezeEntries(of: Table(child: change.old, rcu), change.addressSpace, rcu) }
        }
    }

    @inline(never)
    private func freezeEntries(of table: Table, _ addressSpace: Int32, _ rcu: borrowing InsideRCU) {
        let level = table.level
        vm.tracePage(TDPMMU_TRACE_PREPARE_ZAP_PAGE, table)
        vm.forgetNXSplit(table)
        if let strays, level == .page4K { return strays.pointee.add(table) }
        var flush = OwedFlush()
        if level == .page4K && worksByRow {
            freezeLeaves(of: SPTERow(from: table[0], count: entriesPerTable), rcu, owing: &flush)
        } else {
            freezeEach(of: table, addressSpace, rcu, owing: &flush)
        }
        flush.forgo(because: "the removal of the table above owes it for the whole range")
        count(.strays)
        vm.handToRCU(table)
    }

    private func freezeLeaves(of row: SPTERow, _ rcu: borrowing InsideRCU, owing flush: inout OwedFlush) {
        if mode == .exclusive && !isAlone {
            _ = row.change(RowChange(leaving: .frozen), in: self, rcu, owing: &flush)
        } else {
            row.freezeAll(in: self, alone: isAlone)
        }
    }

    private func freezeEach(
        of table: Table, _ addressSpace: Int32, _ rcu: borrowing InsideRCU, owing flush: inout OwedFlush
    ) {
        let level = table.level
        for index in 0..<entriesPerTable {
            // Under an exclusive lock nobody fills an empty entry, and most are empty by now.
            if mode == .exclusive && !isAlone && !table[index].load(rcu).isPresent { continue }
            let place = (addressSpace: addressSpace, gfn: table.gfn + UInt64(index) &* level.pages, level: level)
            table[index].freeze(place, in: self, rcu, owing: &flush)
        }
    }
}

/// Tables of 4K leaves that an operation has cut off, and whose entries nobody has taken yet.
struct StrayBatch {
    fileprivate var first: Table?
    fileprivate var count = 0

    fileprivate mutating func add(_ table: Table) {
        table.nextStray = first
        first = table
        count += 1
    }

    /// What `body` does may free the table.
    fileprivate func forEach(_ body: (Table) -> Void) {
        var next = first
        while let table = next {
            next = table.nextStray
            body(table)
        }
    }
}

extension SPTEWriter {
    /// Fewer are not worth a grace period.
    private var fewStrays: Int { 4 }

    /// What the batch holds is taken, counted and handed to RCU.  Outside RCU, or there is no grace period.
    @inline(never)
    func takeStrays() {
        guard let strays, strays.pointee.count != 0 else { return }
        let batch = strays.pointee
        let nobodyIsInside = batch.count >= fewStrays && tryGracePeriod()
        strays.pointee = StrayBatch()
        summing { writer in
            batch.forEach { table in
                SPTERow(from: table[0], count: entriesPerTable).freezeAll(in: writer, alone: nobodyIsInside)
                writer.count(.strays)
            }
        }
        // All at once: who frees them would run a grace period for every few, and each interrupts this thread.
        batch.forEach { vm.handToRCU($0) }
    }
}
