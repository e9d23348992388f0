// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import Sync

/// A few free pages at a vCPU's hand, so that a fault seldom takes the arena's
/// lock.  One thread at a time drives a vCPU; should a second one come, it is
/// served from the arena.
package struct TableCache {
    package struct Storage: ~Copyable {
        /// Held while a thread is inside; never waited for.
        var busy = cp_mutex()
        var count: Int32 = 0
        /// Headers of free pages, linked through `nextStray`.
        var first: Table? = nil

        package init() {}
    }

    /// Pages taken from the arena at once; a fault needs at most four.
    private static let batch: Int32 = 16

    private let storage: UnsafeMutablePointer<Storage>

    @inline(__always) package init(_ storage: UnsafeMutablePointer<Storage>) { self.storage = storage }

    @inline(__always) private var busy: FutexMutex {
        FutexMutex(place(of: &storage.pointee.busy))
    }

    /// A free page, or nil when the system has no more memory.
    package func take() -> Table? {
        guard busy.tryLock() else { return TableArena.take(count: 1) }
        defer { busy.unlock() }
        if storage.pointee.count == 0 {
            storage.pointee.first = TableArena.take(count: Int(Self.batch))
            var page = storage.pointee.first
            while let here = page {
                storage.pointee.count &+= 1
                page = here.nextStray
            }
        }
        guard let table = storage.pointee.first else { return nil }
        storage.pointee.first = table.nextStray
        storage.pointee.count &-= 1
        return table
    }

    /// Takes back a page that was not needed.
    package func putBack(_ table: Table) {
        guard busy.tryLock() else { return TableArena.give(table) }
        defer { busy.unlock() }
        guard storage.pointee.count < Self.batch else { return TableArena.give(table) }
        table.nextStray = storage.pointee.first
        storage.pointee.first = table
        storage.pointee.count &+= 1
    }

    /// Pages in it.  Where no thread takes or gives any.
    package var freeCount: Int { Int(storage.pointee.count) }

    /// Gives everything back to the arena.
    package func drain() {
        while let table = storage.pointee.first {
            storage.pointee.first = table.nextStray
            storage.pointee.count &-= 1
            TableArena.give(table)
        }
    }
}
