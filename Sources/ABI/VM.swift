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
/// do.  nil, EINVAL, or E2BIG if the caller sets something we do not know.
private func copyOptions<T>(_ from: UnsafeRawPointer, size: Int, minimum: Int, _ to: inout T) -> Int32? {
    let known = MemoryLayout<T>.size
    guard size >= minimum, size <= 4096 else { return EINVAL }
    if size > known {
        var i = known
        while i < size {
            if from.load(fromByteOffset: i, as: UInt8.self) != 0 { return E2BIG }
            i &+= 1
        }
    }
    withUnsafeMutableBytes(of: &to) {
        $0.baseAddress.unsafelyUnwrapped.copyMemory(from: from, byteCount: min(size, known))
    }
    return nil
}

/// What is wrong with a configuration.
private struct Refusal {
    let text: StaticString
    let value: UInt64
    let error: Int32

    init(_ text: StaticString, _ value: UInt64, _ error: Int32 = EINVAL) {
        self.text = text
        self.value = value
        self.error = error
    }
}

/// The caller's options, copied.
private struct Options {
    var raw = tdpmmu_vm_config()
    var ops = tdpmmu_ops()

    /// nil if they can be copied.
    mutating func copy(_ given: UnsafePointer<tdpmmu_vm_config>) -> Refusal? {
        // The first version ended with ops_ctx, its table of callbacks with warn.
        let size = given.pointee.size
        if let error = copyOptions(given, size: size, minimum: 48, &raw) {
            return Refusal("config has a bad size or unknown options (size)", UInt64(UInt(bitPattern: size)), error)
        }
        guard let table = raw.ops else { return nil }
        let tableSize = table.pointee.size
        guard let error = copyOptions(table, size: tableSize, minimum: 48, &ops) else { return nil }
        return Refusal("ops has a bad size or unknown callbacks (size)", UInt64(UInt(bitPattern: tableSize)), error)
    }

    var level: UInt32 { raw.root_level == 0 ? 4 : raw.root_level }
    var bits: UInt32 { raw.maxphyaddr == 0 ? 46 : raw.maxphyaddr }

    /// nil if each option has a value that it may have.
    var refusal: Refusal? {
        func flag(_ value: UInt32, _ text: StaticString) -> Refusal? {
            value <= 1 ? nil : Refusal(text, UInt64(value))
        }
        if let no = flag(raw.vendor, "vendor is none (vendor)")
            ?? flag(raw.ad_disabled, "ad_disabled is not 0 or 1 (ad_disabled)")
            ?? flag(raw.nx_huge_pages, "nx_huge_pages is not 0 or 1 (nx_huge_pages)")
            ?? flag(raw.no_eager_split, "no_eager_split is not 0 or 1 (no_eager_split)")
            ?? flag(raw.no_pml, "no_pml is not 0 or 1 (no_pml)")
            ?? flag(raw.zap_slot_only, "zap_slot_only is not 0 or 1 (zap_slot_only)")
            ?? flag(raw.pml_oldest_first, "pml_oldest_first is not 0 or 1 (pml_oldest_first)") { return no }
        guard level == 4 || level == 5 else { return Refusal("root_level is not 4 or 5 (root_level)", UInt64(level)) }
        guard (36...52).contains(bits) else { return Refusal("maxphyaddr is not 36 to 52 (maxphyaddr)", UInt64(bits)) }
        guard raw.vendor == 0 || raw.ad_disabled == 0 else {
            return Refusal("ad_disabled is for EPT only (vendor)", UInt64(raw.vendor))
        }
        guard isDirtyLogMode(UInt64(raw.dirty_log)) else {
            return Refusal("dirty_log has bad flags (dirty_log)", UInt64(raw.dirty_log))
        }
        guard raw.l1tf_cache_bits == 0 || (36...46).contains(raw.l1tf_cache_bits) else {
            return Refusal("l1tf_cache_bits is not 36 to 46 (l1tf_cache_bits)", UInt64(raw.l1tf_cache_bits))
        }
        guard raw.slots_generation & 1 == 0 else {
            return Refusal("slots_generation is odd (slots_generation)", raw.slots_generation)
        }
        return nil
    }

