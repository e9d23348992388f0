// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace
@testable import Replay

/// Which machine a trace is of: what it says, what it shows, and what options say.
final class MachineTests: XCTestCase {
    private static let info = "INFO vendor=ept ad=1 pml=1 root_level=4 maxphyaddr=40 l1tf_cache_bits=40"

    private func trace() throws -> Recorded {
        var trace = try Recorded("612ept-06s_mmio_readonly")
        trace.lines = trace.lines.map { $0.hasPrefix("# entries-in") ? "#" : $0 }
        return trace
    }

    /// The trace with what the recorder says of the machine replaced, or without it.
    private func saying(_ text: String?) throws -> Recorded {
        var copy = try trace()
        let line = try copy.number(of: "INFO vendor=") - 1
        if let text {
            copy.lines[line] = copy.lines[line].replacingOccurrences(of: Self.info, with: text)
        } else {
            copy.lines.remove(at: line)
        }
        return copy
    }

    private func machine(_ recorded: Recorded, _ options: MachineFacts = MachineFacts()) throws -> RecordedMachine {
        try MachineEvidence(Trace(file: "X.txt", bytes: Recorded.bytes(recorded.lines))).machine(options)
    }

    private func outcome(_ recorded: Recorded, _ options: MachineFacts) -> Outcome {
        Outcome {
            try Replayer(trace: Trace(file: "X.txt", bytes: Recorded.bytes(recorded.lines)),
                         dumps: DumpFile(file: "X.npt.txt", bytes: Recorded.bytes(recorded.dumpLines)), options: options)
        }
    }

    func testTheEventsShowWhatTheRecorderSays() throws {
        for name in ["612ept-06s_mmio_readonly", "612ept-11s_longmode", "612ept-hsw-15s_dirty_ring", "612ept-noad-01s_pages", "612r-05s_notifier"] {
            let trace = try Recorded(name)
            let line = try XCTUnwrap(trace.lines.first { $0.contains("INFO vendor=") })
            var silent = trace
            silent.lines.removeAll { $0.contains("INFO vendor=") || $0.hasPrefix("# entries-in") }
            let shown = try machine(silent)
            // Without a slot that is logged, nothing shows whether the CPU could log; without MMIO,
            // nothing how that is mitigated.
            var facts = MachineFacts(shown)
            if !trace.lines.contains(where: { $0.contains(" wrprot_slot: ") || $0.contains("wrprot=") }) { facts.hasPML = nil }
            if !trace.lines.contains(where: { $0.contains(" mark_mmio_spte: ") }) { facts.l1tfCacheBits = nil }
            let told = try self.facts(String(line[try XCTUnwrap(line.range(of: "vendor=")).lowerBound...]))
            XCTAssertTrue(facts.isPart(of: told), "\(name): \(facts.text)")
        }
    }

    func testATraceThatSaysNothing() throws {
        let silent = try saying(nil)
        XCTAssertEqual(MachineFacts(try machine(silent)).text, String(Self.info.dropFirst(5)))
        XCTAssertEqual(silent.replay(), .equal)
        XCTAssertEqual(silent.replay(.guest), .equal)
    }

    func testOptionsComeFirst() throws {
        let silent = try saying(nil)
        var options = MachineFacts()
        options.vendor = .npt
        XCTAssertEqual(try machine(silent, options).vendor, .npt)
        XCTAssertFalse(try machine(silent, options).hasPML)
        for wrong in ["vendor=npt", "vendor=ept ad=0", "vendor=ept root_level=5", "vendor=ept maxphyaddr=44",
                      "vendor=ept l1tf_cache_bits=44", "vendor=ept l1tf_cache_bits=0"] {
            guard case .different = outcome(silent, try facts(wrong)) else { return XCTFail(wrong) }
        }
        // What a silent trace does not show, one that speaks does.
        guard case .different = outcome(try trace(), try facts("vendor=ept pml=0")) else { return XCTFail("pml=0") }
        XCTAssertEqual(outcome(silent, try facts(String(Self.info.dropFirst(5)))), .equal)
    }

    private func facts(_ text: String) throws -> MachineFacts {
        let trace = try Trace(file: "X.txt", bytes: Array("t-1 [000] . 1: tracing_mark_write: INFO \(text)\n".utf8))
        guard case .machineInfo(let info)? = trace.lines.first?.event else { throw trace.badInput(1, text) }
        return info.facts
    }

