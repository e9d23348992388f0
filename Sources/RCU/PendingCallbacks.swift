// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import Sync
import Synchronization

/// About how many callbacks are queued and have not run.
enum PendingCallbacks {
    /// A thread tells of its callbacks in portions of this many.
    static var step: UInt32 { 4096 }

    private static var count: AtomicWord64 { shared(cp_flood_pending()) }

    /// Signed: what a thread has not yet told of may have run already.
    static var now: Int64 { Int64(bitPattern: count.pointee.load(ordering: .relaxed)) }

    /// So many more have been queued.
    static func add(_ number: UInt64) { count.pointee.wrappingAdd(number, ordering: .relaxed) }

    /// So many have run.
    static func invoked(_ number: UInt64) { count.pointee.wrappingSubtract(number, ordering: .relaxed) }

    /// In a forked child: those that it keeps.
    static func reset(_ number: UInt64) { count.pointee.store(number, ordering: .relaxed) }
}
