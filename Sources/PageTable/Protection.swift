// SPDX-License-Identifier: GPL-2.0-only
import RCU
import Sync

/// What keeps the tables that a thread can reach from being freed under it: an RCU
/// reader, or mmu_lock held for write.  (A hold for read does not: other threads that hold
/// it for read remove tables.)  Reading an SPTE, and following one to a table, asks for this.
package protocol KeepsTables: ~Copyable {}

extension InsideRCU: KeepsTables {}
extension HeldForWrite: KeepsTables {}

/// Either of the two, where it does not matter which.
@frozen
package struct TablesKept: KeepsTables, ~Copyable {
    @inline(__always) package init(_ protection: borrowing some KeepsTables & ~Copyable) {}
}
