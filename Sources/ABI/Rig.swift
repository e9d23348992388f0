// SPDX-License-Identifier: GPL-2.0-only
// rig.h
import CPlatform
import CTDPMMU
import MMU
import PageTable
import Rig

private let presentError: UInt64 = 1 << 0
private let reservedError: UInt64 = 1 << 3
private let accessErrors: UInt64 = 1 << 1 | 1 << 2 | 1 << 4

@c @implementation
public func tdpmmu_cpu_access(
    _ vcpu: OpaquePointer?, _ gpa: gpa_t, _ access: UInt64, _ error_code: UnsafeMutablePointer<UInt64>?
) -> Int32 {
    let contract = Contract.tdpmmu_cpu_access
    guard let vcpu = contract.vcpu(vcpu), let entry = contract.enter(vcpu.vm) else { return .invalid }
    guard access & ~accessErrors == 0 else {
        entry.refuse("access has unknown bits (access)", access)
        return .invalid
    }
    guard entry.isAddress(gpa) else { return .invalid }
    guard vcpu.hasRoot else {
        entry.refuse("the vCPU has no root")
        return .invalid
    }
    let wish = Access(write: access & (1 << 1) != 0, fetch: access & (1 << 4) != 0)
    switch vcpu.access(GFN(gpa >> 12), wish) {
    case .done(let level): return level.raw
    case .faults(let present, let reserved):
        error_code?.pointee = access | (present ? presentError : 0) | (reserved ? reservedError | presentError : 0)
        return 0
    case .mustLoad:
        error_code?.pointee = access
        return 0
    case .ringFull: return -ENOBUFS
    }
}

@c @implementation
public func tdpmmu_cpu_exit(_ vcpu: OpaquePointer?) -> Int32 {
    let contract = Contract.tdpmmu_cpu_exit
    guard let vcpu = contract.vcpu(vcpu), contract.enter(vcpu.vm) != nil else { return .invalid }
    return vcpu.exitGuest()
}
