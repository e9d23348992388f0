// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// A slot while it is being deleted or moved: faults must not use it any more.
package let slotInvalidFlag: UInt32 = 1 << 16

/// The slot of a gfn, and the table that said so.
struct SeenSlot {
    let table: UnsafeMutablePointer<SlotTableHeader>?
    let slot: SlotPointer?

    /// Nobody has looked.
    static var none: SeenSlot { @inline(__always) get { SeenSlot(table: nil, slot: nil) } }

    @inline(__always)
    init(table: UnsafeMutablePointer<SlotTableHeader>?, slot: SlotPointer?) {
        self.table = table
        self.slot = slot
    }
}

extension VM {
    /// All slots of an address space.
    @inline(__always)
    func slots(_ addressSpace: Int32, _ protection: borrowing some KeepsSlots & ~Copyable) -> SlotTable {
        // Acquire: pairs with the release that published the table.
        let word = addressSpace == 0
            ? state.pointee.normalSlots.load(ordering: .acquiring)
            : state.pointee.smmSlots.load(ordering: .acquiring)
        return SlotTable(UnsafeMutablePointer(bitPattern: word).unsafelyUnwrapped)
    }

    func publish(_ table: SlotTable, _ addressSpace: Int32) {
        let word = UInt(bitPattern: table.header)
        // Release: pairs with slots(); a reader sees a complete table.
        if addressSpace == 0 {
            state.pointee.normalSlots.store(word, ordering: .releasing)
        } else {
            state.pointee.smmSlots.store(word, ordering: .releasing)
        }
    }

    @inline(__always)
    package func slot(
        holding gfn: GFN, addressSpace: Int32, _ protection: borrowing some KeepsSlots & ~Copyable
    ) -> SlotPointer? {
        slots(addressSpace, protection).slot(holding: gfn)
    }

    /// A copy of a slot that a caller names by pointer; nil if this VM has no such slot now, nor had
    /// when the reader of kvm->srcu or RCU that the caller may be in began.  The pointer itself is
    /// not followed before that is known.
    package func liveSlot(_ pointer: SlotPointer) -> kvm_memory_slot? {
        let copy: kvm_memory_slot? = insideRCU { rcu in
            slots(0, rcu).contains(pointer) || slots(1, rcu).contains(pointer) ? pointer.pointee : nil
        }
        return copy ?? retiredSlot(pointer)
    }

    /// The slot was replaced, and the change waits for the reader that the caller is in.
    private func retiredSlot(_ pointer: SlotPointer) -> kvm_memory_slot? {
        guard srcu.isReadLockHeld || rcuReadLockHeld() else { return nil }
        return locked(.retiredSlots) {
            guard let header = memory.pointee.retiredSlots.table, SlotTable(header).contains(pointer) else { return nil }
            return pointer.pointee
        }
    }

    package func slot(id: UInt16, addressSpace: Int32, _ protection: borrowing some KeepsSlots & ~Copyable) -> SlotPointer? {
        slots(addressSpace, protection).record(ofID: id)?.slot
    }

    package func slotGeneration(_ addressSpace: Int32) -> UInt64 {
        insideRCU { rcu in slots(addressSpace, rcu).generation }
    }

    func makeSlotTables() -> Bool {
        // As in the kernel the address spaces count apart: even and odd generations.
        let first = state.pointee.config.starts.slotGeneration
        guard let normal = SlotTable.make(count: 0, room: 0, generation: first) else { return false }
        guard let smm = SlotTable.make(count: 0, room: 0, generation: first | 1) else {
            normal.discard()
            return false
        }
        publish(normal, 0)
        publish(smm, 1)
        return true
    }

    /// From free(): the VM is no longer used.
    func freeSlotTables() {
        for space in Int32(0)..<2 {
            let table = withSlotsLocked { slots(space, $0) }
            table.forEach { record in
                cp_free_zeroed(record.pointee.bitmap?.words)
                cp_free_zeroed(record)
            }
            table.free()
        }
    }
}

/// The part of a slot generation that an MMIO SPTE can hold.
package let mmioGenerationMask: UInt64 = (1 << 19) - 1
