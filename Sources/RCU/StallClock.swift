// SPDX-License-Identifier: GPL-2.0-only
// When to complain of a wait that is too long.
import CPlatform
import Sync
import Synchronization

/// When to complain of a wait.
struct StallClock {
    private let begunNS = cp_monotonic_ns()
    private var reported: UInt64 = 0

    private var limitMS: UInt64 {
        UInt64(shared(cp_gp_stall_ms()).pointee.load(ordering: .relaxed))
    }

    /// Sleep no longer than this; 0: as long as it takes.
    var sleepNS: UInt64 { limitMS &* 1_000_000 }

    /// Milliseconds since the begin, each time that another stall time has passed.
    mutating func stalledFor() -> UInt64? {
        let limit = limitMS
        if limit == 0 { return nil }
        let age = (cp_monotonic_ns() &- begunNS) / 1_000_000
        if age / limit <= reported { return nil }
        reported = age / limit
        return age
    }
}

/// Complain of grace periods this old; 0: never.
package func setStallTimeout(milliseconds: UInt32) {
    shared(cp_gp_stall_ms()).pointee.store(milliseconds, ordering: .relaxed)
}
