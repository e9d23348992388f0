// SPDX-License-Identifier: GPL-2.0-only
// Read-side critical sections.  The fast halves are the inlines of rcu.h, said in
// Swift.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// Begin a read-side critical section; nests, never blocks.
@inline(__always)
package func rcuReadLock() {
    let word = ownWord
    if word.pointee.load(ordering: .relaxed) != ReaderWord.idle.raw {
        readLockSlow()
        return
    }
    enterSection(word)
}

/// End the innermost one.
@inline(__always)
package func rcuReadUnlock() {
    let word = ownWord
    if ReaderWord(word.pointee.load(ordering: .relaxed)).depth != 1 {
        readUnlockSlow()
        return
    }
    // Release: pairs with the acquire in the grace period's scan.
    word.pointee.store(ReaderWord.idle.raw, ordering: .releasing)
}

/// Is the calling thread inside a read-side critical section?
@inline(__always)
package func rcuReadLockHeld() -> Bool {
    ReaderWord(ownWord.pointee.load(ordering: .relaxed)).depth != 0
        || cp_self().pointee.late_depth != 0
}

/// From outside to depth 1.
@inline(__always)
private func enterSection(_ word: AtomicWord64) {
    // Acquire: pairs with the release in GracePeriod.begin.  A section that shows
    // the new number must also see what was unlinked before it.
    let now = ReaderWord(gracePeriodWord.pointee.load(ordering: .acquiring))
    word.pointee.store(now.raw, ordering: .relaxed)
    // Pairs with the heavy fence in GracePeriod.begin: either it sees our word, or
    // we see what was unlinked before it.
    if now.needsFences { cp_reader_fence() } else { cp_signal_fence() }
}

/// Any case but a registered thread outside a section.
@inline(never)
package func readLockSlow() {
    let word = ownWord
    let now = ReaderWord(word.pointee.load(ordering: .relaxed))
    if now.depth == ReaderWord.deepest {
        warn(.rcu, "rcu_read_lock", "nested too deep", now.depth)
    } else if now.depth != 0 {
        // Only this thread writes the word; the sequence stays that of the outermost.
        word.pointee.store(now.raw &+ 1, ordering: .relaxed)
    } else if now != .unregistered || Registry.join() {
        enterSection(word)
    } else {
        LateReaders.enter()
    }
}

/// Any case but the outermost section of a registered thread.
@inline(never)
package func readUnlockSlow() {
    let word = ownWord
    let now = ReaderWord(word.pointee.load(ordering: .relaxed))
    if now.depth > 1 {
        word.pointee.store(now.raw &- 1, ordering: .relaxed)
    } else if now.depth == 1 {
        word.pointee.store(ReaderWord.idle.raw, ordering: .releasing)  // as in rcuReadUnlock
    } else if cp_self().pointee.late_depth != 0 {
        LateReaders.leave()
    } else {
        warn(.rcu, "rcu_read_unlock", "this thread is not inside a read-side section")
    }
}

/// Are readers free of fences?
package func rcuReadersFenceFree() -> Bool { !currentGracePeriod().needsFences }
