// SPDX-License-Identifier: GPL-2.0-only
// What a VM is asked: vCPUs, slots, dirty logs, capabilities, statistics.
import CKVMDevice

// vCPUs --------------------------------------------------------------------------------

/// A vCPU as it is after a reset.
private func reset(_ vcpu: VCPU) {
    vcpu.pointee.sregs.cr0 = 0x6000_0010
    vcpu.pointee.cr0 = vcpu.pointee.sregs.cr0
    vcpu.pointee.sregs.apic_base = vcpu.pointee.id == 0 ? 0xfee0_0900 : 0xfee0_0800
    vcpu.pointee.sregs.cs.selector = 0xf000
    vcpu.pointee.sregs.cs.base = 0xffff_0000
    vcpu.pointee.sregs.cs.limit = 0xffff
    vcpu.pointee.sregs.idt.limit = 0xffff
    vcpu.pointee.sregs.gdt.limit = 0xffff
    vcpu.pointee.regs.rip = 0xfff0
    vcpu.pointee.regs.rflags = 2
    vcpu.pointee.regs_changed = true
    vcpu.pointee.sregs_changed = true
}

private func makeVCPU(_ vm: VM, id: UInt32) -> (vcpu: VCPU?, error: Int32) {
    guard let memory = ckd_zalloc(MemoryLayout<ckd_vcpu>.size) else { return (nil, -ENOMEM) }
    let vcpu = memory.assumingMemoryBound(to: ckd_vcpu.self)
    guard let made = tdpmmu_create_vcpu(vm.pointee.kvm, Int32(id)) else {
        let error = ckd_errno()
        ckd_free(vcpu)
        return (nil, -error)
    }
    vcpu.pointee.object = ckd_object(kind: CKD_VCPU.rawValue, refs: 1)
    vcpu.pointee.id = id
    vcpu.pointee.vm = vm
    vcpu.pointee.kvm_vcpu = made
    _ = vm.pointee.kvm.marked("vcpu_create", { vm.pointee.kvm.mark("vcpu_create vcpu", UInt64(id)) }, { 0 })
    ckd_lock_init(&vcpu.pointee.lock)
    ckd_bell_init(&vcpu.pointee.bell)
    if ckd_options().pointee.no_cache == 0, let cached = ckd_zalloc(CKD_CACHED * MemoryLayout<ckd_cached>.stride) {
        vcpu.pointee.cached = cached.assumingMemoryBound(to: ckd_cached.self)
        vcpu.forgetCached()
    }
    reset(vcpu)
    return (vcpu, 0)
}

/// Makes the vCPU's file, which kvm_run is in; the dirty ring has no pages of it.  Returns the descriptor, behind which
/// nothing is yet, or a negative errno.
private func openVCPU(_ vcpu: VCPU) -> Int32 {
    let bytes = CKD_VCPU_PAGES * 4096
    let fd = ckd_fd_file("kvm-vcpu", bytes, true)
    guard fd >= 0 else { return fd }
    guard let run = ckd_map_shared(fd, bytes) else {
        ckd_close(fd)
        return -ENOMEM
    }
    vcpu.pointee.run = run.assumingMemoryBound(to: kvm_run.self)
    return fd
}

@c @implementation
public func ckd_create_vcpu(
    _ object: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    let vm = object!.vm
    guard argument < 4096 else { return -EINVAL }
    ckd_take(&vm.pointee.lock)
    defer { ckd_drop(&vm.pointee.lock) }
    let count = vm.pointee.vcpus
    guard count < CKD_VCPUS else { return -EINVAL }
    let (made, error) = makeVCPU(vm, id: UInt32(argument))
    guard let made else { return error }
    let fd = openVCPU(made)
    guard fd >= 0 else {
        tdpmmu_destroy_vcpu(made.pointee.kvm_vcpu)
        ckd_free(made.pointee.cached)
        ckd_free(made)
        return fd
    }
    ckd_hold(vm.object)
    ckd_vcpus(vm)[Int(count)] = made
    ckd_store(&vm.pointee.vcpus, count + 1)
    ckd_fd_give(fd, made.object)
    return fd
}

// Slots -----------------------------------------------------------------------------------

/// Where the slot is among those whose memory is looked after; nil: there can be none of this number.
private func place(of region: kvm_userspace_memory_region) -> Int? {
    let id = Int(region.slot & 0xffff), space = Int(region.slot >> 16)
    guard id < Int(KVM_USER_MEM_SLOTS), space < Int(KVM_ADDRESS_SPACE_NUM) else { return nil }
    return space * Int(KVM_USER_MEM_SLOTS) + id
}

