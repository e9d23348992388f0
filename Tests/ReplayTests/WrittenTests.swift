// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace
@testable import Replay

/// Small traces written by hand, after the kernel's sources, of what the recordings of
/// this project do not have.
final class WrittenTests: XCTestCase {
    /// Lines of one task, numbered as they come.
    private struct Script {
        private(set) var lines: [String] = []

        mutating func add(_ text: String) {
            lines.append("            user-100     [000] .....  \(lines.count + 1): \(text)")
        }

        mutating func step(_ text: String) { add("tracing_mark_write: STEP \(text)") }
        mutating func done(_ text: String) { add("tracing_mark_write: DONE \(text)") }
        mutating func data(_ text: String) { add("tracing_mark_write: DATA \(text)") }

        mutating func change(_ space: Int, _ gfn: UInt64, _ level: Int, _ old: String, _ new: String) {
            add("kvm_tdp_mmu_spte_changed: as id \(space) gfn \(hex(gfn)) level \(level) old_spte \(old) new_spte \(new)")
        }

        mutating func begin(_ capability: String? = nil) {
            step("vm_create nvcpus=1 mode=prot32")
            done("vm_create ret=0")
            if let capability {
                step("enable_cap cap=\(capability)")
                done("enable_cap ret=0")
            }
            step("vcpu_create vcpu=0")
            done("vcpu_create vcpu=0 ret=0")
        }

        mutating func slot(_ what: String, space: Int = 0, pages: Int = 16, flags: Int = 0) {
            step("memslot_\(what) slot=1 as_id=\(space) gpa=0x40000000 npages=\(pages) hva=0x7f0000000000 flags=\(flags) kind=anon4k")
        }

        mutating func loadRoot(_ address: String, isNew: Bool) {
            add("alloc_root: (f) vcpu=0xff01")
            if isNew { add("kvm_mmu_get_page: sp gen 0 gfn 0 l4 8-byte q0 direct wux nxe ad root 0 sync new") }
            add("load_pgd: (f) vcpu=0xff01 root_hpa=0x\(address) root_level=4")
        }

        mutating func fault(error: String, present: Int = 0, page: UInt64 = 0) {
            add("kvm_page_fault: vcpu 0 rip 0x1000 address 0x000000004000\(page)000 error_code 0x\(error)")
            add("map: (f) vcpu=0xff01 addr=0x4000\(page)000 ec=0x\(error) prefetch=0 exec=0 write=1 present=\(present) nxwa=0 "
                + "gfn=0x4000\(page) pfn=0x500\(page) map_writable=1 slot=0xff02")
            add("kvm_mmu_spte_requested: gfn 4000\(page) pfn 500\(page) level 1")
        }

        mutating func push(_ count: Int, page: UInt64) {
            add("kvm_dirty_ring_push: ring 0: dirty 0x\(count) reset 0x0 slot 1 offset 0x\(page) (used \(count))")
        }

        mutating func mapped() {
            add("map_ret: (f) ret=5")
            add("pf_ret: (f) ret=5")
        }

        /// The first page of a table-less root.
        mutating func firstWrite(_ space: Int) {
            fault(error: "100000006")
            change(space, 0, 4, empty, "2001827")
            change(space, 0x40000, 3, empty, "2002827")
            change(space, 0x40000, 2, empty, "2003827")
            change(space, 0x40000, 1, empty, "5000e67")
            mapped()
        }

        /// A slot, and the guest writes to its first page.
        mutating func slotWithOnePage(flags: Int = 0) {
            slot("add", flags: flags)
            done("memslot_add slot=1 ret=0")
            step("touch vcpu=0 gpa=0x40000000 n=1 stride=0x1000 op=w write=1 exec=0")
            loadRoot("1000000", isNew: true)
            firstWrite(0)
            done("touch vcpu=0 ret=0 mmio=0")
        }

        /// That page is taken out of the ring, and write-protected again.
        mutating func harvestRing() {
            data("ring vcpu=0 part=0 entries=1:0")
            step("reset_dirty_rings harvested=1")
            add("clear_dirty_pt_masked: (f) gfn=0x40000 mask=0x1 wrprot=1")
            change(0, 0x40000, 1, "5000e67", "5000e65")
            done("reset_dirty_rings ret=1")
        }

        mutating func end(_ space: Int, leaf: String?) {
            add("zap_all: (f)")
            if let leaf { change(space, 0x40000, 1, leaf, empty) }
            change(space, 0x40000, 2, "2003827", empty)
            change(space, 0x40000, 3, "2002827", empty)
            change(space, 0, 4, "2001827", empty)
            add("zap_invalidated_roots: (f)")
            add("zap_invalidated_roots_ret: (f)")
        }

        let empty = "8000000000000000"
    }

    private func replay(_ script: Script) {
        for mode in [ReplayMode.calls, .guest] {
            do {
                let replayer = try Replayer(
                    trace: Trace(file: "X.txt", bytes: Recorded.bytes(script.lines)), dumps: nil, mode: mode)
                replayer.report.kept = 9
                try replayer.run()
                for difference in replayer.report.shown { XCTFail("\(mode): \(difference.description)") }
            } catch { XCTFail("\(mode): \(error)") }
        }
    }

    func testSystemManagementMode() {
        var script = Script()
        script.begin()
        script.slot("add", space: 1)
        script.done("memslot_add slot=1 ret=0")
        script.step("kick vcpu=0")
        script.loadRoot("1000000", isNew: true)
        script.done("kick vcpu=0 ret=0")
        script.step("smi_touch vcpu=0 as_id=1 gpa=0x40000000 write=1")
        script.add("kvm_smm_transition: vcpu 0: entering SMM, smbase 0x30000")
        script.loadRoot("2000000", isNew: true)
        script.firstWrite(1)
        script.add("kvm_smm_transition: vcpu 0: leaving SMM, smbase 0x30000")
        script.loadRoot("1000000", isNew: false)
        script.done("smi_touch vcpu=0 ret=0")
        script.end(1, leaf: "5000e67")
        replay(script)
    }

