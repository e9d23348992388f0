// SPDX-License-Identifier: GPL-2.0-only
// vm.h
import CPlatform
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

// Creation ---------------------------------------------------------------

/// Copies an options struct of a caller who knows it shorter or longer than we
/// do.  0, EINVAL, or E2BIG if the caller sets something we do not know.
private func copyOptions<T>(_ from: UnsafeRawPointer, size: Int, minimum: Int, _ to: inout T) -> Int32 {
    let known = MemoryLayout<T>.size
    guard size >= minimum, size <= 4096 else { return EINVAL }
    if size > known {
        for i in known..<size where from.load(fromByteOffset: i, as: UInt8.self) != 0 { return E2BIG }
    }
    withUnsafeMutableBytes(of: &to) {
        $0.baseAddress.unsafelyUnwrapped.copyMemory(from: from, byteCount: min(size, known))
    }
    return 0
}

/// Checks every option; 0 or an errno.
private func readConfiguration(
    _ given: UnsafePointer<tdpmmu_vm_config>?, _ result: inout VMConfiguration?
) -> Int32 {
    var raw = tdpmmu_vm_config()
    var ops = tdpmmu_ops()
    if let given {
        // The first version ended with ops_ctx.
        let error = copyOptions(given, size: given.pointee.size, minimum: 48, &raw)
        if error != 0 { return error }
    }
    if let table = raw.ops {
        // The first version ended with warn.
        let error = copyOptions(table, size: table.pointee.size, minimum: 48, &ops)
        if error != 0 { return error }
    }
    let level = raw.root_level == 0 ? 4 : raw.root_level
    let bits = raw.maxphyaddr == 0 ? 46 : raw.maxphyaddr
    guard raw.vendor <= 1, level == 4 || level == 5, (36...52).contains(bits), raw.ad_disabled <= 1,
          raw.vendor == 0 || raw.ad_disabled == 0, raw.nx_huge_pages <= 1, raw.no_eager_split <= 1,
          raw.no_pml <= 1, raw.dirty_log & ~(manualProtectFlag | initiallySetFlag) == 0,
          raw.dirty_log != initiallySetFlag, raw.zap_slot_only <= 1,
          raw.l1tf_cache_bits == 0 || (36...46).contains(raw.l1tf_cache_bits) else { return EINVAL }
    var config = VMConfiguration(
        vendor: raw.vendor == 0 ? .ept : .npt, rootLevel: Level(Int32(level)), maxPhysicalBits: Int(bits),
        adDisabled: raw.ad_disabled == 1, tableLimit: raw.table_limit, ops: ops, opsContext: raw.ops_ctx)
    config.switches.nxHugePages = raw.nx_huge_pages == 1
    config.switches.eagerSplit = raw.no_eager_split == 0
    config.usesPML = raw.vendor == 0 && raw.ad_disabled == 0 && raw.no_pml == 0
    config.switches.manualProtect = raw.dirty_log & manualProtectFlag != 0
    config.switches.initiallySet = raw.dirty_log & initiallySetFlag != 0
    config.switches.zapSlotOnly = raw.zap_slot_only == 1
    config.l1tfCacheBits = Int(raw.l1tf_cache_bits)
    result = config
    return 0
}

// Of <linux/kvm.h>: macros with casts, which Swift does not see.
private let manualProtectFlag: UInt32 = 1 << 0
private let initiallySetFlag: UInt32 = 1 << 1

@c @implementation
public func tdpmmu_create_vm(_ config: UnsafePointer<tdpmmu_vm_config>?) -> UnsafeMutablePointer<kvm>? {
    var checked: VMConfiguration?
    let error = readConfiguration(config, &checked)
    guard let checked else {
        complain(.argument, "tdpmmu_create_vm", "an option has a bad size or value (errno)", nil, UInt64(error))
        cp_set_errno(error)
        return nil
    }
    guard let vm = VM.make(checked) else {
        cp_set_errno(ENOMEM)
        return nil
    }
    _ = vm.setUp()
    return vm.kvm
}

@c @implementation
public func tdpmmu_destroy_vm(_ kvm: UnsafeMutablePointer<kvm>?) {
    guard let kvm else { return }
    let vm = VM(kvm)
    guard vm.mayWait("tdpmmu_destroy_vm") else { return }
    vm.endNXRecovery()
    vm.tearDown()
    vm.destroyVCPUs()
    rcuBarrier()
    vm.free()
}

