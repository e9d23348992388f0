// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace
@testable import Replay

/// One bit wrong in one number of one line, all bits of it in turn: the replay
/// must say so.
final class BitFlipTests: FlipTestCase {
    func testAPageIsMapped() throws {
        let trace = try Recorded("612-02_huge2m")
        let change = try trace.number(of: "gfn 40200 level 2 old_spte")
        for key in [" gfn ", " old_spte ", " new_spte "] {
            flip(trace, line: change, key, isDifferent(at: change))
        }
        for key in ["as id ", " level "] { flip(trace, line: change, key, decimal: true, isDifferent) }
        let small = try trace.number(of: "gfn 70125 level 1 old_spte 8000000000000000")
        for key in [" gfn ", " old_spte ", " new_spte "] { flip(trace, line: small, key, isDifferent(at: small)) }
    }

    /// An address of a table is learned at first sight: a wrong one shows as soon
    /// as the table is used.
    func testATableIsLinked() throws {
        let trace = try Recorded("612-02_huge2m")
        let link = try trace.number(of: "gfn 70000 level 2 old_spte 8000000000000000")
        for key in [" gfn ", " old_spte "] { flip(trace, line: link, key, isDifferent(at: link)) }
        flip(trace, line: link, " new_spte ", isDifferent)
    }

    func testWhatAFaultIsToldAndReturns() throws {
        let trace = try Recorded("612-02_huge2m")
        let map = try trace.number(of: " map: ", occurrence: 9)
        for key in [" addr=0x", " gfn=0x", " pfn=0x"] { flip(trace, line: map, key, isDifferent) }
        flip(trace, line: map, " ec=0x", isDifferent)
        flip(trace, line: map, " map_writable=", decimal: true, isNotEqual)
        let result = try trace.number(of: " map_ret: ", occurrence: 9)
        flip(trace, line: result, " ret=", decimal: true, isDifferent(at: result))
        let fault = try trace.number(of: " pf_ret: ", occurrence: 9)
        flip(trace, line: fault, " ret=", decimal: true, isDifferent(at: fault))
        let set = try trace.number(of: " kvm_mmu_set_spte: ", occurrence: 9)
        for key in [" gfn ", " spte ", " at "] { flip(trace, line: set, key, isDifferent(at: set)) }
        let requested = try trace.number(of: " kvm_mmu_spte_requested: ", occurrence: 9)
        for key in ["gfn ", " pfn "] { flip(trace, line: requested, key, isDifferent) }
    }

    func testTheEndOfTheVM() throws {
        let trace = try Recorded("612-02_huge2m")
        for text in ["gfn 7000e level 1 old_spte 12bc0de67", "gfn 40600 level 2 old_spte 12b200ee7", "gfn 0 level 4 old_spte 12a069827"] {
            let zap = try trace.number(of: text)
            for key in [" gfn ", " old_spte ", " new_spte "] { flip(trace, line: zap, key, isDifferent(at: zap)) }
        }
    }

    func testTheNotifierZaps() throws {
        let whole = try Recorded("612-01_anon4k")
        let trace = try whole.cut(behind: whole.number(of: " unmap_gfn_range: ", occurrence: 2))
        let begin = try trace.number(of: " unmap_gfn_range: ")
        let range = try trace.number(of: " zap_leafs: ")
        for key in [" start=0x", " end=0x"] {
            flip(trace, line: begin, key) { [begin, range].map { .different("X.txt:\($0)") }.contains($0) }
        }
        let change = try trace.number(of: "old_spte 3738825 new_spte 8000000000000000")
        flip(trace, line: change, " old_spte ", isDifferent(at: change))
        for name in [" zap_leafs_ret: ", " unmap_gfn_range_ret: "] {
            let result = try trace.number(of: name)
            // A flag can only be 0 or 1: other digits are no such line.
            flip(trace, line: result, " ret=", decimal: true) {
                $0 == .different("X.txt:\(result)") || $0 == .bad("X.txt:\(result): cannot read this \(self.word(name)) line")
            }
        }
    }

