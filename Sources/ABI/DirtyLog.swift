// SPDX-License-Identifier: GPL-2.0-only
// dirty_log.h
import CPlatform
import CTDPMMU
import MMU
import PageTable
import Sync

@c @implementation
public func kvm_tdp_mmu_wrprot_slot(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ min_level: Int32
) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_wrprot_slot"
    guard let vm = checkedVM(kvm, name), vm.isLockedForRead(name), isLevel(min_level, 1...3, vm, name),
          let slot = checkedSlot(slot, of: vm, name) else { return false }
    return vm.writeProtect(slot, minLevel: Level(min_level))
}

@c @implementation
public func kvm_tdp_mmu_clear_dirty_slot(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?
) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_clear_dirty_slot"
    guard let vm = checkedVM(kvm, name), vm.isLockedForRead(name),
          let slot = checkedSlot(slot, of: vm, name) else { return false }
    return vm.clearDirty(slot)
}

@c @implementation
public func kvm_tdp_mmu_clear_dirty_pt_masked(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ gfn: gfn_t, _ mask: UInt,
    _ wrprot: Bool
) {
    let name: StaticString = "kvm_tdp_mmu_clear_dirty_pt_masked"
    guard let vm = checkedVM(kvm, name), vm.isLockedForWrite(name),
          let slot = checkedSlot(slot, of: vm, near: gfn, name) else { return }
    guard gfn >= slot.base_gfn, gfn - slot.base_gfn < slot.npages else {
        complain(.argument, name, "gfn lies outside the slot (gfn)", kvm, gfn)
        return
    }
    let pages = slot.npages - (gfn - slot.base_gfn)
    let inSlot: UInt64 = pages >= 64 ? .max : (1 << pages) - 1
    vm.clearDirty(GFN(gfn), mask: UInt64(mask) & inSlot, addressSpace: Int32(slot.as_id), writeProtect: wrprot)
}

@c @implementation
public func kvm_tdp_mmu_slot_set_dirty(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?
) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_slot_set_dirty"
    guard let vm = checkedVM(kvm, name), vm.isLockedForWrite(name),
          let slot = checkedSlot(slot, of: vm, name) else { return false }
    return vm.setDirty(slot)
}

@c @implementation
public func kvm_tdp_mmu_write_protect_gfn(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ gfn: gfn_t, _ min_level: Int32
) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_write_protect_gfn"
    guard let vm = checkedVM(kvm, name), vm.isLockedForWrite(name), isLevel(min_level, 1...3, vm, name),
          let slot = checkedSlot(slot, of: vm, near: gfn, name) else { return false }
    guard gfn >= slot.base_gfn, gfn - slot.base_gfn < slot.npages else {
        complain(.argument, name, "gfn lies outside the slot (gfn)", kvm, gfn)
        return false
    }
    return vm.writeProtect(GFN(gfn), addressSpace: Int32(slot.as_id), minLevel: Level(min_level))
}

extension DirtyLogError {
    /// Told once, as an errno.
    fileprivate func code(_ kvm: KVMPointer?, _ function: StaticString, _ slot: UInt32) -> Int32 {
        switch self {
        case .none: return 0
        case .noSlot:
            complain(.argument, function, "no such slot, or it is not logged (slot)", kvm, UInt64(slot))
            return -ENOENT
        case .invalid:
            complain(.argument, function, "pages that are not the slot's, or no multiple of 64 (slot)", kvm, UInt64(slot))
            return .invalid
        case .noBitmaps:
            complain(.argument, function, "the VM has dirty rings in place of bitmaps", kvm)
            return -ENXIO
        }
    }
}

@c @implementation
public func kvm_vm_ioctl_get_dirty_log(
    _ kvm: UnsafeMutablePointer<kvm>?, _ log: UnsafeMutablePointer<kvm_dirty_log>?
) -> Int32 {
    let name: StaticString = "kvm_vm_ioctl_get_dirty_log"
    guard let vm = checkedVM(kvm, name), vm.mayWait(name), vm.mayTake(.slots, name) else { return .invalid }
    guard let log = log?.pointee, let out = log.dirty_bitmap else {
        complain(.argument, name, "log or its bitmap is NULL", kvm)
        return .invalid
    }
    guard isAddressSpace(Int32(log.slot >> 16), kvm, name) else { return .invalid }
    return vm.getDirtyLog(
        id: UInt16(log.slot & 0xffff), addressSpace: Int32(log.slot >> 16),
        out.assumingMemoryBound(to: UInt64.self)).code(kvm, name, log.slot)
}

@c @implementation
public func kvm_vm_ioctl_clear_dirty_log(
    _ kvm: UnsafeMutablePointer<kvm>?, _ log: UnsafeMutablePointer<kvm_clear_dirty_log>?
) -> Int32 {
    let name: StaticString = "kvm_vm_ioctl_clear_dirty_log"
    guard let vm = checkedVM(kvm, name), vm.mayWait(name), vm.mayTake(.slots, name) else { return .invalid }
    guard let log = log?.pointee, let bits = log.dirty_bitmap else {
        complain(.argument, name, "log or its bitmap is NULL", kvm)
        return .invalid
    }
    guard isAddressSpace(Int32(log.slot >> 16), kvm, name) else { return .invalid }
    return vm.clearDirtyLog(
        id: UInt16(log.slot & 0xffff), addressSpace: Int32(log.slot >> 16), first: log.first_page,
        pages: UInt64(log.num_pages), bits.assumingMemoryBound(to: UInt64.self)).code(kvm, name, log.slot)
}

@c @implementation
public func tdpmmu_vcpu_dirty_ring(
    _ vcpu: OpaquePointer?, _ entries: UnsafeMutablePointer<UInt32>?
) -> UnsafeMutablePointer<kvm_dirty_gfn>? {
    guard let vcpu = checkedVCPU(vcpu, "tdpmmu_vcpu_dirty_ring") else { return nil }
    let ring = vcpu.ringMemory
    entries?.pointee = ring.size
    return ring.entries
}

@c @implementation
public func kvm_vm_ioctl_reset_dirty_pages(_ kvm: UnsafeMutablePointer<kvm>?) -> Int32 {
    let name: StaticString = "kvm_vm_ioctl_reset_dirty_pages"
    guard let vm = checkedVM(kvm, name), vm.mayWait(name), vm.mayTake(.slots, name) else { return .invalid }
    return vm.resetDirtyRings()
}

@c @implementation
public func tdpmmu_mark_page_dirty(_ kvm: UnsafeMutablePointer<kvm>?, _ as_id: Int32, _ gfn: gfn_t) {
    let name: StaticString = "tdpmmu_mark_page_dirty"
    guard let vm = checkedVM(kvm, name), isAddressSpace(as_id, kvm, name),
          vm.isRange(gfn, .max, name) else { return }
    vm.markDirty(GFN(gfn), addressSpace: as_id)
}
