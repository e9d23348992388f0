// SPDX-License-Identifier: GPL-2.0-only
// What the calling thread holds, and the complaint when it takes a lock out of order.
// Mutexes note themselves in a mask; holds of reader-writer locks, and sections of RCU
// and SRCU, stand where their own code keeps them and are looked up when asked for.
import CPlatform
import CTDPMMU

package enum LockOrder {
    /// Mutexes with a rank that the calling thread holds.
    @inline(__always)
    static var mutexes: LockSet {
        get { LockSet(raw: cp_self().pointee.held_mutexes) }
        set { cp_self().pointee.held_mutexes = newValue.raw }
    }

    /// Before a mutex is taken.  Another thread may hold it and wait for what this one
    /// holds; so a warning, and on.
    @inline(__always)
    static func check(_ rank: LockRank) {
        if mutexes.raw &>> rank.rawValue != 0 { checkSlow(UInt16(rank.rawValue), "lock") }
    }

    /// Before a reader-writer lock is taken that has the number of a rank, or 0.
    @inline(__always)
    static func check(rankNumber: UInt16, _ function: StaticString) {
        if mutexes.raw != 0, rankNumber != 0 { checkSlow(rankNumber, function) }
    }

    @inline(never)
    private static func checkSlow(_ number: UInt16, _ function: StaticString) {
        if let rank = LockRank(rawValue: UInt32(number)), let other = mutexes.first(from: rank) {
            complain(other, function)
        }
    }

    /// Once at a time: the handler may take the same locks again.
    @inline(never)
    private static func complain(_ other: LockRank, _ function: StaticString) {
        let thread = cp_self()
        guard thread.pointee.in_order_report == 0 else { return }
        thread.pointee.in_order_report = 1
        warn(.lock, function, other.inTheWay, UInt64(other.rawValue))
        thread.pointee.in_order_report = 0
    }
}