    var configuration: VMConfiguration {
        var config = VMConfiguration(
            vendor: raw.vendor == 0 ? .ept : .npt, rootLevel: Level(Int32(bitPattern: level)),
            maxPhysicalBits: Int(bits), adDisabled: raw.ad_disabled == 1, tableLimit: raw.table_limit,
            ops: ops, opsContext: raw.ops_ctx)
        config.switches.nxHugePages = raw.nx_huge_pages == 1
        config.switches.eagerSplit = raw.no_eager_split == 0
        config.usesPML = raw.vendor == 0 && raw.ad_disabled == 0 && raw.no_pml == 0
        config.pmlOldestFirst = raw.pml_oldest_first == 1
        config.switches.manualProtect = raw.dirty_log & manualProtectFlag != 0
        config.switches.initiallySet = raw.dirty_log & initiallySetFlag != 0
        config.switches.zapSlotOnly = raw.zap_slot_only == 1
        config.l1tfCacheBits = Int(raw.l1tf_cache_bits)
        config.starts.ringIndex = raw.ring_index
        config.starts.slotGeneration = raw.slots_generation
        config.starts.invalidateSequence = raw.invalidate_seq
        return config
    }
}

/// Of KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: initially set only with manual protection.
private func isDirtyLogMode(_ flags: UInt64) -> Bool {
    flags & ~UInt64(manualProtectFlag | initiallySetFlag) == 0 && flags != UInt64(initiallySetFlag)
}

// Of <linux/kvm.h>: macros with casts, which Swift does not see.
private let manualProtectFlag: UInt32 = 1 << 0
private let initiallySetFlag: UInt32 = 1 << 1

@c @implementation
public func tdpmmu_create_vm(_ config: UnsafePointer<tdpmmu_vm_config>?) -> UnsafeMutablePointer<kvm>? {
    var options = Options()
    if let refusal = config.flatMap({ options.copy($0) }) ?? options.refusal {
        Contract.tdpmmu_create_vm.refuse(refusal.text, nil, refusal.value)
        cp_set_errno(refusal.error)
        return nil
    }
    guard let vm = VM.make(options.configuration) else {
        cp_set_errno(ENOMEM)
        return nil
    }
    _ = vm.setUp()
    return vm.kvm
}

@c @implementation
public func tdpmmu_destroy_vm(_ kvm: UnsafeMutablePointer<kvm>?) {
    guard kvm != nil, let entry = Contract.tdpmmu_destroy_vm.enter(kvm) else { return }
    let vm = entry.vm
    vm.endNXRecovery()
    vm.tearDown()
    vm.destroyVCPUs()
    rcuBarrier()
    vm.free()
}

@c @implementation
public func tdpmmu_create_vcpu(_ kvm: UnsafeMutablePointer<kvm>?, _ vcpu_id: Int32) -> OpaquePointer? {
    guard let entry = Contract.tdpmmu_create_vcpu.enter(kvm), (0..<4096).contains(vcpu_id) else {
        cp_set_errno(EINVAL)
        return nil
    }
    let (vcpu, error) = VCPU.make(entry.vm, id: vcpu_id)
    if vcpu == nil { cp_set_errno(error == .exists ? EEXIST : ENOMEM) }
    return vcpu?.pointer
}

@c @implementation
public func tdpmmu_destroy_vcpu(_ vcpu: OpaquePointer?) {
    let contract = Contract.tdpmmu_destroy_vcpu
    guard vcpu != nil, let vcpu = contract.vcpu(vcpu), let entry = contract.enter(vcpu.vm) else { return }
    guard !entry.vm.rig.isRunning || !vcpu.isPinned else {
        entry.vm.warn(.lock, "tdpmmu_destroy_vcpu", "called by the callback that this vCPU is asked in")
        return
    }
    vcpu.destroy()
}

