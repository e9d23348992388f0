// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import Foundation
import XCTest

@testable import KernelTrace
@testable import Replay

/// The library's events as text: a kernel's own lines, letter by letter, and all that a
/// replay reads again.
final class TraceTextTests: XCTestCase {
    private func event(_ id: tdpmmu_trace_id, _ fill: (inout tdpmmu_trace_event) -> Void = { _ in }) -> tdpmmu_trace_event {
        var event = tdpmmu_trace_event()
        event.id = UInt16(id.rawValue)
        event.kvm = 1
        event.thread = 42
        fill(&event)
        return event
    }

    /// Lines that a recorded kernel printed, in the project's traces.
    func testTracepointsAsTheKernelPrintsThem() {
        let lines: [(tdpmmu_trace_event, String)] = [
            (event(TDPMMU_TRACE_SPTE_CHANGED) {
                $0.spte_changed = tdpmmu_trace_spte_changed(
                    gfn: 0, old_spte: 1 << 63, new_spte: 0x1_29ff_a827, level: 4, as_id: 0)
            }, "as id 0 gfn 0 level 4 old_spte 8000000000000000 new_spte 129ffa827"),
            (event(TDPMMU_TRACE_GET_PAGE) {
                $0.page.role = 0x3784
                $0.page.created = true
            }, "sp gen 0 gfn 0 l4 8-byte q0 direct wux nxe ad root 0 sync new"),
            (event(TDPMMU_TRACE_SET_SPTE) {
                $0.set_spte = tdpmmu_trace_set_spte(
                    gfn: 1, spte: 0x1_0322_0e67, sptep: 0x1_29ff_c008, level: 1, r: true, x: true, u: 1)
            }, "gfn 1 spte 103220e67 (rwxu) level 1 at 129ffc008"),
            (event(TDPMMU_TRACE_FAST_PAGE_FAULT) {
                $0.fast_page_fault = tdpmmu_trace_fast_page_fault(
                    cr2_or_gpa: 0x4031_6000, error_code: 0x1_0000_0007, sptep: 0x1_29ff_f8b0, old_spte: 0x373_8825,
                    new_spte: 0x373_8825, vcpu_id: 0, ret: 4)
            }, "vcpu 0 gva 40316000 error_code P|W|U|0x100000000 sptep ffff888129fff8b0 old 0x3738825 new 3738825 spurious 0 fixed 0"),
            (event(TDPMMU_TRACE_MARK_MMIO_SPTE) {
                $0.mmio = tdpmmu_trace_mmio(sptep: 0x1_29eb_c000, addr: 0, gfn: 0x40000, access: 7, gen: 10)
            }, "sptep:ffff888129ebc000 gfn 40000 access 7 gen a"),
            (event(TDPMMU_TRACE_CHECK_MMIO_SPTE) {
                $0.mmio_check = tdpmmu_trace_mmio_check(spte: 0x8_0000_4000_0057, kvm_gen: 12, spte_gen: 10)
            }, "spte 8000040000057 kvm_gen c spte-gen a valid 0"),
            (event(TDPMMU_TRACE_SPLIT_HUGE_PAGE) {
                $0.split_huge_page = tdpmmu_trace_split(gfn: 0x40000, spte: 0x1_2c40_0ee7, level: 2, error: 0)
            }, "gfn 40000 spte 12c400ee7 level 2 errno 0"),
            (event(TDPMMU_TRACE_PAGE_FAULT) {
                $0.page_fault = tdpmmu_trace_page_fault(
                    guest_rip: 0x1020, fault_address: 0x8ff0, error_code: 0x1_0000_0006, vcpu_id: 0)
            }, "vcpu 0 rip 0x1020 address 0x0000000000008ff0 error_code 0x100000006"),
            (event(TDPMMU_TRACE_UNMAP_HVA_RANGE) {
                $0.hva = tdpmmu_trace_hva(start: 0x7f7a_53c0_0000, end: 0x7f7a_53e0_0000)
            }, "mmu notifier unmap range: 0x007f7a53c00000 -- 0x007f7a53e00000"),
            (event(TDPMMU_TRACE_SMM_TRANSITION) {
                $0.smm_transition = tdpmmu_trace_smm_transition(smbase: 0x30000, vcpu_id: 1, entering: true)
            }, "vcpu 1: entering SMM, smbase 0x30000"),
        ]
        for (event, text) in lines { XCTAssertEqual(TraceText.text(event), text) }
    }

