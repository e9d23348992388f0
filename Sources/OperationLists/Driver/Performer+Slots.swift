// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

/// Slots.
extension Performer {
    func slotResult(_ call: Call) -> String? {
        switch call.kind {
        case .slot: add(call)
        case .slotflags: changing(call) { set($0, pages: $0.pages, flags: call[1], call) }
        case .delslot: changing(call) { remove($0, call) }
        case .moveslot: changing(call) { move($0, call) }
        case .hostlevel: call.slot.map { $0.setLevel(frame: call[1], call[2]) ? "ok" : "no such frame" } ?? "none"
        default: nil
        }
    }

    /// A change of slots waits in the kernel until no invalidation is under way: such a list would not end.
    private func changing(_ call: Call, _ body: (HostSlot) -> String) -> String {
        guard call.vm.invalidations.isEmpty else { return "not while the host invalidates" }
        return call.slot.map(body) ?? "none"
    }

    private func add(_ call: Call) -> String {
        guard call.vm.invalidations.isEmpty else { return "not while the host invalidates" }
        guard call.slot == nil else { return "there already" }
        guard call[3] > 0 else { return "empty" }
        let slot = HostSlot(id: Int(call[0]), addressSpace: Int(call[1]), first: call[2], pages: call[3], pfn: call[4])
        // Callbacks may ask for it before the call returns.
        call.vm.slots[slot.id] = slot
        let status = set(slot, pages: slot.pages, flags: call[5], call)
        if status != "ok" { call.vm.slots[slot.id] = nil }
        return status
    }

    private func remove(_ slot: HostSlot, _ call: Call) -> String {
        let status = set(slot, pages: 0, flags: 0, call)
        if status == "ok" { call.vm.slots[slot.id] = nil }
        return status
    }

    private func move(_ slot: HostSlot, _ call: Call) -> String {
        let moved = HostSlot(id: slot.id, addressSpace: slot.addressSpace, first: call[1], pages: slot.pages, pfn: slot.pfn)
        let status = set(moved, pages: slot.pages, flags: flags(slot, call), call)
        if status == "ok" { call.vm.slots[slot.id] = moved }
        return status
    }

    private func flags(_ slot: HostSlot, _ call: Call) -> UInt64 {
        rcu_read_lock()
        defer { rcu_read_unlock() }
        return UInt64(tdpmmu_id_to_memslot(call.kvm, Int32(slot.addressSpace), Int32(slot.id))?.pointee.flags ?? 0)
    }

    private func set(_ slot: HostSlot, pages: UInt64, flags: UInt64, _ call: Call) -> String {
        var region = kvm_userspace_memory_region()
        region.slot = UInt32(slot.addressSpace) << 16 | UInt32(slot.id)
        region.flags = UInt32(flags)
        region.guest_phys_addr = slot.first << 12
        region.memory_size = pages << 12
        region.userspace_addr = slot.hostAddress
        return text(status: Int(kvm_set_memory_region(call.kvm, &region)))
    }
}
