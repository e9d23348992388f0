// SPDX-License-Identifier: GPL-2.0-only
// Grace periods: wait until every section that might have seen something before
// the call is over.
//
// Algorithm of one grace period, one at a time under gp_mutex:
//  1. n = number of the last one + 1; publish it in the grace-period word;
//  2. one heavy fence: every thread now either shows its section's word, or has
//     not begun it and will see all that was done before step 1;
//  3. pass over the registered readers, waiting at each until its word is idle or
//     carries a number of at least n;
//  4. n is complete.
// Numbers have 46 bits and only grow, so a reader that took an old number and was
// preempted before storing it merely makes a later grace period wait; no second
// pass is needed as where the number is one bit (docs/LOCKING.md has the table).
import CPlatform
import CTDPMMU
import Sync
import Synchronization

enum GracePeriod {
    static var mutex: RankedMutex { RankedMutex(cp_gp_mutex(), .gracePeriod) }
    private static var completed: AtomicWord64 { shared(cp_gp_completed()) }

    /// The grace period that begins next.
    static func next() -> UInt64 {
        // Full fence: what the caller unlinked must be visible before it looks which
        // grace period runs; a heavy fence that is already under way would not do.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        return currentGracePeriod().sequence &+ 1
    }

    static func isOver(_ number: UInt64) -> Bool {
        // Acquire: pairs with the release in wait; what readers did is over.
        completed.pointee.load(ordering: .acquiring) >= number
    }

    /// Wait for a grace period that begins after this call, in whatever thread it runs.
    static func wait(_ kind: Breakable) { wait(for: next(), kind) }

    /// Wait until grace period `wanted` is over, a number that next() gave.
    static func wait(for wanted: UInt64, _ kind: Breakable) {
        mutex.lock()
        // Release: pairs with the acquire in isOver.
        if completed.pointee.load(ordering: .relaxed) < wanted {
            completed.pointee.store(kind.isBroken ? skip() : run(), ordering: .releasing)
        }
        mutex.unlock()
    }

    /// Bring grace period `wanted` on without waiting for anybody, where no thread does that:
    /// callers look now and then (rcuPollState), and each goes on where the last one stood.
    static func push(to wanted: UInt64) {
        guard mutex.tryLock() else { return }
        if completed.pointee.load(ordering: .relaxed) < wanted, let number = pushOnce() {
            completed.pointee.store(number, ordering: .releasing)  // as in wait
        }
        mutex.unlock()
    }

    /// gp_mutex held.  The number of the grace period that is over by now, or nil.
    private static func pushOnce() -> UInt64? {
        registryMutex.lock()
        defer { registryMutex.unlock() }
        let begun = attempt.pointee.load(ordering: .relaxed)
        let number = begun != 0 ? begun : begin()
        let isOver = pass(number, askForWake: false) == nil
        attempt.pointee.store(isOver ? 0 : number, ordering: .relaxed)
        return isOver ? number : nil
    }

    /// gp_mutex held.  The grace period that push() has begun and not ended, or 0.
    private static var attempt: AtomicWord64 { shared(cp_gp_attempt()) }

    /// gp_mutex held.  What a test breaks: the number goes up, nobody is waited for.
    private static func skip() -> UInt64 {
        let next = currentGracePeriod().nextSequence
        gracePeriodWord.pointee.store(next.raw, ordering: .releasing)  // as in begin
        return next.sequence
    }

    /// gp_mutex held.
    private static func run() -> UInt64 {
        registryMutex.lock()
        attempt.pointee.store(0, ordering: .relaxed)  // this one serves for that as well
        let number = begin()
        var patience = Patience()
        // Before the look at the readers: a reader that leaves after it changes the event.
        var seen = ReaderEvent.word.pointee.load(ordering: .acquiring)
        while let thread = pass(number, askForWake: patience.willSleep) {
            registryMutex.unlock()
            patience.wait(seen)
            patience.complainIfStalled(thread)
            registryMutex.lock()
            seen = ReaderEvent.word.pointee.load(ordering: .acquiring)
        }
        registryMutex.unlock()
        return number
    }

    /// Registry mutex held.  Steps 1 and 2.
    private static func begin() -> UInt64 {
        let next = currentGracePeriod().nextSequence
        // Release: pairs with the acquire in enterSection.
        gracePeriodWord.pointee.store(next.raw, ordering: .releasing)
        // Pairs with the fence in enterSection.
        if next.needsFences { cp_grace_period_fence() } else { cp_membarrier() }
        let state = cp_registry()
        state.pointee.cursor = state.pointee.readers
        return next.sequence
    }

    /// Registry mutex held.  Step 3, as far as it goes without sleeping: nil at the
    /// end of the list, else the thread whose reader is in the way (0: one that
    /// exits).  The cursor survives the mutex being dropped; readers that join stand
    /// before it, and one that leaves moves it on.
    private static func pass(_ number: UInt64, askForWake: Bool) -> UInt64? {
        let state = cp_registry()
        while let reader = state.pointee.cursor {
            let word = shared(cp_reader_word(reader))
            if !spin(word, until: number) {
                if !askForWake || ask(word, number) { return cp_reader_place(reader).pointee.tid }
            }
            state.pointee.cursor = cp_reader_place(reader).pointee.next
        }
        if spin(LateReaders.word, until: number) { return nil }
        return askForWake && !ask(LateReaders.word, number) ? nil : 0
    }

    /// Pauses at one reader with the registry mutex held.
    private static var spinLimit: Int { pauses(100) }

    private static func spin(_ word: AtomicWord64, until number: UInt64) -> Bool {
        for _ in 0..<spinLimit {
            // Acquire: pairs with the release in rcuReadUnlock.
            if !ReaderWord(word.pointee.load(ordering: .acquiring)).holdsUp(number) { return true }
            cp_cpu_relax()
        }
        return false
    }

    /// Have the reader wake us when it leaves.  Its thread changes the word with plain
    /// stores, so the wish may get lost; hence all sleeps are short.  False if it has
    /// left.
    private static func ask(_ word: AtomicWord64, _ number: UInt64) -> Bool {
        while true {
            let now = ReaderWord(word.pointee.load(ordering: .acquiring))  // as in spin
            if !now.holdsUp(number) { return false }
            if word.pointee.compareExchange(
                expected: now.raw, desired: now.askingForWake.raw, ordering: .relaxed
            ).exchanged { return true }
        }
    }
}
