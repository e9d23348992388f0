// SPDX-License-Identifier: GPL-2.0-only
// What callers pass: each check says no with one warning that names the argument and
// has its value.
import CPlatform
import CTDPMMU
import MMU
import PageTable

extension Int32 {
    static var invalid: Int32 { -EINVAL }
    static var busy: Int32 { -EBUSY }
}

extension UInt64 {
    /// As a warning has it.
    init(_ pointer: UnsafeRawPointer?) { self = UInt64(UInt(bitPattern: pointer)) }
    init(signed value: Int32) { self = UInt64(bitPattern: Int64(value)) }
}

extension Entry where Proof: ~Copyable {
    /// Eyes see that the operation begins, or ends, returning whether a flush is owed.
    func begins(_ duty: Duty = .none) { vm.see(.begins, contract.function, duty) }

    @discardableResult
    func ends(_ duty: Duty = .none, owing isOwed: Bool = false) -> Bool {
        vm.see(.ends, contract.function, duty, flag: isOwed)
        return isOwed
    }
}

extension Table {
    func isOwned(by vm: VM) -> Bool { ownerAddress == UInt(bitPattern: vm.kvm) }
}

extension Entry where Proof: ~Copyable {
    func refuse(_ text: StaticString, _ value0: UInt64, _ value1: UInt64 = 0) {
        contract.refuse(text, vm.kvm, value0, value1)
    }

    /// The same where there is no value to be told.
    @inline(__always)
    func refuse(_ text: StaticString) { contract.refuse(text, in: vm.kvm) }

    /// What a caller gets of some counters who knows them shorter or longer.
    @inline(never)
    func copy(_ counters: UnsafeRawBufferPointer, to stats: UnsafeMutableRawPointer?, _ size: Int) -> Int32 {
        // Swift has size_t as Int: a size that cannot be is a negative one.
        guard let stats, size > 0 else {
            refuse(stats == nil ? "stats is NULL" : "size is 0 or cannot be (size)", UInt64(bitPattern: Int64(size)))
            return .invalid
        }
        stats.copyMemory(from: counters.baseAddress.unsafelyUnwrapped, byteCount: min(size, counters.count))
        return 0
    }

    /// start <= end, and start inside what the VM can map.
    @inline(never)
    func isRange(_ start: gfn_t, _ end: gfn_t) -> Bool {
        if start <= end && start < vm.gfnLimit.raw { return true }
        refuse(start <= end ? "start is beyond MAXPHYADDR (start, end)" : "end is below start (start, end)", start, end)
        return false
    }

    /// Of the host's addresses, not empty.
    func isHostRange(_ start: UInt64, _ end: UInt64) -> Bool {
        if start < end { return true }
        refuse("start is not below end (start, end)", start, end)
        return false
    }

    /// A page of the host's, of which the last byte of all is none.
    func isHostAddress(_ hva: UInt64) -> Bool {
        if hva != .max { return true }
        refuse("hva has no end (hva)", hva)
        return false
    }

    @inline(__always)
    func isAddress(_ gpa: gpa_t, _ text: StaticString = "gpa is beyond MAXPHYADDR (gpa)") -> Bool {
        if gpa >> 12 < vm.gfnLimit.raw { return true }
        refuse(text, gpa)
        return false
    }

    @inline(__always)
    func isPage(_ gfn: gfn_t) -> Bool {
        if gfn < vm.gfnLimit.raw { return true }
        refuse("gfn is beyond MAXPHYADDR (gfn)", gfn)
        return false
    }

    @inline(__always)
    func isHostPage(_ pfn: kvm_pfn_t) -> Bool {
        if pfn <= vm.pfnMask { return true }
        refuse("pfn is beyond MAXPHYADDR (pfn)", pfn)
        return false
    }

    /// A level from 1 on, as text names it.
    @inline(__always)
    func isLevel(_ level: Int32, upTo last: Int32, _ text: StaticString) -> Bool {
        if level >= 1 && level <= last { return true }
        refuse(text, UInt64(signed: level))
        return false
    }

    func isAddressSpace(_ as_id: Int32) -> Bool {
        if as_id == 0 || as_id == 1 { return true }
        refuse("as_id is neither 0 nor 1 (as_id)", UInt64(signed: as_id))
        return false
    }

    /// A root of this VM, alive.
    @inline(never)
    func root(_ root: PagePointer?) -> Table? {
        guard let root else {
            refuse("root is NULL")
            return nil
        }
        guard let table = Table(checkedHeader: root), table.isRoot, table.isOwned(by: vm) else {
            refuse("root is no root of this VM (root)", UInt64(root))
            return nil
        }
        return table
    }
}

/// Slots, as callers name them.
extension Entry where Proof: ~Copyable {
    /// A copy of a slot of this VM that a caller names by pointer.
    @inline(never)
    func slot(_ slot: SlotPointer?) -> kvm_memory_slot? {
        guard let slot, let copy = vm.liveSlot(slot) else {
            refuse("slot is no slot of this VM (slot)", UInt64(slot))
            return nil
        }
        return copy
    }

    /// The same, and gfn is one of its pages.
    func slot(_ slot: SlotPointer?, holding gfn: gfn_t) -> kvm_memory_slot? {
        guard let slot = self.slot(slot) else { return nil }
        guard gfn >= slot.base_gfn, gfn &- slot.base_gfn < slot.npages else {
            refuse("gfn lies outside the slot (gfn)", gfn)
            return nil
        }
        return slot
    }

    /// A range that lies in one of the VM's slots, and that slot's address space.
    @inline(never)
    func range(_ range: UnsafePointer<kvm_gfn_range>?) -> (range: kvm_gfn_range, addressSpace: Int32)? {
        guard let range = range?.pointee else {
            refuse("range is NULL")
            return nil
        }
        guard isRange(range.start, range.end), let slot = slot(range.slot) else { return nil }
        guard range.start >= slot.base_gfn, range.end <= slot.base_gfn &+ slot.npages else {
            refuse("range lies outside its slot (start, end)", range.start, range.end)
            return nil
        }
        return (range, Int32(slot.as_id))
    }
}
