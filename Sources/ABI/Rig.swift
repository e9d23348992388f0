// SPDX-License-Identifier: GPL-2.0-only
// rig.h
import CTDPMMU
import MMU
import PageTable
import Rig

@c @implementation
public func tdpmmu_cpu_access(
    _ vcpu: OpaquePointer?, _ gpa: gpa_t, _ access: UInt64, _ error_code: UnsafeMutablePointer<UInt64>?
) -> Int32 {
    guard let (vcpu, wish) = checkedAccess(Contract.tdpmmu_cpu_access, vcpu, gpa, access) else { return .invalid }
    let came = vcpu.access(GFN(gpa >> 12), wish), code = came.code
    if code == 0 { error_code?.pointee = came.errorCode(access, vcpu.vm.hardwareBits) }
    return code
}

@c @implementation
public func tdpmmu_cpu_exit(_ vcpu: OpaquePointer?) -> Int32 {
    let contract = Contract.tdpmmu_cpu_exit
    guard let vcpu = contract.vcpu(vcpu), contract.enter(vcpu.vm) != nil else { return .invalid }
    return vcpu.exitGuest()
}