    func testAnINFOThatContradictsItself() throws {
        let line = try trace().number(of: "INFO vendor=")
        XCTAssertEqual(try saying("INFO vendor=via").replay(), .bad("X.txt:\(line): unknown vendor \"via\": npt or ept"))
        XCTAssertEqual(try saying("INFO vendor=npt pml=1").replay(), .bad("X.txt:\(line): pml=1 contradicts vendor=npt"))
    }

    func testAnINFOThatContradictsTheEvents() throws {
        let info = try trace().number(of: "INFO vendor=")
        func check(_ told: String, _ shown: String, at text: String) throws {
            let line = try trace().number(of: text)
            XCTAssertEqual(try saying("INFO " + told).replay(), .bad(
                "X.txt:\(line): this shows \(shown), but line \(info) says \(told.split(separator: " ").last ?? "")"))
        }
        try check("vendor=npt", "vendor=ept", at: " load_pgd: ")
        try check("vendor=ept ad=0", "ad=1", at: " kvm_mmu_get_page: ")
        try check("vendor=ept root_level=5", "root_level=4", at: " load_pgd: ")
        try check("vendor=ept maxphyaddr=46", "maxphyaddr=40", at: "INFO guest_cpuid")
        var copy = try saying("INFO vendor=ept l1tf_cache_bits=44")
        let line = try copy.number(of: " mark_mmio_spte: ") - 1
        XCTAssertEqual(copy.replay(), .bad(
            "X.txt:\(line): this shows l1tf_cache_bits=40, but line \(info) says l1tf_cache_bits=44"))
        copy = try saying("INFO vendor=ept pml=0")
        let end = try copy.number(of: " zap_all: ")
        copy.lines.insert("            user-100     [000] .....  1: wrprot_slot: (f) base_gfn=0x1 npages=0x1 min_level=2", at: end - 1)
        XCTAssertEqual(copy.replay(), .bad("X.txt:\(end): this shows pml=1, but line \(info) says pml=0"))
    }

    func testAMachineThatChangesItsMind() throws {
        var copy = try trace()
        let line = try copy.number(of: "INFO vendor=")
        copy.lines.insert(copy.lines[line - 1].replacingOccurrences(of: "pml=1", with: "pml=0"), at: line)
        XCTAssertEqual(copy.replay(), .bad("X.txt:\(line + 1): the machine is another than on line \(line)"))
        copy = try trace()
        let first = try copy.number(of: " load_pgd: "), second = try copy.number(of: " load_pgd: ", occurrence: 2)
        copy.lines[second - 1] = copy.lines[second - 1].replacingOccurrences(of: "vmx_load", with: "svm_load")
        XCTAssertEqual(copy.replay(), .bad("X.txt:\(second): vendor is npt here, but ept on line \(first)"))
        copy = try trace()
        let table = try copy.number(of: " kvm_mmu_get_page: ", occurrence: 3)
        copy.lines[table - 1] = copy.lines[table - 1].replacingOccurrences(of: " nxe ad ", with: " nxe !ad ")
        let before = try copy.number(of: " kvm_mmu_get_page: ")
        XCTAssertEqual(copy.replay(), .bad("X.txt:\(table): ad is 0 here, but 1 on line \(before)"))
    }
}

/// The CPU's log, which is emptied from its newest entry to its oldest.
extension MachineTests {
    func testTheOrderOfALog() throws {
        var trace = try Recorded("612ept-15s_dirty_ring")
        XCTAssertEqual(trace.replay(), .equal)
        let line = try trace.number(of: "DATA ring vcpu=0 part=0 entries=1:3,1:b,1:a,1:9,")
        trace.lines[line - 1] = trace.lines[line - 1].replacingOccurrences(of: "1:b,1:a,1:9", with: "1:9,1:a,1:b")
        XCTAssertEqual(trace.replay(), .different("X.txt:\(line)"))
        XCTAssertEqual(trace.replay(.guest), .different("X.txt:\(line)"))
    }

    /// What a push says of its entry counts, and what a reset returns.
    func testPushesAndResets() throws {
        let whole = try Recorded("612ept-15s_dirty_ring")
        let push = try whole.number(of: "kvm_dirty_ring_push: ", occurrence: 3)
        for (text, other) in [(" offset 0x", " offset 0x1"), (" slot 1", " slot 2"), (" dirty 0x", " dirty 0x1"), ("ring 0:", "ring 1:")] {
            var copy = whole
            copy.lines[push - 1] = copy.lines[push - 1].replacingOccurrences(of: text, with: other)
            XCTAssertNotEqual(copy.lines, whole.lines, text)
            guard case .different = copy.replay() else { return XCTFail(text) }
        }
        var copy = whole
        let reset = try whole.number(of: "DONE reset_dirty_rings ret=")
        copy.lines[reset - 1] += "1"
        XCTAssertEqual(copy.replay(), .different("X.txt:\(reset)"))
    }

