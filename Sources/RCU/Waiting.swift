// SPDX-License-Identifier: GPL-2.0-only
// May the calling thread wait for others?
import CPlatform
import Sync

/// May the calling thread wait for a grace period?  If not, a warning.
func mayWait(_ function: StaticString) -> Bool {
    if rcuReadLockHeld() {
        warn(.rcu, function, "called inside a read-side section: it would wait for itself")
        return false
    }
    if cp_self().pointee.in_report != 0 {
        // Once only, or a handler that always waits would never return.
        if cp_self().pointee.in_report == 1 {
            cp_self().pointee.in_report = 2
            warn(.rcu, function, "called by the warning handler while it was told of a stall")
        }
        return false
    }
    guard mayWaitByOrder(function) else { return false }
    Threads.joinIfNew()
    return true
}

/// Does the thread hold no lock under which nothing may be waited for?  If it does, a
/// warning.
func mayWaitByOrder(_ function: StaticString) -> Bool {
    guard let other = LockOrder.held.firstForbiddingWaits else { return true }
    warn(.lock, function, other.inTheWay, UInt64(other.rawValue))
    return false
}
