// SPDX-License-Identifier: GPL-2.0-only
// When readers of a lock need not count themselves in it: while writers are rare.
//
// A writer takes the bias away, which costs it a membarrier where other threads read.  It comes
// back when readers have come often enough, and no writer, that the next writer's membarrier costs
// less than their counting did.  Writers that come more often find no bias and call nobody.
import CPlatform
import Synchronization

enum ReaderBias {
    /// A reader writes to `calm` every so often.
    private static var readsPerStep: UInt16 { 16 }
    /// Steps, without a writer between, before the bias comes: 2048 reads, about 30 us of
    /// counting.
    private static var steps: UInt8 { 128 }

    /// The calling thread has just counted itself in.
    @inline(__always)
    static func countedIn(_ word: RWLockWord) {
        let notes = ReaderNotes.own
        notes.pointee.counted &+= 1
        if notes.pointee.counted % readsPerStep == 0 { grow(word) }
    }

    /// Not exact, as others do it as well: what is lost makes the bias come later.
    @inline(never)
    private static func grow(_ word: RWLockWord) {
        let calm = shared(cp_lock_calm(word.lock)), steps = calm.pointee.load(ordering: .relaxed)
        if steps < Self.steps {
            calm.pointee.store(steps &+ 1, ordering: .relaxed)
        } else if ReaderNotes.join() {
            set(word)
        }
    }

    private static func set(_ word: RWLockWord) {
        let seen = word.state.pointee.load(ordering: .relaxed)
        guard seen & (RWLockWord.writeBit | RWLockWord.waitBit | RWLockWord.biasBit) == 0 else { return }
        // Relaxed: we hold the lock; who comes in by the bit reads the last writer's release on,
        // through the exchanges that followed it.
        _ = word.state.pointee.compareExchange(
            expected: seen, desired: seen | RWLockWord.biasBit, ordering: .relaxed)
    }

    /// By the thread that has just got the lock for write, if the bias is there still.
    @inline(never)
    static func takeAway(_ word: RWLockWord) {
        ReaderNotes.waitUntilUnread(UInt(bitPattern: word.lock))
        // Relaxed: only we are in; the bit means nothing to others but that we wait.
        word.state.pointee.bitwiseAnd(~RWLockWord.biasBit, ordering: .relaxed)
    }

    /// The same if nobody reads; false, and nothing was done, else.
    static func tryTakeAway(_ word: RWLockWord) -> Bool {
        guard ReaderNotes.isUnread(UInt(bitPattern: word.lock)) else { return false }
        word.state.pointee.bitwiseAnd(~RWLockWord.biasBit, ordering: .relaxed)
        return true
    }

    /// A writer leaves.  Relaxed: a hint.
    @inline(__always)
    static func writerLeaves(_ word: RWLockWord) {
        // Who alone makes notes takes the bias away without a membarrier: it may come back at the next step.
        let taken = ReaderNotes.isAlone ? steps : 0
        shared(cp_lock_calm(word.lock)).pointee.store(taken, ordering: .relaxed)
    }
}
