// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import Synchronization
import XCTest

@testable import Sync

private let warnings = Atomic<Int>(0)

final class RWLockTests: XCTestCase {
    override func setUp() {
        warnings.store(0, ordering: .relaxed)
        setWarnHandler({ _, _, _ in warnings.add(1, ordering: .relaxed) }, nil)
    }

    override func tearDown() {
        setWarnHandler(nil, nil)
        XCTAssertTrue(LockHolds.isEmpty)
    }

    func testMisuseIsReportedAndHasNoEffect() {
        let memory = Shared(tdpmmu_rwlock())
        let lock = RWLock(memory.pointer)
        XCTAssertFalse(lock.readUnlock())
        XCTAssertFalse(lock.writeUnlock())
        XCTAssertTrue(lock.writeLock())
        XCTAssertFalse(lock.readLock())
        XCTAssertFalse(lock.writeLock())
        XCTAssertFalse(lock.readUnlock())
        XCTAssertTrue(lock.writeUnlock())
        XCTAssertTrue(lock.readLock())
        XCTAssertFalse(lock.writeLock())
        XCTAssertFalse(lock.writeUnlock())
        XCTAssertTrue(lock.readUnlock())
        XCTAssertEqual(warnings.load(ordering: .relaxed), 7)
        XCTAssertEqual(memory.pointer.pointee.state, 0)
    }

    /// Every mix of holds on a few locks against a dictionary that says what is held.
    func testHoldsAgainstModel() {
        let count = 20
        let locks = UnsafeMutablePointer<tdpmmu_rwlock>.allocate(capacity: count)
        locks.initialize(repeating: tdpmmu_rwlock(), count: count)
        var model = [Int](repeating: 0, count: count)
        var generator = SystemRandomNumberGenerator()
        for step in 0..<20_000 {
            let i = Int.random(in: 0..<count, using: &generator)
            let grow = step < 15_000 ? Bool.random(using: &generator) : false
            if grow {
                XCTAssertTrue(RWLock(locks + i).readLock())
                model[i] += 1
            } else if model[i] > 0 {
                XCTAssertTrue(RWLock(locks + i).readUnlock())
                model[i] -= 1
            }
            XCTAssertEqual(RWLock(locks + i).isHeldForRead, model[i] > 0)
            XCTAssertEqual(locks[i].state, model[i] > 0 ? 1 : 0)
            XCTAssertEqual(LockHolds.count, model.count { $0 > 0 })
        }
        for i in 0..<count {
            while model[i] > 0 {
                RWLock(locks + i).readUnlock()
                model[i] -= 1
            }
        }
        XCTAssertEqual(warnings.load(ordering: .relaxed), 0)
        locks.deallocate()
    }

    /// Locks that share a bucket of waiters do not get each other's hand-overs.
    func testManyLocksUnderContention() {
        let count = 100
        let locks = Shared([tdpmmu_rwlock](repeating: tdpmmu_rwlock(), count: count))
        let counters = Shared([Int](repeating: 0, count: count))
        locks.pointer.pointee.withUnsafeMutableBufferPointer { buffer in
            let base = Shared(buffer.baseAddress!)
            counters.pointer.pointee.withUnsafeMutableBufferPointer { values in
                let value = Shared(values.baseAddress!)
                inThreads(4) { number in
                    for round in 0..<10_000 {
                        let i = (round * 7 + number) % count
                        let lock = RWLock(base.pointer.pointee + i)
                        if round % 3 == 0 {
                            lock.writeLock()
                            value.pointer.pointee[i] += 1
                            lock.writeUnlock()
                        } else {
                            lock.readLock()
                            _ = value.pointer.pointee[i]
                            lock.readUnlock()
                        }
                    }
                }
            }
        }
        XCTAssertEqual(counters.pointer.pointee.reduce(0, +), 4 * 3334)
        XCTAssertTrue(locks.pointer.pointee.allSatisfy { $0.state == 0 && $0.sleepers == 0 })
        XCTAssertEqual(warnings.load(ordering: .relaxed), 0)
    }
}
