// SPDX-License-Identifier: GPL-2.0-only
// Which threads a grace period must look at: a list, whose entries are the threads' own
// thread-local structs.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

typealias Reader = UnsafeMutablePointer<tdpmmu_rcu_reader>

/// The mutex of the registry of readers and queues.
@inline(__always)
var registryMutex: RankedMutex { RankedMutex(cp_registry_mutex(cp_registry()), .registry) }

enum Registry {
    /// Put the calling thread on the list, with its word idle, if it is not there.  Signals
    /// are blocked: a handler that uses RCU must not find the mutex in our hands, and one
    /// that came before may have put it there.
    static func add() {
        if isMember { return }
        registryMutex.lock()
        let state = cp_registry()
        let reader = cp_reader()
        // At the head, which the cursor of a running grace period has passed:
        // it need not look, for the mutex shows us all that it waits about.
        let first = state.pointee.readers
        cp_reader_place(reader).pointee.next = first
        cp_reader_place(reader).pointee.prev = nil
        if let first { cp_reader_place(first).pointee.prev = reader }
        state.pointee.readers = reader
        cp_reader_place(reader).pointee.tid = UInt64(cp_gettid())
        ownWord.pointee.store(ReaderWord.idle.raw, ordering: .relaxed)
        registryMutex.unlock()
    }

    @inline(__always)
    static var isMember: Bool {
        ownWord.pointee.load(ordering: .relaxed) != ReaderWord.unregistered.raw
    }

    /// Registry mutex held.  Take the calling thread off the list, if it is there.
    static func remove() {
        guard isMember else { return }
        let state = cp_registry()
        let reader = cp_reader()
        let next = cp_reader_place(reader).pointee.next
        let previous = cp_reader_place(reader).pointee.prev
        if let next { cp_reader_place(next).pointee.prev = previous }
        if let previous { cp_reader_place(previous).pointee.next = next } else { state.pointee.readers = next }
        if state.pointee.cursor == reader { state.pointee.cursor = next }
        ownWord.pointee.store(ReaderWord.unregistered.raw, ordering: .relaxed)
    }

    /// In a forked child, registry mutex held: the calling thread alone, if it was there.
    static func keepOnlySelf() {
        let reader = cp_reader()
        cp_registry().pointee.readers = isMember ? reader : nil
        cp_registry().pointee.cursor = nil
        cp_reader_place(reader).pointee.next = nil
        cp_reader_place(reader).pointee.prev = nil
        cp_reader_place(reader).pointee.tid = UInt64(cp_gettid())
    }
}
