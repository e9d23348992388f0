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
//
// The library knows of a domain only as long as there is something to do for it: callbacks,
// or a grace period that start_poll_ asked for.  So one whose memory goes without
// cleanup_srcu_struct() harms nobody.  Domains with something to do stand in buckets, chosen by
// their addresses; the callback thread looks at those buckets in which something happened.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// What all domains share.
enum SRCU {
    static var mutex: RankedMutex { RankedMutex(cp_srcu_mutex(), .srcu) }

    static var event: AtomicWord32 { shared(cp_srcu_event()) }

    /// Buckets, a bit each, in which somebody waits for a reader.
    static var waiting: AtomicWord64 { shared(cp_srcu_waiting()) }

    /// Which process this is, seen from the first one.
    static var process: AtomicWord32 { shared(cp_srcu_this_process()) }

    /// SRCU mutex held.  Something that others wait for has happened.
    static func changed() {
        event.pointee.wrappingAdd(1, ordering: .releasing)
        if cp_srcu_all().pointee.sleepers != 0 { cp_futex_wake(cp_srcu_event(), Int32.max) }
    }

    /// A reader left while a thread waited for one in this bucket.  No mutex, and not the domain's
    /// memory, which may be gone.
    @inline(never)
    static func readerLeft(_ bucket: UInt64) {
        // Sequentially consistent: pairs with the fence in isQuiet, as the load in leave.
        let before = waiting.pointee.bitwiseAnd(~bucket, ordering: .sequentiallyConsistent).oldValue
        if before & bucket == 0 { return }
        event.pointee.wrappingAdd(1, ordering: .releasing)
        cp_futex_wake(cp_srcu_event(), Int32.max)
        SRCUWork.set(bucket)
        WorkerWord.nudge()
    }

    /// In a forked child, SRCU mutex held (by the prepare handler).  No domain is set up in this
    /// process yet, and none has anything to do.
    static func childForked() {
        process.pointee.wrappingAdd(1, ordering: .relaxed)
        let all = cp_srcu_all()
        for bucket in 0..<Int(CP_SRCU_BUCKETS) { cp_srcu_global_buckets(all)[bucket] = nil }
        all.pointee.round = nil
        all.pointee.pending = 0
        all.pointee.sleepers = 0
        all.pointee.heavy = 0
    }
}

/// In which buckets has the callback thread something to do?
enum SRCUWork {
    private static var word: AtomicWord64 { shared(cp_srcu_work()) }

    static var isThere: Bool { word.pointee.load(ordering: .relaxed) != 0 }

    static func set(_ buckets: UInt64) {
        word.pointee.bitwiseOr(buckets, ordering: .sequentiallyConsistent)
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // pairs with that in Worker.sleep
    }

    /// Acquire: what was done before the word was set is seen afterwards, by the mutex.
    static func take() -> UInt64 { word.pointee.exchange(0, ordering: .acquiring) }
}
