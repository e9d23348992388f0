// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import LibraryClient
import XCTest

@testable import OperationLists

/// What counts as silence of a library: no clock has a part in it.
final class SilenceTests: XCTestCase {
    private let second = 1_000_000_000

    private func text(_ body: (inout Silence) -> Void) -> String {
        var silence = Silence()
        body(&silence)
        return silence.text
    }

    func testSleepAndWorkCount() {
        XCTAssertEqual(text { $0.add(time: second, ran: second / 4, waited: 0, isBusy: false) },
                       "slept 0.7 s, ran 0.2 s, waited for a CPU 0.0 s")
        XCTAssertEqual(text { $0.add(time: second, ran: 2 * second, waited: 0, isBusy: true) },
                       "slept 0.0 s, ran 2.0 s, waited for a CPU 0.0 s", "two threads")
    }

    /// A machine that has no CPU for it does not make it silent.
    func testWaitingForACPUDoesNotCount() {
        XCTAssertEqual(text { $0.add(time: 2 * second, ran: 0, waited: 0, isBusy: true) },
                       "slept 0.0 s, ran 0.0 s, waited for a CPU 0.0 s", "it waits at this moment")
        XCTAssertEqual(text { $0.add(time: 2 * second, ran: 0, waited: 3 * second / 2, isBusy: false) },
                       "slept 0.5 s, ran 0.0 s, waited for a CPU 1.5 s")
        XCTAssertEqual(text { $0.add(time: second, ran: 0, waited: 3 * second, isBusy: false) },
                       "slept 0.0 s, ran 0.0 s, waited for a CPU 3.0 s", "three threads")
    }

    /// The machine was asleep, or this process without a CPU.
    func testTimeWithoutALookDoesNotCount() {
        XCTAssertEqual(text { $0.add(time: 1000 * second, ran: 0, waited: 0, isBusy: false) },
                       "slept 2.0 s, ran 0.0 s, waited for a CPU 0.0 s")
    }

    func testAThreadThatEndsTakesNothingBack() {
        XCTAssertEqual(text {
            $0.add(time: second, ran: second, waited: 0, isBusy: true)
            $0.add(time: second, ran: -second, waited: -second, isBusy: false)
        }, "slept 1.0 s, ran 1.0 s, waited for a CPU 0.0 s")
    }

    func testThreadsOfThisProcess() {
        var sum = 0
        for number in 0..<1_000_000 { sum ^= number &* number }
        let threads = ProcessThreads(of: getpid())
        XCTAssertTrue(threads.threads.contains { $0.id == Int(getpid()) }, "\(sum)")
        XCTAssertTrue(threads.isBusy, "this one runs")
        XCTAssertGreaterThan(threads.ran, 0)
        let text = ThreadPlace.text(of: getpid())
        XCTAssertTrue(text.contains("thread \(getpid()) "), text)
        XCTAssertEqual(ProcessThreads(of: -1).threads.count, 0)
        XCTAssertEqual(ThreadPlace.text(of: -1), "")
    }
}
