// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

extension VCPU {
    @inline(__always)
    private var lastSlot: UnsafeMutablePointer<LastSlot> { place(of: &memory.pointee.lastSlot) }

    /// The slot that holds gfn, looked for only if it is not the last one.  The table is one that stays, and so
    /// do its slots.
    @inline(__always)
    func slot(holding gfn: GFN, in table: SlotTable) -> SlotPointer? {
        let last = lastSlot
        if last.pointee.generation.load(ordering: .relaxed) == table.generation,
           gfn.raw &- last.pointee.base.load(ordering: .relaxed) < last.pointee.pages.load(ordering: .relaxed) {
            return SlotPointer(bitPattern: last.pointee.slot.load(ordering: .relaxed))
        }
        return lookForSlot(holding: gfn, in: table)
    }

    @inline(never)
    fileprivate func slotSought(holding gfn: GFN, in table: SlotTable) -> SlotPointer? {
        slot(holding: gfn, in: table)
    }

    @inline(never)
    private func lookForSlot(holding gfn: GFN, in table: SlotTable) -> SlotPointer? {
        guard let slot = table.slot(holding: gfn) else { return nil }
        let last = lastSlot
        last.pointee.generation.store(.max, ordering: .relaxed)
        // Release: as in remember().
        last.pointee.base.store(slot.pointee.base_gfn, ordering: .releasing)
        last.pointee.pages.store(slot.pointee.npages, ordering: .releasing)
        last.pointee.slot.store(UInt(bitPattern: slot), ordering: .releasing)
        last.pointee.generation.store(table.generation, ordering: .releasing)
        return slot
    }
}

extension SeenSlot {
    /// By a vCPU that faults.
    @inline(__always)
    init(holding gfn: GFN, in table: SlotTable, for vcpu: VCPU) {
        self.init(table: table.header, slot: vcpu.slot(holding: gfn, in: table))
    }
}

extension VM {
    /// The slot of a gfn once more, for who looked before, and is inside kvm->srcu since: the table that he saw is not
    /// freed, so that no other stands at its address, and what it said is as good as a second look.
    @inline(__always)
    func slot(
        holding gfn: GFN, for vcpu: VCPU, seen: SeenSlot, _ protection: borrowing some KeepsSlots & ~Copyable
    ) -> SlotPointer? {
        let table = slots(vcpu.addressSpace, protection)
        if seen.table == table.header { return seen.slot }
        return vcpu.slotSought(holding: gfn, in: table)
    }
}
