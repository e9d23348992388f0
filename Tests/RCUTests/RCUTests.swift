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

private var workerState: UInt32 { atomic32(cp_rcu_worker()).pointee.load(ordering: .relaxed) }

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

    func testCallbacksOfManyThreads() {
        inThreads(8) { _ in
            for _ in 0..<10 { queue(1_000) }
        }
        rcuBarrier()
        XCTAssertEqual(invoked.load(ordering: .relaxed), 80_000)
        XCTAssertEqual(warnings.load(ordering: .relaxed), 0)
    }

    /// No thread to be had: callbacks run where they are queued, or, inside a reader,
    /// at the next occasion.  None is lost.
    func testWithoutWorker() {
        queue(1)
        rcuBarrier()
        Worker.end()
        XCTAssertEqual(workerState, CP_WORKER_ENDED.rawValue)
        atomic32(cp_rcu_worker()).pointee.store(CP_WORKER_NONE.rawValue, ordering: .relaxed)
        cp_test_refuse_threads(true)
        queue(5)
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
        XCTAssertLessThanOrEqual(workerState, CP_WORKER_ASLEEP.rawValue)
        XCTAssertEqual(invoked.load(ordering: .relaxed), 17)
        XCTAssertEqual(warnings.load(ordering: .relaxed), 0)
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
        atomic32(cp_rcu_worker()).pointee.store(CP_WORKER_NONE.rawValue, ordering: .relaxed)
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
