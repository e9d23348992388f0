// SPDX-License-Identifier: GPL-2.0-only
// SRCU: readers that may sleep, in domains of their own.
//
// A domain has two indexes, each with counts of readers that came in and that went
// out, spread over shards.  A reader takes the current index.  A grace period:
//  1. waits until nobody is inside with the other index (stragglers that read the
//     current one long ago and came in with it when it was no longer that);
//  2. makes the other index the current one;
//  3. waits until nobody is inside with the old one.
// Who came in before the grace period has one of the two; who comes in later takes
// the new index after 2, so 3 ends.  It is nobody's job to run a grace period: all
// who wait, and the callback thread, push it on when they look (advance), and a
// reader that leaves while somebody waits wakes them all.
//
// One mutex covers the grace periods and callbacks of all domains.  Readers do not
// take it.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// What all domains share.
enum SRCU {
    static var mutex: RankedMutex { RankedMutex(cp_srcu_mutex(), .srcu) }

    private static var event: AtomicWord32 { atomic32(cp_srcu_event()) }
    private static var work: AtomicWord32 { atomic32(cp_srcu_work()) }

    private static var firstSpins: Int { 200 }

    /// SRCU mutex held, dropped while waiting.  Until the condition holds.
    static func waitUntil(_ domain: SRCUDomain, _ function: StaticString, _ condition: () -> Bool) {
        var complaints = StallClock()
        var spins = firstSpins
        while true {
            // Before the look: what changes after it changes the event.  Acquire: pairs
            // with the releases in changed and readerLeft.
            let seen = event.pointee.load(ordering: .acquiring)
            if condition() { return }
            domain.state.pointee.waiters &+= 1
            cp_srcu_all().pointee.sleepers &+= 1
            mutex.unlock()
            if spins > 0 {
                spins -= 1
                if spins % 20 == 0 { cp_yield() } else { cp_cpu_relax() }
            } else {
                cp_futex_wait(cp_srcu_event(), seen, complaints.sleepNS)
                if let age = complaints.stalledFor() {
                    warn(.rcu, function, "a reader holds up an SRCU grace period",
                         UInt64(UInt(bitPattern: domain.domain)), age)
                }
            }
            mutex.lock()
            cp_srcu_all().pointee.sleepers &-= 1
            domain.state.pointee.waiters &-= 1
        }
    }

    /// SRCU mutex held.  Something that others wait for has happened.
    static func changed() {
        event.pointee.wrappingAdd(1, ordering: .releasing)
        if cp_srcu_all().pointee.sleepers != 0 { cp_futex_wake(cp_srcu_event(), Int32.max) }
    }

    /// A reader left while somebody waited for one.  No mutex, and not the domain's
    /// memory, which may be gone.
    @inline(never)
    static func readerLeft() {
        if atomic32(cp_srcu_waiting()).pointee.exchange(0, ordering: .sequentiallyConsistent) == 0 {
            return
        }
        event.pointee.wrappingAdd(1, ordering: .releasing)
        cp_futex_wake(cp_srcu_event(), Int32.max)
        work.pointee.store(1, ordering: .sequentiallyConsistent)
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // pairs with that in Worker.sleep
        Worker.nudge()
    }

    /// There is something to do for the callback thread.
    static func tellWorker() {
        work.pointee.store(1, ordering: .sequentiallyConsistent)
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // pairs with that in Worker.sleep
        Worker.wake()
    }

    // MARK: The callback thread (engine mutex held)

    static var hasWork: Bool { work.pointee.load(ordering: .relaxed) != 0 }

    /// Push all domains on and run what has become ripe.  Never waits for a reader.
    static func service() {
        if !hasWork { return }
        // Acquire: what was done before the word was set is seen below, by the mutex.
        while work.pointee.exchange(0, ordering: .acquiring) != 0 {
            while let (domain, batch) = nextRipe() {
                let count = CallbackEngine.invoke(batch)
                mutex.lock()
                domain.state.pointee.invoked &+= count
                changed()
                mutex.unlock()
            }
        }
    }

    /// A domain with callbacks to run.  It stays alive until they are counted.
    private static func nextRipe() -> (SRCUDomain, CallbackList)? {
        mutex.lock()
        defer { mutex.unlock() }
        var link = cp_srcu_all().pointee.domains
        while let state = link {
            let domain = SRCUDomain(state)
            domain.advance()
            let batch = domain.takeRipe()
            if !batch.isEmpty { return (domain, batch) }
            link = state.pointee.next
        }
        return nil
    }

    /// In a forked child, SRCU mutex held (by the prepare handler).
    static func childForked() {
        var link = cp_srcu_all().pointee.domains
        while let state = link {
            SRCUDomain(state).forget()
            link = state.pointee.next
        }
        cp_srcu_all().pointee.sleepers = 0
        SRCUHolds.countAgain()
    }
}
