// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable

/// What came of a fault.
package enum FaultResult {
    case retry
    case emulate
    case fixed
    case spurious
    /// Not fixed, and another path has to try.
    case invalid
    /// table_limit, or the system's memory, is used up.
    case noMemory
    /// The vCPU's dirty ring has no room for a page that would become writable.
    case ringFull
    /// The change was refused, with a warning.
    case refused
    /// The TDP MMU was taken down meanwhile.
    case notSetUp
    /// The host has no page there, or a broken one.
    case hostFault
    case hostPoison

    /// What a pfn that is an answer means to the vCPU that faulted.
    package init(answer pfn: PFN) {
        switch pfn {
        case .readOnlyError: self = .emulate
        case .poisonError: self = .hostPoison
        default: self = .hostFault
        }
    }

    /// RET_PF_*, or a negative errno.
    package var code: Int32 {
        switch self {
        case .retry: Int32(bitPattern: RET_PF_RETRY.rawValue)
        case .emulate: Int32(bitPattern: RET_PF_EMULATE.rawValue)
        case .fixed: Int32(bitPattern: RET_PF_FIXED.rawValue)
        case .spurious: Int32(bitPattern: RET_PF_SPURIOUS.rawValue)
        case .invalid: Int32(bitPattern: RET_PF_INVALID.rawValue)
        case .noMemory: -ENOMEM
        case .ringFull: -ENOBUFS
        case .refused, .notSetUp: -EINVAL
        case .hostFault: -EFAULT
        case .hostPoison: -EHWPOISON
        }
    }
}
