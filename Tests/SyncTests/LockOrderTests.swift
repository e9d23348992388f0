// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Synchronization
import XCTest

@testable import Sync

private let warnings = Atomic<Int>(0)
/// What the handler itself takes, out of order as well; 0: nothing.
private let takenByHandler = Atomic<UInt>(0)

final class LockOrderTests: XCTestCase {
    override func setUp() {
        warnings.store(0, ordering: .relaxed)
        takenByHandler.store(0, ordering: .relaxed)
        setWarnHandler({ _, _, _ in
            warnings.add(1, ordering: .relaxed)
            guard let word = UnsafeMutablePointer<cp_mutex>(bitPattern: takenByHandler.load(ordering: .relaxed))
            else { return }
            RankedMutex(word, .slots).locked {}
        }, nil)
    }

    override func tearDown() {
        setWarnHandler(nil, nil)
        XCTAssertEqual(LockOrder.heldLocks, LockSet())
    }

    private let all = (1...UInt32.max).prefix { LockRank(rawValue: $0) != nil }.compactMap { LockRank(rawValue: $0) }

    /// Every pair of ranks: in order silent, else one warning; taken in either case.
    func testEveryPairOfMutexes() {
        let first = Shared(cp_mutex()), second = Shared(cp_mutex())
        XCTAssertEqual(all.count, 18)
        for outer in all {
            for inner in all {
                RankedMutex(first.pointer, outer).locked {
                    RankedMutex(second.pointer, inner).locked {
                        XCTAssertEqual(second.pointer.pointee.raw, 1)
                    }
                }
                let expected = inner.rawValue <= outer.rawValue ? 1 : 0
                XCTAssertEqual(warnings.exchange(0, ordering: .relaxed), expected, "\(outer), \(inner)")
                XCTAssertEqual(LockOrder.heldLocks, LockSet())
            }
        }
    }

    func testTryingIsNeverOutOfOrder() {
        let first = Shared(cp_mutex()), second = Shared(cp_mutex())
        let trace = RankedMutex(first.pointer, .trace), slots = RankedMutex(second.pointer, .slots)
        trace.lock()
        XCTAssertTrue(slots.tryLock())
        XCTAssertFalse(slots.tryLock())
        slots.unlock()
        trace.unlock()
        XCTAssertEqual(warnings.load(ordering: .relaxed), 0)
    }

    func testReaderWriterLockUnderAMutex() {
        let memory = Shared(tdpmmu_rwlock()), word = Shared(cp_mutex())
        let lock = RWLock(memory.pointer)
        let pages = RankedMutex(word.pointer, .pages)
        for (rank, expected) in [(nil, 0), (LockRank.mmu, 2)] {
            if let rank { lock.setRank(rank) }
            pages.lock()
            XCTAssertTrue(lock.readLock())
            XCTAssertTrue(lock.readUnlock())
            XCTAssertTrue(lock.writeLock())
            XCTAssertTrue(lock.writeUnlock())
            pages.unlock()
            XCTAssertEqual(warnings.exchange(0, ordering: .relaxed), expected)
        }
        lock.readLock()
        XCTAssertEqual(LockOrder.heldLocks.first(from: .slots), .mmu)
        XCTAssertEqual(LockOrder.heldLocks.firstForbiddingWaits, .mmu)
        XCTAssertNil(LockOrder.heldLocks.first(from: .recovery))
        lock.readUnlock()
    }

    /// A handler that takes locks out of order itself is not told of that.
    func testOneComplaintAtATime() {
        let first = Shared(cp_mutex()), second = Shared(cp_mutex()), third = Shared(cp_mutex())
        takenByHandler.store(UInt(bitPattern: third.pointer), ordering: .relaxed)
        RankedMutex(first.pointer, .trace).locked { RankedMutex(second.pointer, .pages).locked {} }
        XCTAssertEqual(warnings.load(ordering: .relaxed), 1)
    }

    func testThreadEndsWithAMutex() {
        let word = Shared(cp_mutex()), memory = Shared(tdpmmu_rwlock())
        var thread = pthread_t()
        let argument = Shared((word.pointer, memory.pointer))
        pthread_create(&thread, nil, { raw in
            let (word, lock) = raw!.assumingMemoryBound(
                to: (UnsafeMutablePointer<cp_mutex>, UnsafeMutablePointer<tdpmmu_rwlock>).self).pointee
            RWLock(lock).readLock()
            RWLock(lock).readUnlock()
            RankedMutex(word, .vcpus).lock()
            return nil
        }, argument.pointer)
        pthread_join(thread, nil)
        XCTAssertEqual(warnings.load(ordering: .relaxed), 1)
    }
}
