// SPDX-License-Identifier: GPL-2.0-only
// dirty_log.h
import CPlatform
import CTDPMMU
import MMU
import PageTable

@c @implementation
public func kvm_tdp_mmu_wrprot_slot(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ min_level: Int32
) -> Bool {
    guard var entry = Contract.kvm_tdp_mmu_wrprot_slot.enter(kvm),
          entry.isLevel(min_level, upTo: 3, "min_level is not 1 to 3 (min_level)"),
          let slot = entry.slot(slot) else { return false }
    var flush = OwedFlush()
    entry.begins(.tells)
    let changed = entry.vm.writeProtect(slot, minLevel: Level(min_level), &entry.proof, owing: &flush)
    let isOwed = flush.handOver()
    entry.ends(.tells, owing: isOwed || changed)
    return isOwed || changed
}

@c @implementation
public func kvm_tdp_mmu_clear_dirty_slot(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?
) -> Bool {
    guard var entry = Contract.kvm_tdp_mmu_clear_dirty_slot.enter(kvm), let slot = entry.slot(slot)
    else { return false }
    var flush = OwedFlush()
    entry.begins(.tells)
    let changed = entry.vm.clearDirty(slot, &entry.proof, owing: &flush)
    let isOwed = flush.handOver()
    entry.ends(.tells, owing: isOwed || changed)
    return isOwed || changed
}

@c @implementation
public func kvm_tdp_mmu_clear_dirty_pt_masked(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ gfn: gfn_t, _ mask: UInt,
    _ wrprot: Bool
) {
    guard let entry = Contract.kvm_tdp_mmu_clear_dirty_pt_masked.enter(kvm),
          let slot = entry.slot(slot, holding: gfn) else { return }
    let pages = slot.npages &- (gfn &- slot.base_gfn)
    let inSlot: UInt64 = pages >= 64 ? .max : (1 &<< pages) &- 1
    var flush = OwedFlush()
    entry.begins(.leaves)
    entry.vm.clearDirty(
        GFN(gfn), mask: UInt64(mask) & inSlot, addressSpace: Int32(slot.as_id), writeProtect: wrprot, entry.proof,
        owing: &flush)
    flush.forgo(because: "the caller flushes, as the header says")
    entry.ends(.leaves, owing: true)
}

@c @implementation
public func kvm_tdp_mmu_slot_set_dirty(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?
) -> Bool {
    guard var entry = Contract.kvm_tdp_mmu_slot_set_dirty.enter(kvm), let slot = entry.slot(slot)
    else { return false }
    var flush = OwedFlush()
    entry.begins(.tells)
    let changed = entry.vm.setDirty(slot, &entry.proof, owing: &flush)
    let isOwed = flush.handOver()
    entry.ends(.tells, owing: isOwed || changed)
    return isOwed || changed
}

@c @implementation
public func kvm_tdp_mmu_write_protect_gfn(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ gfn: gfn_t, _ min_level: Int32
) -> Bool {
    guard var entry = Contract.kvm_tdp_mmu_write_protect_gfn.enter(kvm),
          entry.isLevel(min_level, upTo: 3, "min_level is not 1 to 3 (min_level)"),
          let slot = entry.slot(slot, holding: gfn) else { return false }
    var flush = OwedFlush()
    entry.begins(.tells)
    let changed = entry.vm.writeProtect(
        GFN(gfn), addressSpace: Int32(slot.as_id), minLevel: Level(min_level), &entry.proof, owing: &flush)
    let isOwed = flush.handOver()
    entry.ends(.tells, owing: isOwed || changed)
    return isOwed || changed
}

// The ioctls: bad values are answered by the errno alone, as the kernel does ---

extension DirtyLogError {
    fileprivate var code: Int32 {
        switch self {
        case .none: 0
        case .noSlot: -ENOENT
        case .invalid: .invalid
        case .noBitmaps: -ENXIO
        }
    }
}

@c @implementation
public func kvm_vm_ioctl_get_dirty_log(
    _ kvm: UnsafeMutablePointer<kvm>?, _ log: UnsafeMutablePointer<kvm_dirty_log>?
) -> Int32 {
    guard let entry = Contract.kvm_vm_ioctl_get_dirty_log.enter(kvm) else { return .invalid }
    guard let log = log?.pointee, let out = log.dirty_bitmap else {
        entry.refuse("log or its dirty_bitmap is NULL")
        return .invalid
    }
    entry.begins(.harvests)
    let result = entry.vm.getDirtyLog(log.slot, out.assumingMemoryBound(to: UInt64.self)).code
    entry.ends(.harvests)
    return result
}

@c @implementation
public func kvm_vm_ioctl_clear_dirty_log(
    _ kvm: UnsafeMutablePointer<kvm>?, _ log: UnsafeMutablePointer<kvm_clear_dirty_log>?
) -> Int32 {
    guard let entry = Contract.kvm_vm_ioctl_clear_dirty_log.enter(kvm) else { return .invalid }
    guard let log = log?.pointee, let bits = log.dirty_bitmap else {
        entry.refuse("log or its dirty_bitmap is NULL")
        return .invalid
    }
    entry.begins(.harvests)
    let result = entry.vm.clearDirtyLog(
        log.slot, first: log.first_page, pages: UInt64(log.num_pages), bits.assumingMemoryBound(to: UInt64.self)).code
    entry.ends(.harvests)
    return result
}

@c @implementation
public func tdpmmu_vcpu_dirty_ring(
    _ vcpu: OpaquePointer?, _ entries: UnsafeMutablePointer<UInt32>?
) -> UnsafeMutablePointer<kvm_dirty_gfn>? {
    let contract = Contract.tdpmmu_vcpu_dirty_ring
    guard let vcpu = contract.vcpu(vcpu), contract.enter(vcpu.vm) != nil else { return nil }
    let ring = vcpu.ringMemory
    entries?.pointee = ring.size
    return ring.entries
}

@c @implementation
public func kvm_vm_ioctl_reset_dirty_pages(_ kvm: UnsafeMutablePointer<kvm>?) -> Int32 {
    guard let entry = Contract.kvm_vm_ioctl_reset_dirty_pages.enter(kvm), entry.vm.hasDirtyRings
    else { return .invalid }
    entry.begins(.harvests)
    let count = entry.vm.resetDirtyRings()
    entry.ends(.harvests)
    return count
}

@c @implementation
public func tdpmmu_mark_page_dirty(_ kvm: UnsafeMutablePointer<kvm>?, _ as_id: Int32, _ gfn: gfn_t) {
    guard let entry = Contract.tdpmmu_mark_page_dirty.enter(kvm), entry.isAddressSpace(as_id),
          entry.isPage(gfn) else { return }
    entry.vm.markDirty(GFN(gfn), addressSpace: as_id)
}
