// SPDX-License-Identifier: GPL-2.0-only
// Which threads a grace period must look at.  A thread joins at its first use of
// RCU and leaves when it exits; its entry is its own thread-local struct.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

typealias Reader = UnsafeMutablePointer<tdpmmu_rcu_reader>

enum Registry {
    /// Put the calling thread on the list, with its word idle.  False if that
    /// cannot be: it is past its exit handler, or there is no handler to be had.
    @inline(never)
    static func join() -> Bool {
        let thread = cp_self()
        if thread.pointee.exiting != 0 || !cp_thread_at_exit(CP_EXIT_RCU, threadExits) { return false }
        ForkSupport.install()
        // A signal handler that uses RCU must not find the mutex in our hands.
        let signals = cp_signals_block()
        defer { cp_signals_restore(signals) }
        if ownWord.pointee.load(ordering: .relaxed) != ReaderWord.unregistered.raw {
            return true  // one came in between and joined for us
        }
        registryMutex.lock()
        let state = cp_registry()
        let reader = cp_reader()
        // At the head, which the cursor of a running grace period has passed:
        // it need not look, for the mutex shows us all that it waits about.
        let first = state.pointee.readers
        cp_reader_set_next(reader, first)
        cp_reader_set_prev(reader, nil)
        if let first { cp_reader_set_prev(first, reader) }
        state.pointee.readers = reader
        cp_reader_tid(reader).pointee = UInt64(cp_gettid())
        ownWord.pointee.store(ReaderWord.idle.raw, ordering: .relaxed)
        registryMutex.unlock()
        return true
    }

    /// Make sure that the calling thread is on the list, or never can be.
    @inline(__always)
    static func joinIfNew() {
        if ownWord.pointee.load(ordering: .relaxed) == ReaderWord.unregistered.raw { _ = join() }
    }

    /// Registry mutex held.
    private static func remove(_ reader: Reader) {
        let state = cp_registry()
        let next = cp_reader_next(reader)
        let previous = cp_reader_prev(reader)
        if let next { cp_reader_set_prev(next, previous) }
        if let previous { cp_reader_set_next(previous, next) } else { state.pointee.readers = next }
        if state.pointee.cursor == reader { state.pointee.cursor = next }
    }

    /// Off the list until the next use.  Inside a section: a warning, no effect.
    static func goOffline(_ function: StaticString) {
        if rcuReadLockHeld() {
            warn(.rcu, function, "called inside a read-side section")
            return
        }
        let signals = cp_signals_block()
        registryMutex.lock()
        if ownWord.pointee.load(ordering: .relaxed) != ReaderWord.unregistered.raw {
            remove(cp_reader())
            ownWord.pointee.store(ReaderWord.unregistered.raw, ordering: .relaxed)
        }
        registryMutex.unlock()
        cp_signals_restore(signals)
    }

    /// The calling thread exits: its memory is about to go.  Destructors that run
    /// after this one and use RCU go through LateReaders and the orphans.
    static func leave() {
        let signals = cp_signals_block()
        registryMutex.lock()
        let word = ReaderWord(ownWord.pointee.load(ordering: .relaxed))
        if word != .unregistered {
            remove(cp_reader())
            ownWord.pointee.store(ReaderWord.unregistered.raw, ordering: .relaxed)
        }
        CallbackQueue.abandonOwn()
        cp_self().pointee.exiting = 1
        registryMutex.unlock()
        cp_signals_restore(signals)
        if word.depth != 0 {
            warn(.rcu, "rcu_read_lock", "a thread exits inside a read-side section", word.depth)
            if word.wantsWake { GracePeriod.readerLeft() }
        }
        SRCUHolds.releaseAllAtExit()
    }
}

func threadExits() { Registry.leave() }

/// Have the calling thread on the list before its first use; false if it exits.
package func rcuRegisterThread() -> Bool {
    Registry.joinIfNew()
    return ownWord.pointee.load(ordering: .relaxed) != ReaderWord.unregistered.raw
}

package func rcuUnregisterThread() { Registry.goOffline("tdpmmu_rcu_unregister_thread") }

package func rcuThreadOffline() { Registry.goOffline("tdpmmu_rcu_thread_offline") }

/// Readers without a place on the list, all behind one word: threads whose exit
/// handler has run, and threads for which there is none.  Slow (a mutex), and a
/// grace period waits for all of them together; there are next to none.
enum LateReaders {
    @inline(never)
    static func enter() {
        let thread = cp_self()
        thread.pointee.late_depth &+= 1
        if thread.pointee.late_depth != 1 { return }
        let signals = cp_signals_block()
        registryMutex.lock()
        let state = cp_registry()
        if state.pointee.late_count == 0 {
            // The order both ways comes from the mutex, under which the word is scanned.
            word.pointee.store(currentGracePeriod().raw, ordering: .relaxed)
        }
        state.pointee.late_count &+= 1
        registryMutex.unlock()
        cp_signals_restore(signals)
    }

    @inline(never)
    static func leave() {
        let thread = cp_self()
        thread.pointee.late_depth &-= 1
        if thread.pointee.late_depth != 0 { return }
        let signals = cp_signals_block()
        registryMutex.lock()
        let state = cp_registry()
        state.pointee.late_count &-= 1
        if state.pointee.late_count == 0 {
            // Release: as in rcuReadUnlock.
            word.pointee.store(ReaderWord.idle.raw, ordering: .releasing)
        }
        registryMutex.unlock()
        cp_signals_restore(signals)
        GracePeriod.readerLeft()
    }

    @inline(__always)
    static var word: AtomicWord64 { atomic64(cp_reader_word(cp_rcu_late())) }
}
