// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Synchronization
import XCTest

@testable import RCU
@testable import Sync

private let warnings = Atomic<Int>(0)
private let invoked = Atomic<Int>(0)
private let readerInside = Atomic<Bool>(false)
private let readerLeft = Atomic<Bool>(false)

private func countAndFree(_ head: UnsafeMutablePointer<rcu_head>?) {
    invoked.add(1, ordering: .relaxed)
    head?.deallocate()
}

private var workerState: UInt32 { shared(cp_call_worker()).pointee.load(ordering: .relaxed) }

private func queue(_ count: Int) {
    for _ in 0..<count { callRCU(.allocate(capacity: 1), countAndFree) }
}

final class RCUTests: XCTestCase {
    override func setUp() {
        warnings.store(0, ordering: .relaxed)
        invoked.store(0, ordering: .relaxed)
        setWarnHandler({ _, _, _ in warnings.add(1, ordering: .relaxed) }, nil)
    }

    override func tearDown() {
        setWarnHandler(nil, nil)
        XCTAssertFalse(rcuReadLockHeld())
    }

    func testWordsOfReaders() {
        let old = ReaderWord(0x40001)
        XCTAssertEqual(old.sequence, 1)
        XCTAssertEqual(old.depth, 1)
        XCTAssertFalse(old.needsFences)
        XCTAssertTrue(old.holdsUp(2))
        XCTAssertFalse(old.holdsUp(1))
        XCTAssertTrue(ReaderWord(old.raw + 0xfffe).holdsUp(2), "nested as deep as can be")
        XCTAssertFalse(old.nextSequence.holdsUp(2))
        XCTAssertEqual(old.nextSequence.depth, 1)
        XCTAssertFalse(ReaderWord.idle.holdsUp(UInt64.max >> 18))
        XCTAssertFalse(ReaderWord.unregistered.holdsUp(UInt64.max >> 18))
    }

    func testNesting() {
        for depth in 0..<100 {
            XCTAssertEqual(rcuReadLockHeld(), depth > 0)
            rcuReadLock()
        }
        for _ in 0..<100 {
            XCTAssertTrue(rcuReadLockHeld())
            rcuReadUnlock()
        }
        rcuReadUnlock()
        XCTAssertEqual(warnings.load(ordering: .relaxed), 1)
    }

    func testSynchronizeWaitsForReader() {
        inThreads(3) { number in
            if number == 0 {
                rcuReadLock()
                readerInside.store(true, ordering: .releasing)
                Thread.sleep(forTimeInterval: 0.02)
                readerLeft.store(true, ordering: .releasing)
                rcuReadUnlock()
                return
            }
            while !readerInside.load(ordering: .acquiring) { Thread.sleep(forTimeInterval: 0.001) }
            synchronizeRCU()
            XCTAssertTrue(readerLeft.load(ordering: .acquiring))
        }
    }

    /// Threads that come and go leave no difference between what was told and what ran.
    func testPendingCountOfShortThreads() {
        let pending = { Int64(bitPattern: shared(cp_flood_pending()).pointee.load(ordering: .relaxed)) }
        rcuBarrier()
        let before = pending()
        for _ in 0..<50 { inThreads(4) { _ in queue(100) } }
        rcuBarrier()
        XCTAssertEqual(invoked.load(ordering: .relaxed), 20_000)
        // What a thread has not told of, it tells when it exits, which may be later.
        for _ in 0..<10_000 where pending() < before - 4096 { Thread.sleep(forTimeInterval: 0.001) }
        XCTAssertGreaterThanOrEqual(pending(), before - 4096)
    }

    func testCallbacksOfManyThreads() {
        inThreads(8) { _ in
            for _ in 0..<10 { queue(1_000) }
        }
        rcuBarrier()
        XCTAssertEqual(invoked.load(ordering: .relaxed), 80_000)
        XCTAssertEqual(warnings.load(ordering: .relaxed), 0)
    }

    /// No thread to be had: callbacks run where somebody waits for them, or in the next thread
    /// there is.  Never in callRCU(), and none is lost.
    func testWithoutWorker() {
        queue(1)
        rcuBarrier()
        Worker.end()
        XCTAssertEqual(workerState, WorkerWord.ended)
        shared(cp_call_worker()).pointee.store(WorkerWord.none, ordering: .relaxed)
        cp_test_refuse_threads(true)
        queue(5)
        synchronizeRCU()
        XCTAssertEqual(invoked.load(ordering: .relaxed), 1)
        rcuBarrier()
        XCTAssertEqual(invoked.load(ordering: .relaxed), 6)
        rcuReadLock()
        queue(5)
        rcuReadUnlock()
        XCTAssertEqual(invoked.load(ordering: .relaxed), 6)
        rcuBarrier()
        XCTAssertEqual(invoked.load(ordering: .relaxed), 11)
        rcuReadLock()
        queue(5)
        rcuReadUnlock()
        cp_test_refuse_threads(false)
        queue(1)
        rcuBarrier()
        XCTAssertLessThanOrEqual(workerState, WorkerWord.asleep)
        XCTAssertEqual(invoked.load(ordering: .relaxed), 17)
        XCTAssertEqual(warnings.load(ordering: .relaxed), 1, "said once that there is no thread")
    }

