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
// reader that leaves while a thread waits (waitUntil) wakes them all.
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

    static var event: AtomicWord32 { shared(cp_srcu_event()) }

    /// SRCU mutex held.  Something that others wait for has happened.
    static func changed() {
        event.pointee.wrappingAdd(1, ordering: .releasing)
        if cp_srcu_all().pointee.sleepers != 0 { cp_futex_wake(cp_srcu_event(), Int32.max) }
    }

    /// A reader left while a thread waited for one.  No mutex, and not the domain's
    /// memory, which may be gone.
    @inline(never)
    static func readerLeft() {
        if shared(cp_srcu_waiting()).pointee.exchange(0, ordering: .sequentiallyConsistent) == 0 {
            return
        }
        event.pointee.wrappingAdd(1, ordering: .releasing)
        cp_futex_wake(cp_srcu_event(), Int32.max)
        SRCUWork.set()
        WorkerWord.nudge()
    }
}

/// Has the callback thread something to do for a domain?
enum SRCUWork {
    private static var word: AtomicWord32 { shared(cp_srcu_work()) }

    static var isThere: Bool { word.pointee.load(ordering: .relaxed) != 0 }

    static func set() {
        word.pointee.store(1, ordering: .sequentiallyConsistent)
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // pairs with that in Worker.sleep
    }

    /// The same by the SRCU mutex's holder, who looks after it; no worker need wake.
    static func setLater() { word.pointee.store(1, ordering: .relaxed) }

    /// Acquire: what was done before the word was set is seen afterwards, by the mutex.
    static func take() -> Bool { word.pointee.exchange(0, ordering: .acquiring) != 0 }
}