    /// What switches logging on is expected, and not only compared if it is there.
    func testLoggingThatBeginsWithoutItsCalls() throws {
        let whole = try Recorded("612ept-15s_dirty_ring")
        for name in [" clear_dirty_slot: ", " wrprot_slot"] {
            var copy = whole
            copy.lines.removeAll { $0.contains(name) || $0.hasPrefix("# entries-in") }
            guard case .different = copy.replay() else { return XCTFail(name) }
        }
    }
}

/// Faults as VMX tells them.
extension MachineTests {
    /// Without the probe on kvm_mmu_page_fault(), a misconfiguration has no line at all.
    func testMisconfigurationsWithoutAProbe() throws {
        var copy = try trace()
        XCTAssertTrue(copy.lines.contains { $0.contains(" mmu_page_fault: ") && $0.hasSuffix(" ec=0x8") })
        copy.lines.removeAll { $0.contains(" mmu_page_fault: ") }
        XCTAssertEqual(copy.replay(), .equal)
        XCTAssertEqual(copy.replay(.guest), .equal)
    }

    /// What the handler made of the exit qualification is compared with ours.
    func testAFaultThatTheHandlerTellsOtherwise() throws {
        for (text, other) in [(" ec=0x100000002", " ec=0x100000004"), (" ec=0x100000004", " ec=0x300000004")] {
            var copy = try trace()
            let line = try copy.number(of: text + "")
            let handler = copy.lines[..<line].lastIndex { $0.contains(" mmu_page_fault: ") && $0.hasSuffix(text) }
                ?? copy.lines.firstIndex { $0.contains(" mmu_page_fault: ") && $0.hasSuffix(text) }
            guard let handler else { return XCTFail(text) }
            copy.lines[handler] = copy.lines[handler].replacingOccurrences(of: text, with: other)
            XCTAssertEqual(copy.replay(), .bad(
                "X.txt:\(handler + 1): kvm_mmu_page_fault is told another fault than kvm_page_fault on line \(handler)"))
        }
    }

    /// Each violation is followed by its call, and what has none before it is a misconfiguration.
    func testFaultsAndTheirHandlerGoTogether() throws {
        let whole = try trace()
        let fault = try whole.number(of: " kvm_page_fault: ", occurrence: 2)
        var copy = whole
        copy.lines.remove(at: fault - 1)
        XCTAssertEqual(copy.replay(), .bad("X.txt:\(fault): kvm_mmu_page_fault without a kvm_page_fault"))
        copy = whole
        copy.lines.insert(whole.lines[fault - 1], at: fault)
        XCTAssertEqual(copy.replay(), .bad("X.txt:\(fault + 1): kvm_mmu_page_fault was not told of line \(fault)"))
        copy = whole
        copy.lines[fault] = copy.lines[fault].replacingOccurrences(of: "vcpu=0x", with: "vcpu=0x1")
        guard case .bad = copy.replay() else { return XCTFail("pointer") }
    }

    func testAnErrorCodeAmongQualifications() throws {
        var copy = try trace()
        let fault = try copy.number(of: " kvm_page_fault: ", occurrence: 2)
        let line = copy.lines[fault - 1]
        guard let code = line.range(of: "error_code ") else { return XCTFail(line) }
        copy.lines[fault - 1] = line[..<code.upperBound] + "0x100000002"
        XCTAssertEqual(copy.replay(), .bad(
            "X.txt:\(fault): 0x100000002 is no exit qualification, as others here are"))
    }

    /// Each bit of a qualification that means something to KVM.
    func testAFlippedQualificationIsSeen() throws {
        for bit in [0, 1, 2, 3, 8] as [UInt64] {
            var copy = try trace()
            copy.lines.removeAll { $0.contains(" mmu_page_fault: ") }
            let fault = try copy.number(of: " kvm_page_fault: ", occurrence: 5)
            let line = copy.lines[fault - 1]
            guard let code = line.range(of: "error_code 0x"), let value = UInt64(line[code.upperBound...], radix: 16)
            else { return XCTFail(line) }
            copy.lines[fault - 1] = line[..<code.upperBound] + String(value ^ 1 << bit, radix: 16)
            XCTAssertNotEqual(copy.replay(), .equal, "bit \(bit)")
        }
    }
}
