// SPDX-License-Identifier: GPL-2.0-only
// Chains of callbacks.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

package typealias RCUCallback = @convention(c) (UnsafeMutablePointer<rcu_head>?) -> Void
typealias Head = UnsafeMutablePointer<rcu_head>

extension Head {
    /// The last element of a chain, whose next is nil.
    var lastOfChain: Head {
        var last = self
        while let next = Head(last.pointee.next) { last = next }
        return last
    }

    /// `next` is the first field.
    func setNext(_ next: Head?) {
        UnsafeMutableRawPointer(self).assumingMemoryBound(to: Head?.self).pointee = next
    }
}

/// A list of callbacks taken out of queues; owned by one thread.
struct CallbackList {
    var first: Head?
    /// Address of the last element's `next`, nil while the list is empty.
    private var tail: UnsafeMutablePointer<Head?>?

    init() {
        first = nil
        tail = nil
    }

    var isEmpty: Bool { first == nil }

    /// Append a chain: its first element, and the address of the next field (nil
    /// in memory) of its last.
    mutating func append(_ chain: Head, lastNext: UInt) {
        if let tail { tail.pointee = chain } else { first = chain }
        tail = UnsafeMutablePointer(bitPattern: lastNext)
    }
}

/// Callbacks of threads that have exited, or were exiting when they queued them.
enum Orphans {
    /// Registry mutex held.
    static func append(_ chain: Head, lastNext: UInt) {
        let state = cp_registry()
        if state.pointee.orphans_head == nil {
            state.pointee.orphans_head = chain
        } else {
            UnsafeMutablePointer<Head?>(bitPattern: state.pointee.orphans_tail)
                .unsafelyUnwrapped.pointee = chain
        }
        state.pointee.orphans_tail = lastNext
    }

    /// Registry mutex held.  A chain that is older than all that is here.
    static func putFirst(_ chain: Head) {
        let state = cp_registry()
        let last = chain.lastOfChain
        if let first = state.pointee.orphans_head {
            last.setNext(first)
        } else {
            state.pointee.orphans_tail = UInt(bitPattern: last)
        }
        state.pointee.orphans_head = chain
    }

    /// Registry mutex held.
    static func take(into batch: inout CallbackList) {
        let state = cp_registry()
        guard let first = state.pointee.orphans_head else { return }
        batch.append(first, lastNext: state.pointee.orphans_tail)
        state.pointee.orphans_head = nil
    }

    /// Registry mutex held.
    static var isEmpty: Bool { cp_registry().pointee.orphans_head == nil }
}