    /// The same for what else needs a worker: whoever polls or waits does the work.
    func testPollsAndSRCUWithoutWorker() {
        queue(1)
        rcuBarrier()
        Worker.end()
        shared(cp_call_worker()).pointee.store(WorkerWord.none, ordering: .relaxed)
        cp_test_refuse_threads(true)
        let cookie = rcuStartPoll()
        XCTAssertTrue(rcuPollState(cookie))
        rcuReadLock()
        let later = rcuStartPoll()
        XCTAssertFalse(rcuPollState(later))
        rcuReadUnlock()
        XCTAssertTrue(rcuPollState(later))

        let memory = Shared(srcu_struct())
        let domain = SRCUDomain(memory.pointer)
        domain.initialize()
        domain.call(.allocate(capacity: 1), countAndFree)
        XCTAssertEqual(invoked.load(ordering: .relaxed), 1)
        let index = domain.readLock()
        domain.call(.allocate(capacity: 1), countAndFree)
        XCTAssertEqual(invoked.load(ordering: .relaxed), 1)
        domain.readUnlock(index)
        domain.barrier()
        XCTAssertEqual(invoked.load(ordering: .relaxed), 3)
        XCTAssertTrue(domain.cleanUp())
        cp_test_refuse_threads(false)
        XCTAssertEqual(warnings.load(ordering: .relaxed), 1)
    }

    /// Readers in all shards, both indexes in use, grace periods all the while.
    func testSRCUOfManyThreads() {
        let memory = Shared(srcu_struct())
        SRCUDomain(memory.pointer).initialize()
        inThreads(12) { number in
            let domain = SRCUDomain(memory.pointer)
            for i in 0..<200 {
                let outer = domain.readLock()
                let inner = domain.readLock()
                XCTAssertTrue(domain.isReadLockHeld)
                domain.readUnlock(outer)
                domain.readUnlock(inner)
                if number % 3 == 0 { domain.synchronize() }
                if number % 3 == 1, i % 10 == 0 { domain.call(.allocate(capacity: 1), countAndFree) }
            }
            XCTAssertFalse(domain.isReadLockHeld)
        }
        let domain = SRCUDomain(memory.pointer)
        domain.barrier()
        XCTAssertEqual(invoked.load(ordering: .relaxed), 4 * 20)
        XCTAssertTrue(domain.cleanUp())
        XCTAssertFalse(domain.cleanUp())
        XCTAssertEqual(warnings.load(ordering: .relaxed), 1)
    }

    /// A reader that a grace period sleeps for is asked for a wake-up, and gives it.
    func testWakeWish() {
        let word = ReaderWord(0x40003)
        XCTAssertTrue(word.isPlainNested)
        XCTAssertFalse(word.isPlainOutermost)
        let asked = word.askingForWake
        XCTAssertEqual(asked.depth, 3)
        XCTAssertTrue(asked.wantsWake)
        XCTAssertFalse(asked.isPlainNested)
        XCTAssertTrue(asked.holdsUp(2))
        XCTAssertFalse(ReaderWord(0x40001).askingForWake.isPlainOutermost)

        rcuReadLock()
        rcuReadLock()
        ownWord.pointee.store(
            ReaderWord(ownWord.pointee.load(ordering: .relaxed)).askingForWake.raw, ordering: .relaxed)
        let before = shared(cp_gp_event()).pointee.load(ordering: .relaxed)
        rcuReadLock()
        rcuReadUnlock()
        rcuReadUnlock()
        XCTAssertTrue(rcuReadLockHeld())
        XCTAssertEqual(shared(cp_gp_event()).pointee.load(ordering: .relaxed), before)
        rcuReadUnlock()
        XCTAssertFalse(rcuReadLockHeld())
        XCTAssertNotEqual(shared(cp_gp_event()).pointee.load(ordering: .relaxed), before)
    }

    /// After the worker's end at exit(), rcu_barrier() still does what it says.
    func testAfterTheEnd() {
        queue(1)
        rcuBarrier()
        Worker.end()
        rcuReadLock()
        queue(3)
        rcuReadUnlock()
        rcuBarrier()
        XCTAssertEqual(invoked.load(ordering: .relaxed), 4)
        shared(cp_call_worker()).pointee.store(WorkerWord.none, ordering: .relaxed)
    }

    /// A queued head is known by its func field, wherever it is in a queue.
    func testMarkOfQueuedHeads() {
        let head = UnsafeMutablePointer<rcu_head>.allocate(capacity: 1)
        head.initialize(to: rcu_head())
        rcuReadLock()
        callRCU(head, countAndFree)
        let copy = Shared(head.pointee)  // at another address it means nothing
        queue(3)
        callRCU(head, countAndFree)
        XCTAssertEqual(warnings.load(ordering: .relaxed), 1)
        callRCU(copy.pointer) { _ in invoked.add(100, ordering: .relaxed) }
        XCTAssertEqual(warnings.load(ordering: .relaxed), 1)
        rcuReadUnlock()
        rcuBarrier()
        XCTAssertEqual(invoked.load(ordering: .relaxed), 104)
    }
}