@c @implementation
public func tdpmmu_create_vcpu(_ kvm: UnsafeMutablePointer<kvm>?, _ vcpu_id: Int32) -> OpaquePointer? {
    guard let vm = checkedVM(kvm, "tdpmmu_create_vcpu") else {
        cp_set_errno(EINVAL)
        return nil
    }
    guard (0..<4096).contains(vcpu_id) else {
        complain(.argument, "tdpmmu_create_vcpu", "vcpu_id is not 0 to 4095 (vcpu_id)", kvm,
                 UInt64(bitPattern: Int64(vcpu_id)))
        cp_set_errno(EINVAL)
        return nil
    }
    let (vcpu, error) = VCPU.make(vm, id: vcpu_id)
    if vcpu == nil { cp_set_errno(error == .exists ? EEXIST : ENOMEM) }
    return vcpu?.pointer
}

@c @implementation
public func tdpmmu_destroy_vcpu(_ vcpu: OpaquePointer?) {
    guard let vcpu else { return }
    VCPU(vcpu).destroy()
}

@c @implementation
public func tdpmmu_vcpu_kvm(_ vcpu: OpaquePointer?) -> UnsafeMutablePointer<kvm>? {
    checkedVCPU(vcpu, "tdpmmu_vcpu_kvm")?.vm.kvm
}

@c @implementation
public func tdpmmu_vcpu_id(_ vcpu: OpaquePointer?) -> Int32 {
    checkedVCPU(vcpu, "tdpmmu_vcpu_id")?.state.pointee.id ?? .invalid
}

@c @implementation
public func tdpmmu_vcpu_as_id(_ vcpu: OpaquePointer?) -> Int32 {
    checkedVCPU(vcpu, "tdpmmu_vcpu_as_id")?.addressSpace ?? .invalid
}

@c @implementation
public func tdpmmu_vcpu_set_as_id(_ vcpu: OpaquePointer?, _ as_id: Int32) -> Int32 {
    guard let vcpu = checkedVCPU(vcpu, "tdpmmu_vcpu_set_as_id") else { return .invalid }
    guard isAddressSpace(as_id, vcpu.vm.kvm, "tdpmmu_vcpu_set_as_id") else { return .invalid }
    vcpu.setAddressSpace(as_id)
    return 0
}

// Slots -------------------------------------------------------------------

func isAddressSpace(_ as_id: Int32, _ kvm: KVMPointer?, _ function: StaticString) -> Bool {
    if as_id == 0 || as_id == 1 { return true }
    complain(.argument, function, "no such address space (as_id)", kvm, UInt64(bitPattern: Int64(as_id)))
    return false
}

/// Everything about a region that can be judged without the other slots.
private func readRegion(_ region: kvm_userspace_memory_region) -> SlotRequest? {
    let id = region.slot & 0xffff, space = region.slot >> 16
    let allowed = UInt32(KVM_MEM_LOG_DIRTY_PAGES) | UInt32(KVM_MEM_READONLY)
    let aligned = (region.memory_size | region.guest_phys_addr | region.userspace_addr) & 4095 == 0
    let (_, guestWraps) = region.guest_phys_addr.addingReportingOverflow(region.memory_size)
    let (hostEnd, hostWraps) = region.userspace_addr.addingReportingOverflow(region.memory_size)
    let mostPages: UInt64 = (1 << 31) - 1
    guard id < UInt32(KVM_USER_MEM_SLOTS), space < 2, region.flags & ~allowed == 0, aligned,
          !guestWraps, !hostWraps, hostEnd <= 1 << 56, region.memory_size >> 12 <= mostPages else { return nil }
    return SlotRequest(
        id: UInt16(id), addressSpace: Int32(space), base: GFN(region.guest_phys_addr >> 12),
        pages: region.memory_size >> 12, userspaceAddress: region.userspace_addr, flags: region.flags)
}

