// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable

/// What came of a fault: RET_PF_*, or a negative errno, as the caller gets it.
package struct FaultResult: Equatable {
    package let code: Int32

    @inline(__always) private init(_ code: Int32) { self.code = code }

    @inline(__always) private init(_ result: tdpmmu_ret_pf) { code = Int32(bitPattern: result.rawValue) }

    @inline(__always) package static var retry: Self { Self(RET_PF_RETRY) }
    @inline(__always) package static var emulate: Self { Self(RET_PF_EMULATE) }
    @inline(__always) package static var fixed: Self { Self(RET_PF_FIXED) }
    @inline(__always) package static var spurious: Self { Self(RET_PF_SPURIOUS) }
    /// Not fixed, and another path has to try.
    @inline(__always) package static var invalid: Self { Self(RET_PF_INVALID) }
    /// table_limit, or the system's memory, is used up.
    @inline(__always) package static var noMemory: Self { Self(-ENOMEM) }
    /// The vCPU's dirty ring has no room for a page that would become writable.
    @inline(__always) package static var ringFull: Self { Self(-ENOBUFS) }
    /// The change was refused, with a warning; or the TDP MMU was taken down meanwhile.
    @inline(__always) package static var refused: Self { Self(-EINVAL) }
    /// The host has no page there, or a broken one.
    @inline(__always) package static var hostFault: Self { Self(-EFAULT) }
    @inline(__always) package static var hostPoison: Self { Self(-EHWPOISON) }

    /// What a pfn that is an answer means to the vCPU that faulted.
    package init(answer pfn: PFN) {
        switch pfn {
        case .readOnlyError: self = .emulate
        case .poisonError: self = .hostPoison
        default: self = .hostFault
        }
    }
}
