// SPDX-License-Identifier: GPL-2.0-only
// The order of all locks, outermost first, as the table "Order" of docs/LOCKING.md has
// it; scripts/check-locks.py compares the two.

/// A lock's place in the order, or that of a section in which something may not be
/// waited for.  A thread that holds one may take those that come later.
package enum LockRank: UInt32 {
    /// The mutex of callbacks: they run under it, and take what they like.
    case engine = 1
    /// A VM's slots lock.
    case slots
    /// A reader of kvm->srcu.
    case srcuReader
    /// The mutex of grace periods.
    case gracePeriod
    /// An RCU reader.
    case rcuReader
    /// A VM's mmu_lock, held for read or for write.
    case mmu
    /// A VM's recovery lock.
    case recovery
    /// A VM's list of vCPUs.
    case vcpus
    /// A VM's lock of retired slots.
    case retiredSlots
    /// A VM's pages lock.
    case pages
    /// The arena's mutex.
    case arena
    /// The mutex of the callback thread's start and end.
    case worker
    /// The SRCU mutex.
    case srcu
    /// The mutex of the registry of readers and queues.
    case registry
    /// The mutex of the list of threads that note what they read.
    case notes
    /// The mutex of a bucket of lock waiters.
    case bucket
    /// The mutex of trace rings.
    case trace
    /// The mutex of a ledger of owed flushes.
    case ledger

    /// May a thread that holds it wait for a grace period, or for all callbacks?  No,
    /// where those that are waited for may be waiting for the lock.
    @inline(__always)
    package var allowsWaiting: Bool {
        switch self {
        case .engine, .slots, .srcuReader, .worker: true
        default: false
        }
    }

    /// What a warning says of it when it is in the way.
    package var inTheWay: StaticString {
        switch self {
        case .engine: "called in an RCU callback: out of the order of locks"
        case .slots: "the slots lock is held: out of the order of locks"
        case .srcuReader: "called inside a reader of kvm->srcu: out of the order of locks"
        case .gracePeriod: "a grace period runs in this thread: out of the order of locks"
        case .rcuReader: "called inside an RCU reader: out of the order of locks"
        case .mmu: "mmu_lock is held: out of the order of locks"
        case .recovery: "the recovery lock is held: out of the order of locks"
        case .vcpus: "the lock of the list of vCPUs is held: out of the order of locks"
        case .retiredSlots: "the lock of retired slots is held: out of the order of locks"
        case .pages: "the pages lock is held: out of the order of locks"
        case .arena: "the arena's mutex is held: out of the order of locks"
        case .worker: "the worker mutex is held: out of the order of locks"
        case .srcu: "the SRCU mutex is held: out of the order of locks"
        case .registry: "the registry mutex is held: out of the order of locks"
        case .notes: "the mutex of the list of readers' notes is held: out of the order of locks"
        case .bucket: "a bucket's mutex is held: out of the order of locks"
        case .trace: "the trace mutex is held: out of the order of locks"
        case .ledger: "the mutex of a ledger is held: out of the order of locks"
        }
    }
}

/// Ranks that a thread holds.
package struct LockSet: Equatable {
    package var raw: UInt32

    @inline(__always) package init(raw: UInt32 = 0) { self.raw = raw }

    @inline(__always) package mutating func insert(_ rank: LockRank) { raw |= 1 &<< rank.rawValue }
    @inline(__always) package mutating func remove(_ rank: LockRank) { raw &= ~(1 &<< rank.rawValue) }

    package var first: LockRank? { first(in: .max) }

    /// The outermost of those that must not be held when `rank` is taken: itself and all
    /// that come after it.
    @inline(__always)
    package func first(from rank: LockRank) -> LockRank? { first(in: UInt32.max &<< rank.rawValue) }

    /// The outermost of those under which nothing may be waited for.
    package var firstForbiddingWaits: LockRank? {
        var rest = raw
        while rest != 0 {
            if let rank = LockRank(rawValue: UInt32(rest.trailingZeroBitCount)), !rank.allowsWaiting {
                return rank
            }
            rest &= rest &- 1
        }
        return nil
    }

    @inline(__always)
    private func first(in mask: UInt32) -> LockRank? {
        let found = raw & mask
        return found == 0 ? nil : LockRank(rawValue: UInt32(found.trailingZeroBitCount))
    }
}
