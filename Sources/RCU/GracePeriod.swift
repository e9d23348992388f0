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

/// Wait until every reader that was inside when the call began has left.
package func synchronizeRCU() {
    if rcuReadLockHeld() {
        warn(.rcu, "synchronize_rcu", "called inside a read-side section: it would wait for itself")
        return
    }
    Registry.joinIfNew()
    GracePeriod.wait()
}

enum GracePeriod {
    private static var mutex: FutexMutex { FutexMutex(cp_rcu_gp_mutex()) }
    private static var completed: AtomicWord64 { atomic64(cp_rcu_completed()) }

    /// Wait for a grace period that begins after this call, whoever runs it.
    static func wait() {
        // Full fence: what the caller unlinked must be visible before it looks which
        // grace period runs; a heavy fence that is already under way would not do.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        let wanted = currentGracePeriod().sequence &+ 1
        mutex.lock()
        if completed.pointee.load(ordering: .relaxed) < wanted { run() }
        mutex.unlock()
    }

    /// gp_mutex held.
    private static func run() {
        registryMutex.lock()
        let number = begin()
        var patience = Patience()
        while !pass(number) {
            registryMutex.unlock()
            patience.wait()
            registryMutex.lock()
        }
        registryMutex.unlock()
        completed.pointee.store(number, ordering: .releasing)
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

    /// Registry mutex held.  Step 3, as far as it goes without sleeping: true at the
    /// end of the list.  The cursor survives the mutex being dropped; readers that
    /// join stand before it, and one that leaves moves it on.
    private static func pass(_ number: UInt64) -> Bool {
        let state = cp_registry()
        while let reader = state.pointee.cursor {
            if !spin(atomic64(cp_reader_word(reader)), until: number) { return false }
            state.pointee.cursor = cp_reader_next(reader)
        }
        return spin(LateReaders.word, until: number)
    }

    /// Pauses at one reader with the registry mutex held.
    private static var spinLimit: Int { 100 }

    private static func spin(_ word: AtomicWord64, until number: UInt64) -> Bool {
        #if TDPMMU_BROKEN_GRACE_PERIOD  // so that a torture test can show that it can fail
        return true
        #else
        for _ in 0..<spinLimit {
            // Acquire: pairs with the release in rcuReadUnlock.
            if !ReaderWord(word.pointee.load(ordering: .acquiring)).holdsUp(number) { return true }
            cp_cpu_relax()
        }
        return false
        #endif
    }
}

/// How to wait for somebody who will not wake us: yield first, then sleep, an
/// eighth longer than waited so far, so that being late is bounded in proportion.
struct Patience {
    private var rounds = 0
    private var sleepNS: UInt64 = 20_000

    private static let yields = 8
    private static let longestSleepNS: UInt64 = 1_000_000

    mutating func wait() {
        rounds += 1
        if rounds <= Self.yields {
            cp_yield()
            return
        }
        cp_sleep_ns(sleepNS)
        sleepNS = min(sleepNS &+ sleepNS / 8, Self.longestSleepNS)
    }
}