@c @implementation
public func tdpmmu_vcpu_kvm(_ vcpu: OpaquePointer?) -> UnsafeMutablePointer<kvm>? {
    Contract.tdpmmu_vcpu_kvm.vcpu(vcpu)?.vm.kvm
}

@c @implementation
public func tdpmmu_vcpu_id(_ vcpu: OpaquePointer?) -> Int32 {
    Contract.tdpmmu_vcpu_id.vcpu(vcpu)?.state.pointee.id ?? .invalid
}

@c @implementation
public func tdpmmu_vcpu_as_id(_ vcpu: OpaquePointer?) -> Int32 {
    Contract.tdpmmu_vcpu_as_id.vcpu(vcpu)?.addressSpace ?? .invalid
}

@c @implementation
public func tdpmmu_vcpu_set_as_id(_ vcpu: OpaquePointer?, _ as_id: Int32) -> Int32 {
    let contract = Contract.tdpmmu_vcpu_set_as_id
    guard let vcpu = contract.vcpu(vcpu), let entry = contract.enter(vcpu.vm), entry.isAddressSpace(as_id)
    else { return .invalid }
    vcpu.setAddressSpace(as_id)
    return 0
}

// Slots -------------------------------------------------------------------

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
        id: UInt16(truncatingIfNeeded: id), addressSpace: Int32(bitPattern: space), base: GFN(region.guest_phys_addr >> 12),
        pages: region.memory_size >> 12, userspaceAddress: region.userspace_addr, flags: region.flags)
}

@c @implementation
public func kvm_set_memory_region(
    _ kvm: UnsafeMutablePointer<kvm>?, _ region: UnsafePointer<kvm_userspace_memory_region>?
) -> Int32 {
    guard let entry = Contract.kvm_set_memory_region.enter(kvm) else { return .invalid }
    guard let region else {
        entry.refuse("region is NULL")
        return .invalid
    }
    guard let request = readRegion(region.pointee) else { return .invalid }
    entry.begins(.pays)
    let error = entry.vm.setSlot(request)
    entry.ends(.pays)
    switch error {
    case .none: return 0
    case .noMemory: return -ENOMEM
    case .overlap: return -EEXIST
    case .invalid: return .invalid
    }
}

@c @implementation
public func gfn_to_memslot(_ kvm: UnsafeMutablePointer<kvm>?, _ gfn: gfn_t) -> UnsafePointer<kvm_memory_slot>? {
    guard let entry = Contract.gfn_to_memslot.enter(kvm) else { return nil }
    return entry.vm.slot(holding: GFN(gfn), addressSpace: 0, entry.proof)
}

@c @implementation
public func kvm_vcpu_gfn_to_memslot(_ vcpu: OpaquePointer?, _ gfn: gfn_t) -> UnsafePointer<kvm_memory_slot>? {
    let contract = Contract.kvm_vcpu_gfn_to_memslot
    guard let vcpu = contract.vcpu(vcpu), let entry = contract.enter(vcpu.vm) else { return nil }
    return entry.vm.slot(holding: GFN(gfn), addressSpace: vcpu.addressSpace, entry.proof)
}

@c @implementation
public func tdpmmu_id_to_memslot(
    _ kvm: UnsafeMutablePointer<kvm>?, _ as_id: Int32, _ id: Int32
) -> UnsafePointer<kvm_memory_slot>? {
    guard let entry = Contract.tdpmmu_id_to_memslot.enter(kvm), entry.isAddressSpace(as_id) else { return nil }
    guard let id = UInt16(exactly: id) else {
        entry.refuse("id is no slot id (id)", UInt64(signed: id))
        return nil
    }
    return entry.vm.slot(id: id, addressSpace: as_id, entry.proof)
}

