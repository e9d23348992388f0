// SPDX-License-Identifier: GPL-2.0-only
// refused: deinit of non-copyable type not visible in the current module
import MMU
import PageTable

@_cdecl("tdpmmu_version")
public func forgets(_ vcpu: OpaquePointer) -> UInt64 {
    guard let root = VCPU(vcpu).acquireRoot() else { return 0 }
    return root.table.address
}