@c @implementation
public func kvm_set_memory_region(
    _ kvm: UnsafeMutablePointer<kvm>?, _ region: UnsafePointer<kvm_userspace_memory_region>?
) -> Int32 {
    let name: StaticString = "kvm_set_memory_region"
    guard let vm = checkedVM(kvm, name) else { return .invalid }
    guard let region else {
        complain(.argument, name, "region is NULL", kvm)
        return .invalid
    }
    guard vm.mayWait(name), vm.mayTake(.slots, name) else { return .invalid }
    guard let request = readRegion(region.pointee) else {
        complain(.argument, name, "a field of the region is out of range (slot, guest_phys_addr)", kvm,
                 UInt64(region.pointee.slot), region.pointee.guest_phys_addr)
        return .invalid
    }
    switch vm.setSlot(request) {
    case .none: return 0
    case .noMemory: return -ENOMEM
    case .overlap:
        complain(.argument, name, "overlaps another slot (slot, guest_phys_addr)", kvm,
                 UInt64(region.pointee.slot), region.pointee.guest_phys_addr)
        return -EEXIST
    case .invalid:
        complain(.argument, name, "no such change of this slot (slot, guest_phys_addr)", kvm,
                 UInt64(region.pointee.slot), region.pointee.guest_phys_addr)
        return .invalid
    }
}

/// Slots may be looked at inside kvm->srcu, or RCU, only.
private func mayLookAtSlots(_ vm: VM, _ function: StaticString) -> Bool {
    if rcuReadLockHeld() || vm.srcu.isReadLockHeld { return true }
    complain(.lock, function, "called outside a reader of kvm->srcu or RCU", vm.kvm)
    return false
}

@c @implementation
public func gfn_to_memslot(_ kvm: UnsafeMutablePointer<kvm>?, _ gfn: gfn_t) -> UnsafePointer<kvm_memory_slot>? {
    guard let vm = checkedVM(kvm, "gfn_to_memslot"), mayLookAtSlots(vm, "gfn_to_memslot") else { return nil }
    return vm.slot(holding: GFN(gfn), addressSpace: 0)
}

@c @implementation
public func kvm_vcpu_gfn_to_memslot(_ vcpu: OpaquePointer?, _ gfn: gfn_t) -> UnsafePointer<kvm_memory_slot>? {
    guard let vcpu = checkedVCPU(vcpu, "kvm_vcpu_gfn_to_memslot"),
          mayLookAtSlots(vcpu.vm, "kvm_vcpu_gfn_to_memslot") else { return nil }
    return vcpu.vm.slot(holding: GFN(gfn), addressSpace: vcpu.addressSpace)
}

@c @implementation
public func tdpmmu_id_to_memslot(
    _ kvm: UnsafeMutablePointer<kvm>?, _ as_id: Int32, _ id: Int32
) -> UnsafePointer<kvm_memory_slot>? {
    let name: StaticString = "tdpmmu_id_to_memslot"
    guard let vm = checkedVM(kvm, name), mayLookAtSlots(vm, name),
          isAddressSpace(as_id, kvm, name) else { return nil }
    guard let id = UInt16(exactly: id) else {
        complain(.argument, name, "no such slot id (id)", kvm, UInt64(bitPattern: Int64(id)))
        return nil
    }
    return vm.slot(id: id, addressSpace: as_id)
}

@c @implementation
public func tdpmmu_memslots_generation(_ kvm: UnsafeMutablePointer<kvm>?, _ as_id: Int32) -> UInt64 {
    let name: StaticString = "tdpmmu_memslots_generation"
    guard let vm = checkedVM(kvm, name), isAddressSpace(as_id, kvm, name) else { return 0 }
    return vm.slotGeneration(as_id)
}

// Capabilities ------------------------------------------------------------------

@c @implementation
public func kvm_vm_ioctl_enable_cap(
    _ kvm: UnsafeMutablePointer<kvm>?, _ cap: UnsafePointer<kvm_enable_cap>?
) -> Int32 {
    let name: StaticString = "kvm_vm_ioctl_enable_cap"
    guard let vm = checkedVM(kvm, name), vm.mayTake(.slots, name) else { return .invalid }
    guard let cap = cap?.pointee, cap.flags == 0, vm.enable(cap.cap, cap.args.0) else {
        complain(.argument, name, "cap is NULL, or it or its args are unknown", kvm)
        return .invalid
    }
    return 0
}