/// A slot's memory is looked after before it is there, and until it is gone.  A slot that is there keeps its memory: what
/// would change that is refused by the library.
private func setRegion(_ vm: VM, _ region: kvm_userspace_memory_region) -> Int32 {
    var region = region
    let kvm = vm.pointee.kvm!
    guard let index = place(of: region) else { return kvm.markRegion(region) { kvm_set_memory_region(kvm, &region) } }
    ckd_take(&vm.pointee.slots_lock)
    defer { ckd_drop(&vm.pointee.slots_lock) }
    let isNew = vm.pointee.slot[index].size == 0 && region.memory_size != 0
    if isNew { vm.lookAfter(ckd_slot(hva: region.userspace_addr, size: region.memory_size), at: index) }
    let result = kvm.markRegion(region) { kvm_set_memory_region(kvm, &region) }
    if result == 0 ? region.memory_size == 0 : isNew { vm.forget(at: index) }
    return result
}

@c @implementation
public func ckd_set_region(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    setRegion(object!.vm, structure.of(kvm_userspace_memory_region.self).pointee)
}

@c @implementation
public func ckd_set_region2(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    let given = structure.of(kvm_userspace_memory_region2.self).pointee
    // guest_memfd is not here.
    guard given.flags & ~3 == 0 else { return -EINVAL }
    return setRegion(object!.vm, kvm_userspace_memory_region(
        slot: given.slot, flags: given.flags, guest_phys_addr: given.guest_phys_addr, memory_size: given.memory_size,
        userspace_addr: given.userspace_addr))
}

// Dirty logs ---------------------------------------------------------------------------------

/// Is the program's bitmap for so many pages there?
private func hasBitmap(_ address: UnsafeMutableRawPointer?, pages: UInt64, written: Bool) -> Bool {
    guard pages != 0 else { return true }
    return ckd_populate(UInt64(UInt(bitPattern: address)), Int((pages + 63) / 64 * 8), written) == 0
}

@c @implementation
public func ckd_get_dirty_log(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    let vm = object!.vm
    let log = structure.of(kvm_dirty_log.self)
    rcu_read_lock()
    let slot = tdpmmu_id_to_memslot(vm.pointee.kvm, Int32(log.pointee.slot >> 16), Int32(log.pointee.slot & 0xffff))
    let pages = slot?.pointee.npages ?? 0
    rcu_read_unlock()
    guard hasBitmap(log.pointee.dirty_bitmap, pages: pages, written: true) else { return -EFAULT }
    let kvm = vm.pointee.kvm!, number = log.pointee.slot
    let result = kvm.marked("get_dirty_log", { kvm.mark("get_dirty_log slot", UInt64(number)) }, {
        kvm_vm_ioctl_get_dirty_log(kvm, log)
    })
    if result == 0 { kvm.markPages("dirty", number, log.pointee.dirty_bitmap, first: 0, pages) }
    return result
}

@c @implementation
public func ckd_clear_dirty_log(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    let log = structure.of(kvm_clear_dirty_log.self)
    guard hasBitmap(log.pointee.dirty_bitmap, pages: UInt64(log.pointee.num_pages), written: false)
    else { return -EFAULT }
    let kvm = object!.vm.pointee.kvm!
    return kvm.marked("clear_dirty_log", {
        ckd_mark_clear(kvm, log)
        kvm.markPages("clear", log.pointee.slot, log.pointee.dirty_bitmap, first: log.pointee.first_page,
                      UInt64(log.pointee.num_pages))
    }, { kvm_vm_ioctl_clear_dirty_log(kvm, log) })
}

@c @implementation
public func ckd_reset_dirty_rings(
    _ object: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    let kvm = object!.vm.pointee.kvm!
    return kvm.marked("reset_dirty_rings", { kvm.mark("reset_dirty_rings n", 0) }, { kvm_vm_ioctl_reset_dirty_pages(kvm) })
}