    /// Whatever the fields hold, the line is one that the replay understands.
    func testEveryEventIsReadAgain() throws {
        var random = SystemRandomNumberGenerator()
        for id in 0..<TDPMMU_TRACE_COUNT.rawValue where id != TDPMMU_TRACE_MARK.rawValue {
            for round in 0..<50 {
                var some = event(tdpmmu_trace_id(rawValue: id))
                withUnsafeMutableBytes(of: &some) { bytes in
                    // Flags are bytes of 0 or 1: any other is no Bool.
                    for index in 24..<88 { bytes[index] = round == 0 ? 0 : UInt8.random(in: 0...1, using: &random) }
                }
                if TraceText.name(some).hasSuffix("_ret") { some.ret.ret &= 1 }
                var lines = EventLines()
                lines.add(some)
                let bytes = Array((lines.lines[0]).utf8)
                let parsed = bytes.withUnsafeBufferPointer { buffer in
                    FtraceLine(ByteCursor(buffer, from: 0, to: buffer.count)).flatMap { EventParser.parse($0) }
                }
                XCTAssertNotNil(parsed, lines.lines[0])
            }
        }
    }

    func testValuesSurvive() {
        let change = event(TDPMMU_TRACE_SPTE_CHANGED) {
            $0.spte_changed = tdpmmu_trace_spte_changed(gfn: 0xabc, old_spte: 5, new_spte: .max, level: 3, as_id: 1)
        }
        XCTAssertEqual(parse(change), .spteChanged(SPTEChange(addressSpace: 1, gfn: 0xabc, level: 3, old: 5, new: .max)))
        let map = event(TDPMMU_TRACE_MAP) {
            $0.map = tdpmmu_trace_map(
                vcpu: 0x1000, addr: 0x40_0123, ec: 0x12, gfn: 0x400, pfn: 0x77, slot: 9, prefetch: false, exec: true,
                write: true, present: false, nxwa: true, map_writable: false)
        }
        XCTAssertEqual(parse(map), .map(MapCall(
            vcpuPointer: 0x1000, address: 0x40_0123, errorCode: 0x12, prefetch: false, execute: true, write: true,
            present: false, noHugeFetch: true, gfn: 0x400, pfn: 0x77, mapWritable: false)))
        XCTAssertEqual(parse(event(TDPMMU_TRACE_MAP_RET) { $0.ret.ret = -14 }), .mapReturn(-14))
        XCTAssertEqual(parse(event(TDPMMU_TRACE_SPLIT) {
            $0.range = tdpmmu_trace_range(start: 1, end: 0x801, target: 1, flush: false, shared: true)
        }), .split(SplitCall(start: 1, end: 0x801, target: 1, shared: true)))
    }

    private func parse(_ event: tdpmmu_trace_event) -> TraceEvent? {
        var lines = EventLines()
        lines.add(event)
        return Array(lines.lines[0].utf8).withUnsafeBufferPointer { buffer in
            FtraceLine(ByteCursor(buffer, from: 0, to: buffer.count)).flatMap { EventParser.parse($0) }
        }
    }

