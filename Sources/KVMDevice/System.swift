// SPDX-License-Identifier: GPL-2.0-only
// /dev/kvm itself: what there is, and a new VM.
import CKVMDevice

@c @implementation
public func ckd_get_api_version(
    _: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    argument == 0 ? KVM_API_VERSION : -EINVAL
}

@c @implementation
public func ckd_get_vcpu_mmap_size(
    _: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    argument == 0 ? Int32(CKD_VCPU_PAGES) * 4096 : -EINVAL
}

/// No MSR of the guest's can be read or written from here.
@c @implementation
public func ckd_get_msr_list(
    _: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    structure.of(kvm_msr_list.self).pointee.nmsrs = 0
    return 0
}

@c @implementation
public func ckd_check_extension(
    _: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    switch Int32(truncatingIfNeeded: argument) {
    case KVM_CAP_USER_MEMORY, KVM_CAP_DESTROY_MEMORY_REGION_WORKS, KVM_CAP_JOIN_MEMORY_REGIONS_WORKS,
         KVM_CAP_SYNC_MMU, KVM_CAP_READONLY_MEM, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_MP_STATE, KVM_CAP_EXT_CPUID,
         KVM_CAP_GET_TSC_KHZ, KVM_CAP_ENABLE_CAP, KVM_CAP_ENABLE_CAP_VM, KVM_CAP_BINARY_STATS_FD,
         KVM_CAP_VM_DISABLE_NX_HUGE_PAGES, KVM_CAP_SET_TSS_ADDR, KVM_CAP_SET_IDENTITY_MAP_ADDR, KVM_CAP_IRQCHIP,
         capUserMemory2, capPreFaultMemory: return 1
    case KVM_CAP_NR_MEMSLOTS: return KVM_USER_MEM_SLOTS
    case KVM_CAP_NR_VCPUS: return 8
    case KVM_CAP_MAX_VCPUS: return Int32(CKD_VCPUS)
    case KVM_CAP_MAX_VCPU_ID: return 4096
    case KVM_CAP_MULTI_ADDRESS_SPACE: return KVM_ADDRESS_SPACE_NUM
    case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: return 3 // both of its flags
    case KVM_CAP_DISABLE_QUIRKS2: return TDPMMU_QUIRK_SLOT_ZAP_ALL
    case KVM_CAP_DIRTY_LOG_RING, KVM_CAP_DIRTY_LOG_RING_ACQ_REL: return 1 << 20
    default: return 0
    }
}

/// As <linux/kvm.h> has them from Linux 6.8 and 6.11 on.
private let capUserMemory2: Int32 = 231, capPreFaultMemory: Int32 = 236

// CPUID ---------------------------------------------------------------------------------

/// The leaves that there are, as the host has them but for what the engine lacks.
private struct Leaf {
    let function: UInt32
    var eax: UInt32 = .max, ebx: UInt32 = .max, ecx: UInt32 = .max, edx: UInt32 = .max
    var indexed = false
}

/// Bits to keep of each register: no XSAVE, AVX, FMA, F16C, MOVBE, RDRAND, VMX, MONITOR, TSC deadline, PCID.
private func leaf(_ number: Int) -> Leaf? {
    switch number {
    case 0: Leaf(function: 0)
    case 1: Leaf(function: 1, ebx: 0xffff, ecx: ~0x7f42_1028)
    case 2: Leaf(function: 2)
    case 3: Leaf(function: 4, eax: 0, ebx: 0, ecx: 0, edx: 0, indexed: true)
    case 4: Leaf(function: 6, eax: 0, ebx: 0, ecx: 0, edx: 0)
    case 5: Leaf(function: 7, eax: 0, ebx: 1 << 9, ecx: 0, edx: 0, indexed: true)
    case 6: Leaf(function: 0xd, eax: 0, ebx: 0, ecx: 0, edx: 0, indexed: true)
    case 7: Leaf(function: 0x4000_0000)
    case 8: Leaf(function: 0x4000_0001, eax: 0, ebx: 0, ecx: 0, edx: 0)
    case 9: Leaf(function: 0x8000_0000)
    case 10: Leaf(function: 0x8000_0001)
    case 11: Leaf(function: 0x8000_0002)
    case 12: Leaf(function: 0x8000_0003)
    case 13: Leaf(function: 0x8000_0004)
    case 14: Leaf(function: 0x8000_0008)
    default: nil
    }
}

private func entry(_ leaf: Leaf) -> kvm_cpuid_entry2 {
    var entry = kvm_cpuid_entry2()
    entry.function = leaf.function
    entry.flags = leaf.indexed ? 1 : 0 // KVM_CPUID_FLAG_SIGNIFCANT_INDEX
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 4) { host in
        ckd_host_cpuid(leaf.function, 0, host.baseAddress)
        entry.eax = host[0] & leaf.eax
        entry.ebx = host[1] & leaf.ebx
        entry.ecx = host[2] & leaf.ecx
        entry.edx = host[3] & leaf.edx
    }
    switch leaf.function {
    case 0: entry.eax = 0xd
    case 0x4000_0000: // "KVMKVMKVM"
        entry.eax = 0x4000_0001
        entry.ebx = 0x4b4d_564b
        entry.ecx = 0x564b_4d56
        entry.edx = 0x4d
    case 0x8000_0000: entry.eax = 0x8000_0008
    case 0x8000_0008: // addresses: physical, virtual
        entry.eax = ckd_options().pointee.maxphyaddr | 48 << 8
        entry.ebx = 0
        entry.ecx = 0
        entry.edx = 0
    default: break
    }
    return entry
}