extension VM {
    /// False: no such capability, or not with this argument.
    fileprivate func enable(_ cap: UInt32, _ argument: UInt64) -> Bool {
        let manual = UInt64(manualProtectFlag), initial = UInt64(initiallySetFlag)
        switch cap {
        case UInt32(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2):
            guard argument & ~(manual | initial) == 0, argument != initial else { return false }
            setDirtyLogMode(manualProtect: argument & manual != 0, initiallySet: argument & initial != 0)
        case UInt32(KVM_CAP_DISABLE_QUIRKS2):
            guard argument & ~UInt64(TDPMMU_QUIRK_SLOT_ZAP_ALL) == 0 else { return false }
            setZapSlotOnly(argument != 0)
        case UInt32(KVM_CAP_DIRTY_LOG_RING), UInt32(KVM_CAP_DIRTY_LOG_RING_ACQ_REL):
            return enableDirtyRing(bytes: argument)
        default: return false
        }
        return true
    }
}

@c @implementation
public func tdpmmu_set_eager_page_split(_ kvm: UnsafeMutablePointer<kvm>?, _ on: Bool) -> Int32 {
    guard let vm = checkedVM(kvm, "tdpmmu_set_eager_page_split") else { return .invalid }
    vm.setEagerSplit(on)
    return 0
}

// Flushes, counters, warnings -----------------------------------------------

@c @implementation
public func kvm_flush_remote_tlbs(_ kvm: UnsafeMutablePointer<kvm>?) {
    checkedVM(kvm, "kvm_flush_remote_tlbs")?.flushAll()
}

@c @implementation
public func kvm_flush_remote_tlbs_range(_ kvm: UnsafeMutablePointer<kvm>?, _ gfn: gfn_t, _ npages: UInt64) {
    let name: StaticString = "kvm_flush_remote_tlbs_range"
    guard let vm = checkedVM(kvm, name) else { return }
    let (end, wraps) = gfn.addingReportingOverflow(npages)
    guard vm.isRange(gfn, wraps ? .max : end, name), npages > 0 else { return }
    vm.flush(GFN(gfn), pages: npages)
}

extension VM {
    fileprivate func clampedTotal(_ counter: Counter) -> UInt64 { UInt64(max(0, total(counter))) }

    fileprivate var stats: tdpmmu_stats {
        tdpmmu_stats(
            pages_4k: clampedTotal(.pages4K), pages_2m: clampedTotal(.pages2M),
            pages_1g: clampedTotal(.pages1G), tables: tablesAlive,
            tables_stray: clampedTotal(.strays), roots: rootCount,
            faults: clampedTotal(.faults), faults_fixed: clampedTotal(.fixed),
            faults_spurious: clampedTotal(.spurious), faults_retried: clampedTotal(.retried),
            faults_emulated: clampedTotal(.emulated), mmio_sptes: clampedTotal(.mmioSPTEs),
            spte_changes: clampedTotal(.spteChanges), tlb_flushes: clampedTotal(.flushes),
            yields: clampedTotal(.yields), warnings: clampedTotal(.warnings),
            fast_faults: clampedTotal(.fastFaults), splits: clampedTotal(.splits),
            nx_splits: clampedTotal(.nxSplits))
    }
}

@c @implementation
public func tdpmmu_get_stats(
    _ kvm: UnsafeMutablePointer<kvm>?, _ stats: UnsafeMutablePointer<tdpmmu_stats>?, _ size: Int
) -> Int32 {
    guard let vm = checkedVM(kvm, "tdpmmu_get_stats") else { return .invalid }
    guard let stats, size > 0 else {
        complain(.argument, "tdpmmu_get_stats", "no room for the counters (size)", kvm, UInt64(size))
        return .invalid
    }
    withUnsafeBytes(of: vm.stats) {
        UnsafeMutableRawPointer(stats).copyMemory(
            from: $0.baseAddress.unsafelyUnwrapped, byteCount: min(size, $0.count))
    }
    return 0
}

@c @implementation
public func tdpmmu_set_warn_handler(_ warn: tdpmmu_warn_fn?, _ ctx: UnsafeMutableRawPointer?) {
    setWarnHandler(warn, ctx)
}

private let versionText: StaticString = "0.1.0"

@c @implementation
public func tdpmmu_version() -> UnsafePointer<CChar>? {
    UnsafeRawPointer(versionText.utf8Start).assumingMemoryBound(to: CChar.self)
}
