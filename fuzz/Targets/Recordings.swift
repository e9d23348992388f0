// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace
import Replay

/// A file of the library's own events: printed as `tdpmmuctl trace` prints it, which must be a trace that can be
/// read, and that is replayed as any other.
@_cdecl("tdpmmu_fuzz_recording")
public func fuzzRecording(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    guard let file = try? EventFile(file: "input", bytes: bytes(data, size)) else { return -1 }
    guard let trace = try? Trace(file: "input.txt", bytes: Array(file.text.utf8)) else { return 0 }
    for mode in [ReplayMode.calls, .guest] { replay(trace, nil, mode) }
    return 0
}
