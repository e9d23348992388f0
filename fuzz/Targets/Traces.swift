// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace
import Replay

/// A trace as ftrace prints it, behind it perhaps the dumps, from the first line on that begins with "DUMP": read,
/// and replayed call by call, and from what the guest did alone, with the library's own events written down.
@_cdecl("tdpmmu_fuzz_trace")
public func fuzzTrace(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    let (text, dumpText) = parts(bytes(data, size))
    guard let trace = try? Trace(file: "input.txt", bytes: text) else { return -1 }
    var dumps: DumpFile?
    if let dumpText {
        guard let read = try? DumpFile(file: "input.npt.txt", bytes: dumpText) else { return -1 }
        dumps = read
    }
    for mode in [ReplayMode.calls, .guest] { replay(trace, dumps, mode) }
    return 0
}

/// What is no trace of a whole VM is an error to be told, and nothing else.
func replay(_ trace: Trace, _ dumps: DumpFile?, _ mode: ReplayMode) {
    guard let replayer = try? Replayer(trace: trace, dumps: dumps, mode: mode) else { return }
    replayer.report.kept = 4
    try? replayer.run()
    for difference in replayer.report.shown { _ = difference.description }
}

private func parts(_ input: [UInt8]) -> (trace: [UInt8], dumps: [UInt8]?) {
    let mark = Array("DUMP".utf8)
    var start = 0
    while start < input.count {
        if input[start...].starts(with: mark) { return (Array(input[..<start]), Array(input[start...])) }
        guard let end = input[start...].firstIndex(of: 10) else { break }
        start = end + 1
    }
    return (input, nil)
}
