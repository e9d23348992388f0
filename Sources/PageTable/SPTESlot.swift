// SPDX-License-Identifier: GPL-2.0-only
import Synchronization

/// One entry of a table in memory.  Other threads, and in a real machine the
/// CPU, change it at any time: every access is atomic.
package struct SPTESlot: Equatable {
    package let pointer: UnsafeMutablePointer<UInt64>

    @inline(__always) package init(_ pointer: UnsafeMutablePointer<UInt64>) { self.pointer = pointer }

    @inline(__always) private var word: UnsafeMutablePointer<Atomic<UInt64>> {
        UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Acquire: pairs with the release that linked a table, so that a reader who
    /// sees the link sees the table's entries.
    @inline(__always) package func load() -> SPTE {
        SPTE(word.pointee.load(ordering: .acquiring))
    }

    /// Release: pairs with load(); what the entry points to was written before.
    @inline(__always) package func store(_ new: SPTE) {
        word.pointee.store(new.raw, ordering: .releasing)
    }

    /// Both ways: the old value may name a table (acquire, pairs with the link),
    /// the new one may publish a table (release, pairs with load()).
    @inline(__always) package func exchange(_ new: SPTE) -> SPTE {
        SPTE(word.pointee.exchange(new.raw, ordering: .acquiringAndReleasing))
    }

    /// Replaces `old`; else leaves what is there in `old` and returns false.
    /// Orderings as for exchange().
    @inline(__always) package func replace(_ old: inout SPTE, with new: SPTE) -> Bool {
        let (done, seen) = word.pointee.compareExchange(
            expected: old.raw, desired: new.raw,
            successOrdering: .acquiringAndReleasing, failureOrdering: .acquiring)
        old = SPTE(seen)
        return done
    }
}
