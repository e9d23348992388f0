// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace
@testable import Replay

extension Recorded {
    /// Replays it in this process.
    func replay(_ mode: ReplayMode = .calls) -> Outcome {
        Self.replay(trace: Self.bytes(lines), dumps: Self.bytes(dumpLines), mode)
    }

    static func replay(trace: [UInt8], dumps: [UInt8], _ mode: ReplayMode = .calls) -> Outcome {
        Outcome {
            try Replayer(trace: Trace(file: "X.txt", bytes: trace), dumps: DumpFile(file: "X.npt.txt", bytes: dumps),
                         mode: mode)
        }
    }
}

/// What a replay came to.
enum Outcome: Equatable {
    case equal
    case different(String) // FILE:LINE of the first difference
    case bad(String) // FILE:LINE: problem

    init(_ make: () throws -> Replayer) {
        do {
            let replayer = try make()
            try replayer.run()
            self = replayer.report.first.map { .different("\($0.file):\($0.line)") } ?? .equal
        } catch {
            self = .bad("\(error)")
        }
    }
}
