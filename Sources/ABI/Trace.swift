// SPDX-License-Identifier: GPL-2.0-only
// trace.h
import CPlatform
import CTDPMMU
import MMU
import Tracing

@c @implementation
public func tdpmmu_trace_name(_ id: Int32) -> UnsafePointer<CChar>? {
    guard (0..<Int32(bitPattern: TDPMMU_TRACE_COUNT.rawValue)).contains(id) else { return nil }
    return cp_trace_event_name(id)
}

@c @implementation
public func tdpmmu_trace_enable(_ kvm: UnsafeMutablePointer<kvm>?, _ events: UInt64) -> Int32 {
    guard let entry = Contract.tdpmmu_trace_enable.enter(kvm) else { return .invalid }
    guard events >> UInt64(TDPMMU_TRACE_COUNT.rawValue) == 0 else {
        entry.refuse("events has bits that are no events (events)", events)
        return .invalid
    }
    entry.vm.traceToRings(events)
    return 0
}

@c @implementation
public func tdpmmu_trace_ring_size(_ events: Int) -> Int32 {
    if TraceRings.setSize(events) { return 0 }
    Contract.tdpmmu_trace_ring_size.refuse(
        "events is no power of two from 64 to 2^24 (events)", nil, UInt64(bitPattern: Int64(events)))
    return .invalid
}

@c @implementation
public func tdpmmu_trace_read(
    _ events: UnsafeMutablePointer<tdpmmu_trace_event>?, _ n: Int, _ lost: UnsafeMutablePointer<UInt64>?
) -> Int {
    guard n >= 0, n == 0 || events != nil else {
        Contract.tdpmmu_trace_read.refuse(
            n < 0 ? "n is beyond what memory can hold (n)" : "events is NULL (n)", nil, UInt64(bitPattern: Int64(n)))
        return 0
    }
    let count = events.map { TraceRings.read($0, room: n) } ?? 0
    let overwritten = TraceRings.takeLost()
    if let lost { lost.pointee &+= overwritten }
    return count
}

@c @implementation
public func tdpmmu_trace_write(_ fd: Int32) -> Int {
    guard fd >= 0 else {
        Contract.tdpmmu_trace_write.refuse("fd is below 0 (fd)", nil, UInt64(signed: fd))
        return Int(Int32.invalid)
    }
    return TraceFile(fd: fd).write()
}

@c @implementation
public func tdpmmu_trace_mark(_ kvm: UnsafeMutablePointer<kvm>?, _ text: UnsafePointer<CChar>?) -> Int32 {
    guard let entry = Contract.tdpmmu_trace_mark.enter(kvm) else { return .invalid }
    guard let text, let length = printableLength(text) else {
        entry.refuse("text is NULL, longer than 65535 bytes or no printable ASCII (text)", UInt64(text))
        return .invalid
    }
    entry.vm.mark(text, length: length)
    return 0
}

private func printableLength(_ text: UnsafePointer<CChar>) -> Int? {
    for length in 0...65535 {
        let byte = text[length]
        if byte == 0 { return length }
        guard byte >= 0x20, byte < 0x7f else { return nil }
    }
    return nil
}
