// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace
@testable import Replay

/// Flips bits of recorded lines and replays what comes of it.
class FlipTestCase: XCTestCase {
    /// Flips each bit of each hexadecimal digit behind `key` in the line and
    /// checks what `verdict` says of the outcome.
    func flip(_ trace: Recorded, dump: Bool = false, line number: Int, _ key: String,
                      decimal: Bool = false, _ verdict: (Outcome) -> Bool)
    {
        var bytes = [Recorded.bytes(trace.lines), Recorded.bytes(trace.dumpLines)]
        let file = dump ? 1 : 0
        let lines = dump ? trace.dumpLines : trace.lines
        let text = Array(lines[number - 1].utf8)
        guard let start = position(behind: Array(key.utf8), text) else { return XCTFail("no \(key) in \(lines[number - 1])") }
        let offset = lines[..<(number - 1)].reduce(0) { $0 + $1.utf8.count + 1 }
        var count = 0
        for index in start..<text.count {
            guard let digit = text[index].hexDigit else { break }
            for bit in 0..<4 {
                let value = digit ^ 1 << UInt8(bit)
                if decimal, value > 9 { continue }
                bytes[file][offset + index] = Array("0123456789abcdef".utf8)[Int(value)]
                let outcome = Recorded.replay(trace: bytes[0], dumps: bytes[1])
                XCTAssertTrue(verdict(outcome), "\(trace.name) line \(number), \(key) digit \(index - start) bit \(bit): \(outcome)")
                count += 1
            }
            bytes[file][offset + index] = text[index]
        }
        XCTAssertGreaterThan(count, 0)
    }

    private func position(behind key: [UInt8], _ text: [UInt8]) -> Int? {
        guard text.count > key.count else { return nil }
        for start in (0...text.count - key.count).reversed() where Array(text[start..<start + key.count]) == key {
            return start + key.count
        }
        return nil
    }

    func isDifferent(at line: Int, _ file: String = "X.txt") -> (Outcome) -> Bool {
        { $0 == .different("\(file):\(line)") }
    }

    func isDifferent(_ outcome: Outcome) -> Bool {
        if case .different = outcome { true } else { false }
    }

    func isNotEqual(_ outcome: Outcome) -> Bool { outcome != .equal }
}
