// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync
import Synchronization

/// The slot in which a vCPU's last fault was, for the next one, which mostly is there too.  It is good
/// while its table of slots is the one that is published: no two tables of a VM have one generation.
/// Written and read as LastTable is.
struct LastSlot: ~Copyable {
    /// Of the table of slots that it was found in; .max: nothing is remembered.
    fileprivate let generation = Atomic<UInt64>(.max)
    fileprivate let base = Atomic<UInt64>(0)
    fileprivate let pages = Atomic<UInt64>(0)
    fileprivate let slot = Atomic<UInt>(0)
    private let reserved = Reserved<4>(repeating: 0)
}

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
