// SPDX-License-Identifier: GPL-2.0-only
// What a vCPU is asked, but for KVM_RUN: registers, CPUID, signals, memory ahead of its use.
import CKVMDevice

@c @implementation
public func ckd_get_regs(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    structure.of(kvm_regs.self).pointee = object!.vcpu.pointee.regs
    return 0
}

@c @implementation
public func ckd_set_regs(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    let vcpu = object!.vcpu
    vcpu.pointee.regs = structure.of(kvm_regs.self).pointee
    vcpu.pointee.regs.rflags |= 2
    vcpu.pointee.regs_changed = true
    return 0
}

@c @implementation
public func ckd_get_sregs(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    let vcpu = object!.vcpu
    if vcpu.pointee.engine != nil, !vcpu.pointee.sregs_changed {
        ckd_engine_store_system(vcpu.pointee.engine, &vcpu.pointee.sregs)
        ckd_engine_paging(vcpu.pointee.engine, &vcpu.pointee.cr0, &vcpu.pointee.cr3, &vcpu.pointee.cr4)
        vcpu.pointee.sregs.cr0 = vcpu.pointee.cr0
        vcpu.pointee.sregs.cr4 = vcpu.pointee.cr4
    }
    structure.of(kvm_sregs.self).pointee = vcpu.pointee.sregs
    return 0
}

/// Long mode wants paging, PAE and its enable bit together, as KVM checks it.
private func isValid(_ sregs: kvm_sregs) -> Bool {
    let pae = UInt64(1 << 5), paging = UInt64(1) << 31, enable = UInt64(1 << 8), active = UInt64(1 << 10)
    if sregs.cr0 >> 32 != 0 || sregs.cr4 & ~0x1ff_ffff != 0 { return false }
    if sregs.efer & enable != 0, sregs.cr0 & paging != 0 {
        return sregs.cr4 & pae != 0 && sregs.efer & active != 0 && sregs.cr3 >> ckd_options().pointee.maxphyaddr == 0
    }
    return sregs.efer & active == 0 && sregs.cs.l == 0
}

@c @implementation
public func ckd_set_sregs(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    let vcpu = object!.vcpu
    let given = structure.of(kvm_sregs.self)
    guard isValid(given.pointee) else { return -EINVAL }
    vcpu.pointee.sregs = given.pointee
    vcpu.pointee.sregs_changed = true
    return 0
}

@c @implementation
public func ckd_get_mp_state(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    structure.of(kvm_mp_state.self).pointee = object!.vcpu.pointee.mp_state
    return 0
}

@c @implementation
public func ckd_set_mp_state(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    let given = structure.of(kvm_mp_state.self).pointee
    guard given.mp_state == UInt32(KVM_MP_STATE_RUNNABLE) || given.mp_state == UInt32(KVM_MP_STATE_UNINITIALIZED)
    else { return -EINVAL }
    object!.vcpu.pointee.mp_state = given
    return 0
}

@c @implementation
public func ckd_set_cpuid(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    let vcpu = object!.vcpu
    let count = structure.of(kvm_cpuid2.self).pointee.nent
    guard count <= CKD_CPUID_ENTRIES else { return -E2BIG }
    let bytes = Int(count) * MemoryLayout<kvm_cpuid_entry2>.stride
    guard let memory = ckd_zalloc(max(bytes, 1)) else { return -ENOMEM }
    guard ckd_copy_in(memory, argument &+ UInt64(MemoryLayout<kvm_cpuid2>.size), bytes) else {
        ckd_free(memory)
        return -EFAULT
    }
    ckd_free(vcpu.pointee.cpuid)
    vcpu.pointee.cpuid = memory.assumingMemoryBound(to: kvm_cpuid_entry2.self)
    vcpu.pointee.cpuid_entries = count
    return 0
}

@c @implementation
public func ckd_get_cpuid(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    let vcpu = object!.vcpu
    let header = structure.of(kvm_cpuid2.self), count = vcpu.pointee.cpuid_entries
    guard header.pointee.nent >= count else { return -E2BIG }
    header.pointee.nent = count
    let bytes = Int(count) * MemoryLayout<kvm_cpuid_entry2>.stride
    guard bytes == 0 || ckd_copy_out(argument &+ UInt64(MemoryLayout<kvm_cpuid2>.size), vcpu.pointee.cpuid, bytes)
    else { return -EFAULT }
    return 0
}

@c @implementation
public func ckd_cpuid(_ vcpu: UnsafeMutablePointer<ckd_vcpu>!) {
    let vcpu: VCPU = vcpu
    var function: UInt32 = 0, index: UInt32 = 0
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 4) { answer in
        answer.initialize(repeating: 0)
        ckd_engine_cpuid(vcpu.pointee.engine, answer.baseAddress, &function, &index, false)
        for number in 0..<Int(vcpu.pointee.cpuid_entries) {
            let entry = vcpu.pointee.cpuid[number]
            guard entry.function == function, entry.flags & 1 == 0 || entry.index == index else { continue }
            answer[0] = entry.eax
            answer[1] = entry.ebx
            answer[2] = entry.ecx
            answer[3] = entry.edx
            break
        }
        ckd_engine_cpuid(vcpu.pointee.engine, answer.baseAddress, &function, &index, true)
    }
}

@c @implementation
public func ckd_set_signal_mask(
    _ object: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    let vcpu = object!.vcpu
    guard argument != 0 else {
        vcpu.pointee.has_signal_mask = false
        return 0
    }
    var length: UInt32 = 0, mask: UInt64 = 0
    guard ckd_copy_in(&length, argument, 4) else { return -EFAULT }
    guard length == 8 else { return -EINVAL }
    guard ckd_copy_in(&mask, argument &+ 4, 8) else { return -EFAULT }
    vcpu.pointee.signal_mask = mask
    vcpu.pointee.has_signal_mask = true
    return 0
}

@c @implementation
public func ckd_pre_fault_memory(
    _ object: UnsafeMutablePointer<ckd_object>!, _ structure: UnsafeMutableRawPointer!, _: UInt64
) -> Int32 {
    let vcpu = object!.vcpu, range = structure.of(kvm_pre_fault_memory.self)
    return vcpu.markPrefault(range) { kvm_vcpu_pre_fault_memory(vcpu.pointee.kvm_vcpu, range) }
}
