// SPDX-License-Identifier: GPL-2.0-only
// What lets a torture test show that it can fail.
import CPlatform
import Sync
import Synchronization

/// Which grace periods tests may spoil; the values of TDPMMU_BREAK_*.
enum Breakable: UInt32 {
    case sync = 1
    case expedited = 2
    case call = 4
    case poll = 8
    case srcu = 16

    /// Is this one spoilt?
    @inline(__always) var isBroken: Bool {
        shared(cp_gp_broken()).pointee.load(ordering: .relaxed) & rawValue != 0
    }
}

/// False unless the environment allows it.
package func breakGracePeriodsForTests(_ what: UInt32) -> Bool {
    guard cp_environment_has("TDPMMU_ALLOW_BREAKING") else { return false }
    shared(cp_gp_broken()).pointee.store(what, ordering: .relaxed)
    return true
}