    /// An event's name as the tests look for it: " name: ".
    private func word(_ name: String) -> String { String(name.dropFirst().dropLast(2)) }

    private func isBad(_ outcome: Outcome) -> Bool {
        if case .bad = outcome { true } else { false }
    }

    func testMMIO() throws {
        let trace = try Recorded("612-14_prefault")
        let mark = try trace.number(of: " mark_mmio_spte: ")
        for key in [" gfn ", " access ", " gen "] { flip(trace, line: mark, key, isDifferent(at: mark)) }
        flip(trace, line: mark, "sptep:", isDifferent(at: mark))
        let change = try trace.number(of: "gfn 70000 level 1 old_spte 8000000000000000")
        flip(trace, line: change, " new_spte ", isDifferent(at: change))
    }

    func testAnMMIOFaultFindsItsSPTE() throws {
        let whole = try Recorded("612-06_mmio_readonly")
        let trace = try whole.cut(behind: whole.number(of: " handle_mmio_page_fault: ", occurrence: 2))
        let check = try trace.number(of: " check_mmio_spte: ")
        flip(trace, line: check, " kvm_gen ", isDifferent(at: check))
        flip(trace, line: check, " spte-gen ", isDifferent(at: check))
        let handled = try trace.number(of: " handle_mmio_page_fault: ")
        flip(trace, line: handled, " gfn ", isDifferent(at: handled))
    }

    func testSlotsAndRoots() throws {
        let trace = try Recorded("612-14_prefault")
        let done = try trace.number(of: "DONE memslot_add")
        flip(trace, line: done, " ret=", decimal: true, isDifferent(at: done))
        let load = try trace.number(of: " load_pgd: ")
        flip(trace, line: load, " root_hpa=0x", isDifferent)
        let dump = try trace.number(of: "STEP dump id=1")
        flip(trace, line: dump, " root=0x", isDifferent(at: dump))
    }

    func testDumps() throws {
        let trace = try Recorded("612-14_prefault")
        for text in ["SPTE level=1 gfn=40012", "SPTE level=2 gfn=60000", "SPTE level=3 gfn=40000", "SPTE level=1 gfn=70000"] {
            let line = try trace.dumpNumber(of: text, occurrence: text.contains("70000") ? 1 : 2)
            for key in [" spte=", " sptep="] {
                flip(trace, dump: true, line: line, key, isDifferent(at: line, "X.npt.txt"))
            }
            flip(trace, dump: true, line: line, " gfn=", isDifferent)
            flip(trace, dump: true, line: line, " level=", decimal: true, isDifferent)
        }
        let head = try trace.dumpNumber(of: "DUMP id=1")
        flip(trace, dump: true, line: head, " root=0x", isDifferent)
        let end = try trace.dumpNumber(of: "END id=1")
        flip(trace, dump: true, line: end, " n=", decimal: true, isNotEqual)
    }

    func testALineThatIsMissing() throws {
        let trace = try Recorded("612-14_prefault")
        let change = try trace.number(of: "gfn 40012 level 1")
        var copy = trace
        copy.lines.remove(at: change - 1)
        copy.lines.removeAll { $0.hasPrefix("# entries") }
        XCTAssertTrue(isDifferent(copy.replay()), "one SPTE change fewer")
        copy = trace
        copy.lines.insert(trace.lines[change - 1], at: change)
        copy.lines.removeAll { $0.hasPrefix("# entries") }
        XCTAssertTrue(isDifferent(copy.replay()), "one SPTE change more")
        copy = trace
        let entry = try trace.dumpNumber(of: "SPTE level=1 gfn=40012")
        copy.dumpLines.remove(at: entry - 1)
        XCTAssertTrue(isBad(copy.replay()), "END counts the entries")
    }
}