@c @implementation
public func ckd_map_ring(
    _ vcpu: UnsafeMutablePointer<ckd_vcpu>!, _ bytes: UInt64, _ protection: Int32, _ flags: Int32
) -> Int64 {
    let vcpu: VCPU = vcpu
    var entries: UInt32 = 0
    guard let ring = tdpmmu_vcpu_dirty_ring(vcpu.pointee.kvm_vcpu, &entries), bytes == UInt64(vcpu.vm.pointee.ring_bytes),
          protection & PROT_EXEC == 0, flags & MAP_PRIVATE == 0 else { return -Int64(EINVAL) }
    // A ring is where the library has it.
    guard flags & MAP_FIXED == 0 else {
        ckd_say("a dirty ring cannot be mapped at an address of the program's: MAP_FIXED", 0)
        return -Int64(EOPNOTSUPP)
    }
    ckd_hold(vcpu.vm.object)
    ckd_vms_lock()
    vcpu.pointee.rings_mapped += 1
    ckd_vms_unlock()
    return Int64(Int(bitPattern: ring))
}

/// The vCPU that the dirty ring at these addresses is of, in this VM.
private func owner(_ vm: VM, _ address: UInt64, _ bytes: UInt64) -> VCPU? {
    let size = UInt64(vm.pointee.ring_bytes)
    guard bytes != 0, bytes <= size else { return nil }
    for case let vcpu? in vm.vcpus {
        guard let ring = tdpmmu_vcpu_dirty_ring(vcpu.pointee.kvm_vcpu, nil) else { continue }
        let start = UInt64(UInt(bitPattern: ring))
        if address >= start, address - start <= size - bytes { return vcpu }
    }
    return nil
}

@c @implementation
public func ckd_unmap_ring(_ address: UInt64, _ bytes: UInt64) -> Bool {
    ckd_vms_lock()
    var found: VCPU?
    var vm = ckd_vms_next(nil)
    while let each = vm, found == nil {
        found = owner(each, address, bytes)
        vm = ckd_vms_next(each)
    }
    // Only a mapping that was there gives back the reference that it held.
    let wasMapped = found.map { $0.pointee.rings_mapped != 0 && bytes == UInt64($0.vm.pointee.ring_bytes) } ?? false
    if wasMapped { found!.pointee.rings_mapped -= 1 }
    ckd_vms_unlock()
    if wasMapped { ckd_put(found!.vm.object) }
    return found != nil
}

// Capabilities -------------------------------------------------------------------------------

@c @implementation
public func ckd_enable_cap(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    let vm = object!.vm
    let wanted = structure.of(kvm_enable_cap.self)
    let cap = Int32(truncatingIfNeeded: wanted.pointee.cap)
    if cap == KVM_CAP_VM_DISABLE_NX_HUGE_PAGES {
        guard wanted.pointee.args.0 == 0, wanted.pointee.flags == 0, ckd_load(&vm.pointee.vcpus) == 0 else { return -EINVAL }
        guard ckd_may_reboot() else { return -EPERM }
        return tdpmmu_set_nx_huge_pages(vm.pointee.kvm, false)
    }
    let kvm = vm.pointee.kvm!
    let result = kvm.marked("enable_cap", { ckd_mark_cap(kvm, wanted) }, { kvm_vm_ioctl_enable_cap(kvm, wanted) })
    if result == 0, cap == KVM_CAP_DIRTY_LOG_RING || cap == KVM_CAP_DIRTY_LOG_RING_ACQ_REL {
        vm.pointee.ring_bytes = UInt32(truncatingIfNeeded: wanted.pointee.args.0)
    }
    return result
}

// What needs nothing done, or is faked -----------------------------------------------------------

@c @implementation
public func ckd_get_tsc_khz(
    _: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    Int32(ckd_tsc_khz())
}

@c @implementation
public func ckd_create_irqchip(
    _ object: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    guard ckd_load(&object!.vm.pointee.vcpus) == 0 else { return -EINVAL }
    ckd_say_faked("KVM_CREATE_IRQCHIP: there is no interrupt controller")
    return 0
}

/// A CPU that can run a guest in real mode uses neither of these.
@c @implementation
public func ckd_set_tss_addr(
    _: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    argument > UInt64(UInt32.max) - 3 * 4096 ? -EINVAL : 0
}

@c @implementation
public func ckd_set_identity_map_addr(
    _ object: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    ckd_load(&object!.vm.pointee.vcpus) == 0 ? 0 : -EINVAL
}

/// A limit of shadow pages, of which a TDP MMU has none.
@c @implementation
public func ckd_set_nr_mmu_pages(
    _: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    argument < 64 ? -EINVAL : 0 // KVM_MIN_ALLOC_MMU_PAGES
}
