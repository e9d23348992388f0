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
    let contract = Contract.tdpmmu_cpu_access
    guard let known = contract.vcpu(vcpu), let entry = contract.enter(known.vm) else { return .invalid }
    // While nobody looks on and nothing is wrong with what is passed: the short way.
    guard !entry.vm.hasEyes, known.hasRoot, access & ~(writeError | fetchError) == 0, gpa >> 12 < entry.vm.gfnLimit.raw else {
        return watchedAccess(vcpu, gpa, access, error_code)
    }
    let came = known.plainAccess(GFN(gpa >> 12), write: access & writeError != 0, fetch: access & fetchError != 0)
    if case .done = came.end { return came.level.raw }
    return tellFault(AccessResult(end: came.end, isPresent: came.isPresent), known, access, error_code)
}

@inline(never)
private func watchedAccess(
    _ vcpu: OpaquePointer?, _ gpa: gpa_t, _ access: UInt64, _ error_code: UnsafeMutablePointer<UInt64>?
) -> Int32 {
    guard let (vcpu, wish) = checkedAccess(Contract.tdpmmu_cpu_access, vcpu, gpa, access) else { return .invalid }
    return tellFault(vcpu.access(GFN(gpa >> 12), wish), vcpu, access, error_code)
}

@inline(never)
private func tellFault(
    _ came: AccessResult, _ vcpu: VCPU, _ access: UInt64, _ error_code: UnsafeMutablePointer<UInt64>?
) -> Int32 {
    let code = came.code
    if code == 0 { error_code?.pointee = came.errorCode(access, vcpu.vm.hardwareBits) }
    return code
}

@c @implementation
public func tdpmmu_cpu_exit(_ vcpu: OpaquePointer?) -> Int32 {
    let contract = Contract.tdpmmu_cpu_exit
    guard let vcpu = contract.vcpu(vcpu), contract.enter(vcpu.vm) != nil else { return .invalid }
    return vcpu.exitGuest()
}
