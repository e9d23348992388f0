// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import PageTable
import RCU

/// How mapping one stretch ahead of the guest ended.
package enum PrefaultResult {
    /// Mapped, by a leaf that reaches to this gfn.
    case mapped(until: GFN)
    case noMemorySlot
    case failed(FaultResult)
}

extension VCPU {
    /// Maps what holds an address as if the guest had read it, but not seen.
    @inline(never)
    package func prefault(_ address: UInt64) -> PrefaultResult {
        let access = FaultAccess(address, errorCode: Self.prefaultCode)
        for _ in 0..<Self.prefaultTries {
            switch load() {
            case .done: break
            case .noMemory: return .failed(.noMemory)
            case .notSetUp: return .failed(.refused)
            }
            let result = pageFaultAtLength(access, prefetch: true)
            switch result {
            case .retry: cp_yield()
            case .fixed, .spurious:
                let level = insideRCU { rcu in root(rcu)?.lastEntry(for: access.gfn, rcu).level } ?? .page4K
                return .mapped(until: access.gfn.rounded(to: level) + level.pages)
            case .emulate: return .noMemorySlot
            default: return .failed(result)
            }
        }
        return .failed(.retry)
    }

    /// PFERR_GUEST_FINAL: no walk of the guest's own tables.
    private static var prefaultCode: UInt64 { 1 << 32 }

    /// An invalidation that does not end, of this very thread perhaps, must not
    /// keep it for ever.
    private static var prefaultTries: Int { 1000 }
}
