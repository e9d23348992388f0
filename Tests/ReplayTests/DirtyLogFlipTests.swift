// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace
@testable import Replay

/// Bit flips in lines of dirty logging, aging, huge pages and fast faults.
final class DirtyLogFlipTests: FlipTestCase {
    private func changeFlips(_ trace: Recorded, _ text: String, occurrence: Int = 1) throws {
        let change = try trace.number(of: text, occurrence: occurrence)
        for key in [" gfn ", " old_spte ", " new_spte "] { flip(trace, line: change, key, isDifferent(at: change)) }
    }

    func testLoggingBegins() throws {
        let whole = try Recorded("612-03a_dirtylog_plain")
        let trace = try whole.cut(behind: whole.number(of: "DONE dirty_log_on"))
        let split = try trace.number(of: " split: ")
        for key in [" start=0x", " end=0x"] { flip(trace, line: split, key, isDifferent(at: split)) }
        for key in [" target=", " shared="] { flip(trace, line: split, key, decimal: true, isNotEqual) }
        let link = try trace.number(of: "gfn 40200 level 2 old_spte 12bc00ee7")
        for key in [" gfn ", " old_spte "] { flip(trace, line: link, key, isDifferent(at: link)) }
        let done = try trace.number(of: "kvm_mmu_split_huge_page: gfn 40200")
        for key in [" spte "] { flip(trace, line: done, key, isDifferent(at: done)) }
        flip(trace, line: done, " level ", decimal: true, isDifferent(at: done))
        let protect = try trace.number(of: " wrprot_slot: ")
        for key in [" base_gfn=0x", " npages=0x"] { flip(trace, line: protect, key, isDifferent(at: protect)) }
        flip(trace, line: protect, " min_level=", decimal: true, isDifferent(at: protect))
        let result = try trace.number(of: " wrprot_slot_ret: ")
        flip(trace, line: result, " ret=", decimal: true, isNotEqual)
    }

    func testTheLogIsRead() throws {
        let whole = try Recorded("612-03a_dirtylog_plain")
        let trace = try whole.cut(behind: whole.number(of: "DATA dirty slot=1 total="))
        let clear = try trace.number(of: " clear_dirty_pt_masked: ")
        for key in [" gfn=0x", " mask=0x"] { flip(trace, line: clear, key, isDifferent(at: clear)) }
        flip(trace, line: clear, " wrprot=", decimal: true, isNotEqual)
        try changeFlips(trace, "gfn 40007 level 1 old_spte 12c407e67 new_spte 12c407e65")
        let pages = try trace.number(of: "DATA dirty slot=1 part=0")
        flip(trace, line: pages, ",fb,12c,", isNotEqual)
        let total = try trace.number(of: "DATA dirty slot=1 total=")
        flip(trace, line: total, " total=", decimal: true, isDifferent(at: total))
    }

    func testTheLogIsCleared() throws {
        let whole = try Recorded("612-03b_dirtylog_manual_initset")
        let trace = try whole.cut(behind: whole.number(of: "DONE clear_dirty_log", occurrence: 2))
        let protect = try trace.number(of: " write_protect_gfn: ")
        flip(trace, line: protect, " gfn=0x", isDifferent(at: protect))
        flip(trace, line: protect, " min_level=", decimal: true, isDifferent(at: protect))
        let pages = try trace.number(of: "DATA clear slot=1 part=0 pages=200-23f")
        flip(trace, line: pages, " pages=", isNotEqual)
        let split = try trace.number(of: " split: ", occurrence: 3)
        for key in [" start=0x", " end=0x"] { flip(trace, line: split, key, isDifferent(at: split)) }
    }

    func testFaultsWithoutTheLock() throws {
        let whole = try Recorded("612-03c_dirtylog_plain_noeager")
        let trace = try whole.cut(behind: whole.number(of: " fast_page_fault: ", occurrence: 3))
        let fixed = try trace.number(of: "spurious 0 fixed 1")
        for key in [" gva ", " old 0x", " new ", " sptep ffff8881"] { flip(trace, line: fixed, key, isDifferent(at: fixed)) }
        for key in [" fixed ", " spurious "] { flip(trace, line: fixed, key, decimal: true, isNotEqual) }
    }

    func testPagesAreHugeAgain() throws {
        let whole = try Recorded("612-03c_dirtylog_plain_noeager")
        let trace = try whole.cut(behind: whole.number(of: "DONE dirty_log_off"))
        let zap = try trace.number(of: " zap_collapsible: ")
        for key in [" base_gfn=0x", " npages=0x"] { flip(trace, line: zap, key, isDifferent(at: zap)) }
        let change = try trace.number(of: "gfn 40200 level 2", occurrence: 4)
        for key in [" gfn ", " old_spte "] { flip(trace, line: change, key, isDifferent(at: change)) }
    }

    func testTheNotifierAges() throws {
        let whole = try Recorded("612-07_aging")
        let trace = try whole.cut(behind: whole.number(of: " age_ret: (kvm_age_gfn+0x5b/0x70 [kvm] <- kvm_tdp_mmu_age_gfn_range) ret=1"))
        let change = try trace.number(of: "old_spte 103642e67 new_spte 103642e47")
        for key in [" gfn ", " old_spte ", " new_spte "] { flip(trace, line: change, key, isDifferent(at: change)) }
        let result = try trace.number(of: " <- kvm_tdp_mmu_age_gfn_range) ret=1")
        flip(trace, line: result, " ret=", decimal: true, isNotEqual)
    }

    func testATableIsRecovered() throws {
        let whole = try Recorded("612-08_nx_huge_pages")
        let trace = try whole.cut(behind: whole.number(of: " zap_sp: "))
        let zap = try trace.number(of: " zap_sp: ")
        for key in [" gfn=0x", " spt=0xffff8881"] { flip(trace, line: zap, key, isDifferent(at: zap)) }
        let change = try trace.number(of: "gfn 60000 level 2 old_spte 129fd8827")
        for key in [" gfn ", " old_spte ", " new_spte "] { flip(trace, line: change, key, isDifferent(at: change)) }
    }
}
