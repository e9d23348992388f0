// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// A slot while it is being deleted or moved: faults must not use it any more.
package let slotInvalidFlag: UInt32 = 1 << 16

package typealias SlotPointer = UnsafePointer<kvm_memory_slot>

/// One slot in memory: what callers see, then what they do not.
struct SlotRecord {
    var slot: kvm_memory_slot
    /// Counts the VM's records: which of two came later.
    var sequence: UInt64
    /// Pages written since they were last asked for, if the slot is logged.
    var bitmap: DirtyBitmap?

    static func make(
        _ slot: kvm_memory_slot, sequence: UInt64, _ bitmap: DirtyBitmap?
    ) -> UnsafeMutablePointer<SlotRecord>? {
        guard let memory = cp_alloc_zeroed(MemoryLayout<SlotRecord>.size) else { return nil }
        let record = memory.assumingMemoryBound(to: SlotRecord.self)
        record.initialize(to: SlotRecord(slot: slot, sequence: sequence, bitmap: bitmap))
        return record
    }
}

extension UnsafeMutablePointer where Pointee == SlotRecord {
    var slot: SlotPointer {
        UnsafePointer(place(of: &pointee.slot))
    }
}

/// All slots of one address space, sorted by base gfn, and once more by host address, of
/// equal ones the one put in last behind those before it.  Never changed once published: a
/// change publishes another and frees this after a grace period of kvm->srcu and one of RCU.
struct SlotTable {
    typealias Header = SlotTableHeader

    let header: UnsafeMutablePointer<Header>

    init(_ header: UnsafeMutablePointer<Header>) { self.header = header }

    static func make(count: Int, generation: UInt64) -> SlotTable? {
        let bytes = MemoryLayout<Header>.size + 2 * count * MemoryLayout<UInt>.stride
        guard let memory = cp_alloc_zeroed(bytes) else { return nil }
        let header = memory.assumingMemoryBound(to: Header.self)
        header.initialize(to: Header(generation: generation, count: count))
        return SlotTable(header)
    }

    var count: Int { header.pointee.count }
    var generation: UInt64 { header.pointee.generation }

    private var records: UnsafeMutablePointer<UnsafeMutablePointer<SlotRecord>> {
        (UnsafeMutableRawPointer(header) + MemoryLayout<Header>.size)
            .assumingMemoryBound(to: UnsafeMutablePointer<SlotRecord>.self)
    }

    subscript(index: Int) -> UnsafeMutablePointer<SlotRecord> { records[index] }

    /// The slots in the order of their host addresses.
    func byHostAddress(_ index: Int) -> UnsafeMutablePointer<SlotRecord> { records[count + index] }

    /// Fills a new table with the slots of another, without one and with one more.
    func fill(
        from table: SlotTable, without removed: UnsafeMutablePointer<SlotRecord>?,
        adding added: UnsafeMutablePointer<SlotRecord>?
    ) {
        merge(table.records, table.count, removed, added, to: records) { $0.pointee.base_gfn }
        merge(table.records + table.count, table.count, removed, added, to: records + count) { $0.pointee.userspace_addr }
    }

    /// The one that is added goes behind all that do not come after it.
    @inline(__always)
    private func merge(
        _ from: UnsafeMutablePointer<UnsafeMutablePointer<SlotRecord>>, _ count: Int,
        _ removed: UnsafeMutablePointer<SlotRecord>?, _ added: UnsafeMutablePointer<SlotRecord>?,
        to: UnsafeMutablePointer<UnsafeMutablePointer<SlotRecord>>, by key: (SlotPointer) -> UInt64
    ) {
        var waiting = added, filled = 0
        for i in 0..<count where from[i] != removed {
            if let new = waiting, key(new.slot) < key(from[i].slot) {
                to[filled] = new
                filled += 1
                waiting = nil
            }
            to[filled] = from[i]
            filled += 1
        }
        if let new = waiting { to[filled] = new }
    }

    /// Slots that begin at or below gfn.
    private func countBeginning(atOrBelow gfn: GFN) -> Int {
        guard count > 0 else { return 0 }
        let last = lastBeginning(atOrBelow: gfn)
        return records[last].slot.pointee.base_gfn <= gfn.raw ? last &+ 1 : last
    }

    /// The last slot that begins at or below gfn, or the first of all.  Of some slots.
    @inline(__always)
    private func lastBeginning(atOrBelow gfn: GFN) -> Int {
        var first = 0, left = count
        while left > 1 {
            let half = left &>> 1
            if records[first &+ half].slot.pointee.base_gfn <= gfn.raw { first = first &+ half }
            left = left &- half
        }
        return first
    }

    @inline(__always)
    func slot(holding gfn: GFN) -> SlotPointer? {
        guard count > 0 else { return nil }
        let slot = records[lastBeginning(atOrBelow: gfn)].slot
        // One compare: below the slot the difference is huge.
        return gfn.raw &- slot.pointee.base_gfn < slot.pointee.npages ? slot : nil
    }

    /// Is this one of the table's slots?  Looks at the pointer only.
    func contains(_ slot: SlotPointer) -> Bool {
        for i in 0..<count where records[i].slot == slot { return true }
        return false
    }

    /// Index of the slot with an id, or -1.
    func index(ofID id: UInt16) -> Int {
        for i in 0..<count where records[i].slot.pointee.id == id { return i }
        return -1
    }

    /// Does any slot but the one at `except` hold a gfn of [start, start + pages)?
    func overlaps(start: GFN, pages: UInt64, except: Int) -> Bool {
        // Sorted and disjoint: only the last two that begin below the end can reach in.
        let before = countBeginning(atOrBelow: GFN(start.raw + pages - 1))
        for i in max(0, before - 2)..<before where i != except {
            let slot = records[i].slot
            if slot.pointee.base_gfn + slot.pointee.npages > start.raw { return true }
        }
        return false
    }
}

/// The slot of a gfn, and the table that said so.
struct SeenSlot {
    let table: UnsafeMutablePointer<SlotTableHeader>
    let slot: SlotPointer?

    @inline(__always)
    init(table: UnsafeMutablePointer<SlotTableHeader>, slot: SlotPointer?) {
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
    /// `gfn`, where the caller names one, usually finds the slot at once.
    package func liveSlot(_ pointer: SlotPointer, near gfn: GFN?) -> kvm_memory_slot? {
        let copy: kvm_memory_slot? = insideRCU { rcu in
            let normal = slots(0, rcu), smm = slots(1, rcu)
            let found = gfn.map { normal.slot(holding: $0) == pointer || smm.slot(holding: $0) == pointer }
            let isLive = found == true || normal.contains(pointer) || smm.contains(pointer)
            return isLive ? pointer.pointee : nil
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
        let table = slots(addressSpace, protection)
        let index = table.index(ofID: id)
        return index < 0 ? nil : table[index].slot
    }

    package func slotGeneration(_ addressSpace: Int32) -> UInt64 {
        insideRCU { rcu in slots(addressSpace, rcu).generation }
    }

    func makeSlotTables() -> Bool {
        // As in the kernel the address spaces count apart: even and odd generations.
        guard let normal = SlotTable.make(count: 0, generation: 0) else { return false }
        guard let smm = SlotTable.make(count: 0, generation: 1) else {
            cp_free_zeroed(normal.header)
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
            for i in 0..<table.count {
                cp_free_zeroed(table[i].pointee.bitmap?.words)
                cp_free_zeroed(table[i])
            }
            cp_free_zeroed(table.header)
        }
    }
}

/// The part of a slot generation that an MMIO SPTE can hold.
package let mmioGenerationMask: UInt64 = (1 << 19) - 1
