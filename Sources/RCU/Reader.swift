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
    let now = ReaderWord(word.pointee.load(ordering: .relaxed))
    if now == .idle {
        enterSection(word)
    } else if now.depth != 0, now.depth < ReaderWord.deepest {
        // Only this thread changes the depth; a wake-up asked for meanwhile may get
        // lost, and is asked for again.
        word.pointee.store(now.raw &+ 1, ordering: .relaxed)
    } else {
        readLockSlow()
    }
}

/// End the innermost one.
@inline(__always)
package func rcuReadUnlock() {
    let word = ownWord
    let now = ReaderWord(word.pointee.load(ordering: .relaxed))
    if now.isPlainOutermost {
        // Release: pairs with the acquire in the grace period's scan.
        word.pointee.store(ReaderWord.idle.raw, ordering: .releasing)
    } else if now.isPlainNested {
        word.pointee.store(now.raw &- 1, ordering: .relaxed)
    } else {
        readUnlockSlow()
    }
}

// Of the library's own sections, which are mostly the outermost: only those are inlined.

@inline(__always)
func beginSection() {
    let word = ownWord
    if ReaderWord(word.pointee.load(ordering: .relaxed)) == .idle { enterSection(word) } else { readLockSlow() }
}

@inline(__always)
func endSection() {
    let word = ownWord
    if ReaderWord(word.pointee.load(ordering: .relaxed)).isPlainOutermost {
        word.pointee.store(ReaderWord.idle.raw, ordering: .releasing)  // as in rcuReadUnlock
    } else {
        readUnlockSlow()
    }
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

/// Any case but a registered thread outside a section or nested.
@inline(never)
package func readLockSlow() {
    let word = ownWord
    let now = ReaderWord(word.pointee.load(ordering: .relaxed))
    if now.depth == ReaderWord.deepest {
        warn(.rcu, "rcu_read_lock", "nested too deep", now.depth)
    } else if now.depth != 0 {
        word.pointee.store(now.raw &+ 1, ordering: .relaxed)
    } else if now != .unregistered || Threads.join() {
        enterSection(word)
    } else {
        LateReaders.enter()
    }
}

/// Any case but a section of a registered thread that nobody waits for.
@inline(never)
package func readUnlockSlow() {
    let word = ownWord
    let now = ReaderWord(word.pointee.load(ordering: .relaxed))
    if now.depth > 1 {
        word.pointee.store(now.raw &- 1, ordering: .relaxed)
    } else if now.depth == 1 {
        word.pointee.store(ReaderWord.idle.raw, ordering: .releasing)  // as in rcuReadUnlock
        if now.wantsWake { ReaderEvent.readerLeft() }
    } else if cp_self().pointee.late_depth != 0 {
        LateReaders.leave()
    } else {
        warn(.rcu, "rcu_read_unlock", "this thread is not inside a read-side section")
    }
}

/// False, with a warning that names `function`, outside a read-side section.
@inline(__always)
@discardableResult
package func rcuCheckReader(_ function: UnsafePointer<CChar>?) -> Bool {
    rcuReadLockHeld() || complainOutsideReader(function)
}

@inline(never)
private func complainOutsideReader(_ function: UnsafePointer<CChar>?) -> Bool {
    warnAbout(.lock, function, "called outside an RCU reader")
    return false
}

/// A check in a rig's own code failed; nil: without words.
@inline(never)
package func rcuLockdepWarn(_ function: UnsafePointer<CChar>?, _ text: UnsafePointer<CChar>?) {
    warnAbout(.lock, function, "suspicious RCU usage", composed: text)
}

/// Are readers free of fences?
package func rcuReadersFenceFree() -> Bool { !currentGracePeriod().needsFences }