@c @implementation
public func ckd_get_supported_cpuid(
    _: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    let header = structure.of(kvm_cpuid2.self)
    var number = 0
    while let leaf = leaf(number) {
        guard number < Int(header.pointee.nent) else { return -E2BIG }
        var entry = entry(leaf)
        let at = argument &+ UInt64(MemoryLayout<kvm_cpuid2>.size + number * MemoryLayout<kvm_cpuid_entry2>.stride)
        guard ckd_copy_out(at, &entry, MemoryLayout<kvm_cpuid_entry2>.size) else { return -EFAULT }
        number += 1
    }
    header.pointee.nent = UInt32(number)
    return 0
}

// A VM ------------------------------------------------------------------------------------

private func makeKVM(_ vm: VM) -> UnsafeMutablePointer<kvm>? {
    let options = ckd_options().pointee
    var ops = tdpmmu_ops()
    ops.size = MemoryLayout<tdpmmu_ops>.size
    ops.gfn_to_pfn = { hostPage($0, $1, $2, $3, $4, $5, $6) }
    ops.mapping_level = { hostLevel($0, $1, $2, $3) }
    ops.flush_tlb = { flushTLB($0, $1, $2, $3) }
    ops.vcpu_request = { vcpuRequest($0, $1, $2, $3) }
    var config = tdpmmu_vm_config()
    config.size = MemoryLayout<tdpmmu_vm_config>.size
    config.vendor = UInt32(options.npt != 0 ? TDPMMU_NPT.rawValue : TDPMMU_EPT.rawValue)
    config.root_level = options.levels
    config.maxphyaddr = options.maxphyaddr
    config.ad_disabled = options.no_ad
    config.no_pml = options.no_pml
    config.nx_huge_pages = options.nx_huge_pages
    config.ops_ctx = UnsafeMutableRawPointer(vm)
    return withUnsafePointer(to: &ops) { ops in
        config.ops = ops
        return tdpmmu_create_vm(&config)
    }
}

@c @implementation
public func ckd_create_vm(
    _: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    guard argument == 0 else { return -EINVAL } // KVM_X86_DEFAULT_VM
    guard let memory = ckd_zalloc(MemoryLayout<ckd_vm>.size) else { return -ENOMEM }
    let vm = memory.assumingMemoryBound(to: ckd_vm.self)
    vm.pointee.object = ckd_object(kind: CKD_VM.rawValue, refs: 1)
    vm.pointee.fork_generation = ckd_fork_generation()
    ckd_lock_init(&vm.pointee.lock)
    ckd_lock_init(&vm.pointee.slots_lock)
    ckd_lock_init(&vm.pointee.turn_lock)
    let slots = ckd_zalloc(Int(KVM_USER_MEM_SLOTS) * 2 * MemoryLayout<ckd_slot>.stride)
    vm.pointee.slot = slots?.assumingMemoryBound(to: ckd_slot.self)
    vm.pointee.kvm = slots == nil ? nil : makeKVM(vm)
    guard let kvm = vm.pointee.kvm else {
        ckd_free(slots)
        ckd_free(vm)
        return -ENOMEM
    }
    kvm.record()
    if ckd_options().pointee.nx_huge_pages != 0 { tdpmmu_set_nx_recovery(kvm, UInt32(CKD_RECOVERY_RATIO), 100) }
    ckd_vms_add(vm)
    let fd = ckd_fd_make("kvm-vm", 0, true, vm.object)
    if fd < 0 { ckd_put(vm.object) }
    return fd
}

// The end of things -------------------------------------------------------------------------

private func destroy(_ vcpu: VCPU) {
    if ckd_options().pointee.trace != 0 { ckd_trace_counts(vcpu) }
    tdpmmu_destroy_vcpu(vcpu.pointee.kvm_vcpu)
    if vcpu.pointee.engine != nil { ckd_engine_free(vcpu.pointee.engine) }
    ckd_unmap(vcpu.pointee.run, CKD_VCPU_PAGES * 4096)
    ckd_free(vcpu.pointee.cached)
    ckd_free(vcpu.pointee.blocks_read)
    ckd_free(vcpu.pointee.cpuid)
    ckd_free(vcpu)
}

private func destroy(_ vm: VM) {
    // A VM that a fork copied is the parent's: the library's threads are not here.
    guard vm.pointee.fork_generation == ckd_fork_generation() else { return }
    ckd_vms_remove(vm)
    for case let vcpu? in vm.vcpus { destroy(vcpu) }
    vm.pointee.kvm.mark("close_vm n", 0)
    tdpmmu_destroy_vm(vm.pointee.kvm)
    ckd_free(vm.pointee.slot)
    ckd_free(vm)
}

/// The last reference of an object has gone.  A vCPU lives as long as its VM, of which it held one.
@c @implementation
public func ckd_release(_ object: UnsafeMutablePointer<ckd_object>!) {
    let object: UnsafeMutablePointer<ckd_object> = object
    switch ckd_kind(object.pointee.kind) {
    case CKD_VM: destroy(object.vm)
    case CKD_VCPU: ckd_put(object.vcpu.vm.object)
    case CKD_STATS:
        let vm = object.stats.pointee.vm!
        ckd_close(object.stats.pointee.memory)
        ckd_free(object)
        ckd_put(vm.object)
    default: ckd_free(object)
    }
}
