// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// Readers without a place on the list, all behind one word: threads whose exit
/// handler has run, and threads for which there is none.  The word is a reader's, its depth
/// the number of such threads, and changed by compare-and-exchange only: a signal handler may
/// read in a thread that is inside a grace period and has the registry mutex.  A grace
/// period waits for all of them together; there are next to none.
enum LateReaders {
    @inline(never)
    static func enter() {
        // A handler that comes in between here enters and leaves on its own account.
        if cp_self().pointee.late_depth == 0 { comeIn() }
        cp_self().pointee.late_depth &+= 1
    }

    private static func comeIn() {
        while true {
            // Acquire: as in enterSection.
            let gracePeriod = ReaderWord(gracePeriodWord.pointee.load(ordering: .acquiring))
            let now = ReaderWord(word.pointee.load(ordering: .relaxed))
            let next = now.depth == 0 ? gracePeriod.raw : now.raw &+ 1
            // A full fence, as a read-modify-write; with that of begin() as in enterSection.
            if word.pointee.compareExchange(
                expected: now.raw, desired: next, ordering: .sequentiallyConsistent
            ).exchanged {
                if gracePeriod.needsFences { cp_reader_fence() } else { cp_signal_fence() }
                return
            }
        }
    }

    @inline(never)
    static func leave() {
        cp_self().pointee.late_depth &-= 1
        if cp_self().pointee.late_depth == 0 { goOut() }
    }

    private static func goOut() {
        while true {
            let now = ReaderWord(word.pointee.load(ordering: .relaxed))
            let next = now.depth == 1 ? ReaderWord.idle.raw : now.raw &- 1
            // Release: as in rcuReadUnlock; acquire: the last to leave carries what the
            // others did before.
            if word.pointee.compareExchange(
                expected: now.raw, desired: next,
                successOrdering: .acquiringAndReleasing, failureOrdering: .relaxed
            ).exchanged {
                if now.depth == 1, now.wantsWake { ReaderEvent.readerLeft() }
                return
            }
        }
    }

    /// In a forked child: of those inside only the calling thread is left, if it is one.
    static func childForked() {
        let now = ReaderWord(word.pointee.load(ordering: .relaxed))
        let isInside = cp_self().pointee.late_depth != 0
        word.pointee.store(isInside ? now.atDepthOne.raw : ReaderWord.idle.raw, ordering: .relaxed)
    }

    @inline(__always)
    static var word: AtomicWord64 { shared(cp_reader_word(cp_late())) }
}