    /// Marks that came in parts, of two threads in turn.
    func testMarksAreJoined() {
        var lines = EventLines()
        for (thread, text, continues) in [(1, "STEP ki", true), (2, "INFO a", true), (1, "ck vcpu=0", false), (2, "b", false)] {
            lines.add(event(TDPMMU_TRACE_MARK) { event in
                event.thread = Int32(thread)
                event.mark.length = UInt16(text.utf8.count)
                event.mark.continues = continues
                withUnsafeMutableBytes(of: &event.mark.text) { $0.copyBytes(from: text.utf8) }
            })
        }
        XCTAssertEqual(lines.lines.map { $0.components(separatedBy: ": ").dropFirst().joined(separator: ": ") },
                       ["tracing_mark_write: STEP kick vcpu=0", "tracing_mark_write: INFO ab"])
    }

    // Files.

    private func header(lost: UInt64 = 0, size: Int = 88) -> [UInt8] {
        var header = tdpmmu_trace_file()
        withUnsafeMutableBytes(of: &header.magic) { $0.copyBytes(from: TDPMMU_TRACE_MAGIC.utf8) }
        header.header_size = UInt32(MemoryLayout<tdpmmu_trace_file>.size)
        header.event_size = UInt32(size)
        header.lost = lost
        return withUnsafeBytes(of: &header) { Array($0) }
    }

    private func bytes(_ event: tdpmmu_trace_event) -> [UInt8] {
        var event = event
        return withUnsafeBytes(of: &event) { Array($0) }
    }

    func testFile() throws {
        let one = bytes(event(TDPMMU_TRACE_FLUSH))
        let file = try EventFile(file: "X", bytes: header(lost: 3) + one + one + header(lost: 4) + one)
        XCTAssertEqual(file.lost, 7)
        XCTAssertTrue(file.text.contains("# entries-in-buffer/entries-written: 3/3"), file.text)
        XCTAssertEqual(file.text.split(separator: "\n").filter { $0.contains(": flush: ") }.count, 3)
    }

    /// An event of each kind with flags, of which one is neither false nor true.
    private var oddFlags: [[UInt8]] {
        let places: [(tdpmmu_trace_id, Int?)] = [
            (TDPMMU_TRACE_GET_PAGE, MemoryLayout<tdpmmu_trace_page>.offset(of: \.created)),
            (TDPMMU_TRACE_SET_SPTE, MemoryLayout<tdpmmu_trace_set_spte>.offset(of: \.x)),
            (TDPMMU_TRACE_SMM_TRANSITION, MemoryLayout<tdpmmu_trace_smm_transition>.offset(of: \.entering)),
            (TDPMMU_TRACE_MAP, MemoryLayout<tdpmmu_trace_map>.offset(of: \.nxwa)),
            (TDPMMU_TRACE_ZAP_ROOT, MemoryLayout<tdpmmu_trace_root>.offset(of: \.shared)),
            (TDPMMU_TRACE_SPLIT, MemoryLayout<tdpmmu_trace_range>.offset(of: \.shared)),
            (TDPMMU_TRACE_CLEAR_DIRTY_PT_MASKED, MemoryLayout<tdpmmu_trace_gfn>.offset(of: \.wrprot)),
            (TDPMMU_TRACE_MARK, MemoryLayout<tdpmmu_trace_text>.offset(of: \.continues)),
        ]
        return places.map { id, place in
            var bytes = bytes(event(id))
            bytes[24 + place!] = 6
            return bytes
        }
    }

    func testBadFiles() {
        let one = bytes(event(TDPMMU_TRACE_FLUSH))
        let bad: [([UInt8], String)] = [
            ([], "no recording of trace events"), (Array("hello world".utf8), "no recording of trace events"),
            (one, "no recording of trace events"), (header(size: 96) + one, "events of another version of the library"),
            (header() + one.dropLast(), "the last event is cut short"),
            (header() + [UInt8](repeating: 0xff, count: 88), "this is no event"),
        ] + oddFlags.map { (header() + $0, "this is no event") }
        for (bytes, problem) in bad {
            do {
                _ = try EventFile(file: "X", bytes: bytes)
                XCTFail("nobody said: \(problem)")
            } catch { XCTAssertEqual("\(error)", "X: \(problem)") }
        }
    }
}