@c @implementation
public func tdpmmu_memslots_generation(_ kvm: UnsafeMutablePointer<kvm>?, _ as_id: Int32) -> UInt64 {
    guard let entry = Contract.tdpmmu_memslots_generation.enter(kvm), entry.isAddressSpace(as_id) else { return 0 }
    return entry.vm.slotGeneration(as_id)
}

// Capabilities ------------------------------------------------------------------

@c @implementation
public func kvm_vm_ioctl_enable_cap(
    _ kvm: UnsafeMutablePointer<kvm>?, _ cap: UnsafePointer<kvm_enable_cap>?
) -> Int32 {
    guard let entry = Contract.kvm_vm_ioctl_enable_cap.enter(kvm) else { return .invalid }
    guard let cap = cap?.pointee else {
        entry.refuse("cap is NULL")
        return .invalid
    }
    return cap.flags == 0 ? entry.vm.enable(cap.cap, cap.args.0) : .invalid
}

/// KVM_X86_VALID_QUIRKS: bits 0 to 10.  All but one have nothing to do with memory.
private let knownQuirks: UInt64 = (1 << 11) - 1

extension VM {
    /// 0, or what the ioctl answers.
    fileprivate func enable(_ cap: UInt32, _ argument: UInt64) -> Int32 {
        let manual = UInt64(manualProtectFlag), initial = UInt64(initiallySetFlag)
        switch cap {
        case UInt32(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2):
            guard isDirtyLogMode(argument) else { return .invalid }
            setDirtyLogMode(manualProtect: argument & manual != 0, initiallySet: argument & initial != 0)
        case UInt32(KVM_CAP_DISABLE_QUIRKS2):
            guard argument & ~knownQuirks == 0 else { return .invalid }
            // A quirk that is disabled stays so.
            if argument & UInt64(TDPMMU_QUIRK_SLOT_ZAP_ALL) != 0 { disableSlotZapAll() }
        case UInt32(KVM_CAP_DIRTY_LOG_RING), UInt32(KVM_CAP_DIRTY_LOG_RING_ACQ_REL):
            // The kernel looks at 32 bits.
            switch enableDirtyRing(bytes: UInt32(truncatingIfNeeded: argument)) {
            case .none: break
            case .invalid: return .invalid
            case .tooBig: return -E2BIG
            }
        default: return .invalid
        }
        return 0
    }
}

@c @implementation
public func tdpmmu_set_eager_page_split(_ kvm: UnsafeMutablePointer<kvm>?, _ on: Bool) -> Int32 {
    guard let entry = Contract.tdpmmu_set_eager_page_split.enter(kvm) else { return .invalid }
    entry.vm.setEagerSplit(on)
    return 0
}

// Flushes, counters, warnings -----------------------------------------------

@c @implementation
public func kvm_flush_remote_tlbs(_ kvm: UnsafeMutablePointer<kvm>?) {
    guard let entry = Contract.kvm_flush_remote_tlbs.enter(kvm) else { return }
    entry.vm.flushAll()
}

@c @implementation
public func kvm_flush_remote_tlbs_range(_ kvm: UnsafeMutablePointer<kvm>?, _ gfn: gfn_t, _ npages: UInt64) {
    guard let entry = Contract.kvm_flush_remote_tlbs_range.enter(kvm), entry.isPage(gfn), npages > 0 else { return }
    entry.vm.flush(GFN(gfn), pages: npages)
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
            nx_splits: clampedTotal(.nxSplits), pml_full: clampedTotal(.pmlFull),
            pml_flushes: clampedTotal(.pmlFlushes))
    }
}

@c @implementation
public func tdpmmu_get_stats(
    _ kvm: UnsafeMutablePointer<kvm>?, _ stats: UnsafeMutablePointer<tdpmmu_stats>?, _ size: Int
) -> Int32 {
    guard let entry = Contract.tdpmmu_get_stats.enter(kvm) else { return .invalid }
    return withUnsafeBytes(of: entry.vm.stats) { entry.copy($0, to: stats, size) }
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
