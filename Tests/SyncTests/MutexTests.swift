// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import XCTest

@testable import Sync

final class MutexTests: XCTestCase {
    func testTryLock() {
        let word = Shared(cp_mutex())
        let mutex = FutexMutex(word.pointer)
        XCTAssertTrue(mutex.tryLock())
        XCTAssertFalse(mutex.tryLock())
        mutex.unlock()
        XCTAssertTrue(mutex.tryLock())
        mutex.unlock()
        XCTAssertEqual(word.pointer.pointee.raw, 0)
    }

    func testExclusion() {
        let word = Shared(cp_mutex())
        let counter = Shared(0)
        inThreads(4) { _ in
            for i in 0..<20_000 {
                let mutex = FutexMutex(word.pointer)
                mutex.lock()
                counter.pointer.pointee += 1
                if i % 1000 == 0 { Thread.sleep(forTimeInterval: 0.0001) }
                mutex.unlock()
            }
        }
        XCTAssertEqual(counter.pointer.pointee, 80_000)
        XCTAssertEqual(word.pointer.pointee.raw, 0)
    }
}
