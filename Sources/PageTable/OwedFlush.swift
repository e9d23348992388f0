// SPDX-License-Identifier: GPL-2.0-only
import RCU
import Sync

/// A flush of the CPUs' translations that is owed, perhaps.  Every walk that changes SPTEs
/// has one; a change that takes something away makes it owed (UnsettledChange.settle()).  It is
/// paid, or handed to the caller, and can neither be dropped nor overwritten.
@frozen
package struct OwedFlush: ~Copyable {
    /// Is there a debt?
    package private(set) var isOwed = false
    /// For a table that was unlinked: it must be paid before RCU is left.
    package private(set) var isForTable = false
    /// No CPU can have a translation: there will never be a debt.
    private var isNeeded: Bool

    /// Nothing yet.
    @inline(__always) package init() { isNeeded = true }

    /// A debt that a caller may have had already.
    @inline(__always)
    package init(handedOver isOwed: Bool) {
        isNeeded = true
        self.isOwed = isOwed
    }

    /// For tables that no CPU uses.
    @inline(__always) package init(neverBecause reason: StaticString) { isNeeded = false }

    @inline(__always)
    package mutating func owe() { isOwed = isOwed || isNeeded }

    @inline(__always)
    package mutating func oweForTable() {
        owe()
        isForTable = isOwed
    }

    /// Runs `body`, during which there will be no debt but what is owed already: for tables that no CPU uses.
    @inline(__always)
    package mutating func addingNothing(if isExempt: Bool, because reason: StaticString, _ body: (inout OwedFlush) -> Void) {
        let wasNeeded = isNeeded
        if isExempt { isNeeded = false }
        body(&self)
        isNeeded = wasNeeded
    }

    /// What another walk owes is owed here.
    @inline(__always)
    package mutating func add(_ other: consuming OwedFlush) {
        isForTable = isForTable || other.isForTable
        if other.handOver() { isOwed = true }
    }

    /// Pays what is owed so far, before RCU is left: what was unlinked is not freed meanwhile.
    @inline(__always)
    package mutating func payNow(_ rcu: borrowing InsideRCU, _ flush: () -> Void) {
        if isOwed { flush() }
        isOwed = false
        isForTable = false
    }

    /// Pays for the tables, which cannot wait.  The rest stays owed: what the caller is told does
    /// not depend on how the pages were mapped.
    @inline(__always)
    package mutating func payForTables(_ rcu: borrowing InsideRCU, _ flush: () -> Void) {
        if isForTable { flush() }
        isForTable = false
    }

    /// Pays, if anything is owed.
    @inline(__always)
    package consuming func pay(_ flush: () -> Void) {
        if handOver() { flush() }
    }

    /// The caller owes it from here on, or has another way to make CPUs forget.
    @inline(__always)
    package consuming func handOver() -> Bool {
        let isOwed = isOwed
        discard self
        return isOwed
    }

    /// Nothing is done; the reason says why that is right.
    @inline(__always)
    package consuming func forgo(because reason: StaticString) { discard self }

    deinit { mustBeSettled() }
}
