// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import RCU
import Sync

/// What keeps the memory slots that a thread can reach from being freed under it: an RCU
/// reader, a reader of kvm->srcu, or the slots lock.
package protocol KeepsSlots: ~Copyable {}

extension InsideRCU: KeepsSlots {}
extension InsideSRCU: KeepsSlots {}

/// Proof that the calling thread holds the slots lock: no other thread changes slots,
/// switches dirty logs or reads them.  Only this file makes one.
@frozen
package struct SlotsLocked: KeepsSlots, ~Copyable {
    @inline(__always) fileprivate init() {}
}

extension VM {
    /// Runs `body` with the slots lock held.
    @inline(__always)
    func withSlotsLocked<T>(_ body: (borrowing SlotsLocked) -> T) -> T {
        locked(.slots) { body(SlotsLocked()) }
    }
}

extension VM {
    /// The same where the lock is free; nil if it is not, in whosever hands.
    @inline(__always)
    package func trySlotsLocked<T>(_ body: (borrowing SlotsLocked) -> T) -> T? {
        tryLocked(.slots) { body(SlotsLocked()) }
    }
}

/// Any of them, where it does not matter which.
@frozen
package struct SlotsKept: KeepsSlots, ~Copyable {
    @inline(__always) package init(_ protection: borrowing some KeepsSlots & ~Copyable) {}
}
