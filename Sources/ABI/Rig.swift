// SPDX-License-Identifier: GPL-2.0-only
// rig.h
import CPlatform
import CTDPMMU
import MMU
import PageTable
import Rig
import Sync

private let presentError: UInt64 = 1 << 0
private let reservedError: UInt64 = 1 << 3
private let accessErrors: UInt64 = 1 << 1 | 1 << 2 | 1 << 4

@c @implementation
public func tdpmmu_cpu_access(
    _ vcpu: OpaquePointer?, _ gpa: gpa_t, _ access: UInt64, _ error_code: UnsafeMutablePointer<UInt64>?
) -> Int32 {
    let name: StaticString = "tdpmmu_cpu_access"
    guard let vcpu = checkedVCPU(vcpu, name) else { return .invalid }
    guard access & ~accessErrors == 0, vcpu.hasRoot else {
        complain(.argument, name, "an unknown access, or the vCPU has no root (access)", vcpu.vm.kvm, access)
        return .invalid
    }
    guard vcpu.vm.isAddress(gpa, name) else { return .invalid }
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