    func testADirtyRing() {
        var script = Script()
        script.begin("DIRTY_LOG_RING arg0=65536")
        script.slotWithOnePage(flags: 1)
        script.harvestRing()
        script.step("touch vcpu=0 gpa=0x40000000 n=1 stride=0x1000 op=w write=1 exec=0")
        script.add("kvm_page_fault: vcpu 0 rip 0x1000 address 0x0000000040000000 error_code 0x100000007")
        script.add("fast_page_fault: vcpu 0 gva 40000000 error_code P|W|U|0x100000000 sptep ffff888002003000 "
            + "old 0x5000e65 new 5000e67 spurious 0 fixed 1")
        script.add("pf_ret: (f) ret=5")
        script.done("touch vcpu=0 ret=0 mmio=0")
        script.harvestRing()
        script.end(0, leaf: "5000e65")
        replay(script)
    }

    /// An Intel machine whose CPU logs: the guest writes to three pages in one step, and an interrupt
    /// takes it out after the second.  Nothing but the pushes into the ring shows that.
    func testAnExitThatOnlyTheRingShows() {
        var script = Script()
        script.add("tracing_mark_write: INFO vendor=ept ad=1 pml=1")
        script.begin("DIRTY_LOG_RING arg0=65536")
        script.slot("add")
        script.done("memslot_add slot=1 ret=0")
        script.step("touch vcpu=0 gpa=0x40000000 n=1 stride=0x1000 op=w write=1 exec=0")
        script.loadRoot("1000000", isNew: true)
        script.fault(error: "100000002")
        script.change(0, 0, 4, script.empty, "8000000002001907")
        script.change(0, 0x40000, 3, script.empty, "8000000002002907")
        script.change(0, 0x40000, 2, script.empty, "8000000002003907")
        script.change(0, 0x40000, 1, script.empty, "8600000005000b77")
        script.mapped()
        script.done("touch vcpu=0 ret=0 mmio=0")
        for page in [1, 2] as [UInt64] {
            script.step("touch vcpu=0 gpa=0x4000\(page)000 n=1 stride=0x1000 op=w write=1 exec=0")
            script.fault(error: "100000002", page: page)
            script.change(0, 0x40000 + page, 1, script.empty, "860000000500\(page)b77")
            script.mapped()
            script.done("touch vcpu=0 ret=0 mmio=0")
        }
        script.slot("flags", flags: 1)
        script.add("clear_dirty_slot: (f) base_gfn=0x40000 npages=0x10")
        for page in [0, 1, 2] as [UInt64] {
            script.change(0, 0x40000 + page, 1, "860000000500\(page)b77", "860000000500\(page)977")
        }
        script.add("wrprot_slot: (f) base_gfn=0x40000 npages=0x10 min_level=2")
        script.add("wrprot_slot_ret: (f) ret=0")
        script.done("memslot_flags slot=1 ret=0")
        script.step("touch vcpu=0 gpa=0x40000000 n=3 stride=0x1000 op=w write=1 exec=0")
        script.push(1, page: 1)
        script.push(2, page: 0)
        script.push(3, page: 2)
        script.done("touch vcpu=0 ret=0 mmio=0")
        script.data("ring vcpu=0 part=0 entries=1:1,1:0,1:2")
        script.step("reset_dirty_rings harvested=3")
        script.add("clear_dirty_pt_masked: (f) gfn=0x40000 mask=0x7 wrprot=0")
        for page in [0, 1, 2] as [UInt64] {
            script.change(0, 0x40000 + page, 1, "860000000500\(page)b77", "860000000500\(page)977")
        }
        script.done("reset_dirty_rings ret=3")
        script.add("zap_all: (f)")
        for page in [0, 1, 2] as [UInt64] {
            script.change(0, 0x40000 + page, 1, "860000000500\(page)977", script.empty)
        }
        script.change(0, 0x40000, 2, "8000000002003907", script.empty)
        script.change(0, 0x40000, 3, "8000000002002907", script.empty)
        script.change(0, 0, 4, "8000000002001907", script.empty)
        script.add("zap_invalidated_roots: (f)")
        script.add("zap_invalidated_roots_ret: (f)")
        replay(script)
        // Without the pushes it would be left once, behind the step.
        let silent = script.lines.filter { !$0.contains("kvm_dirty_ring_push") }
        XCTAssertNotEqual(Recorded.replay(trace: Recorded.bytes(silent), dumps: []), .equal)
    }

    func testASlotThatIsZappedAlone() {
        var script = Script()
        script.begin("DISABLE_QUIRKS2 arg0=0x80")
        script.slotWithOnePage()
        script.slot("delete", pages: 0)
        script.add("unmap_gfn_range: (f) start=0x40000 end=0x40010 flush=0")
        script.add("zap_leafs: (f) root=0xff03 spt=0xff04 role=0x3784 start=0x40000 end=0x40010 can_yield=1 flush=0")
        script.change(0, 0x40000, 1, "5000e67", script.empty)
        script.add("zap_leafs_ret: (f) ret=1")
        script.add("unmap_gfn_range_ret: (f) ret=1")
        script.done("memslot_delete slot=1 ret=0")
        script.end(0, leaf: nil)
        replay(script)
    }
}
