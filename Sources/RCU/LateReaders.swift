// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Sync
import Synchronization

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
        ReaderEvent.readerLeft()
    }

    @inline(__always)
    static var word: AtomicWord64 { shared(cp_reader_word(cp_late())) }
}
