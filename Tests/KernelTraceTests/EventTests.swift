// SPDX-License-Identifier: GPL-2.0-only
import RecordedTraces
import XCTest

@testable import KernelTrace

final class EventTests: XCTestCase {
    private static let map =
        "map: (kvm_tdp_mmu_map+0x4/0x540 [kvm]) vcpu=0xff01 addr=0x1020 ec=0x100000014 prefetch=0 exec=1 "
        + "write=0 present=0 nxwa=0 gfn=0x1 pfn=0x103220 map_writable=1 slot=0xffff888101f5c200"

    func testTracepoints() {
        XCTAssertEqual(
            event("kvm_tdp_mmu_spte_changed: as id 1 gfn 40157 level 2 old_spte 8000000000000000 new_spte 129ffe827"),
            .spteChanged(SPTEChange(addressSpace: 1, gfn: 0x40157, level: 2, old: 1 << 63, new: 0x1_29ff_e827)))
        XCTAssertEqual(
            event("kvm_page_fault: vcpu 3 rip 0x1020 address 0x0000000000008ff0 error_code 0x100000006"),
            .pageFault(vcpu: 3, address: 0x8ff0, errorCode: 0x1_0000_0006))
        XCTAssertEqual(event("kvm_mmu_spte_requested: gfn 1f pfn 103220 level 2"),
                       .spteRequested(gfn: 0x1f, pfn: 0x103220, level: 2))
        XCTAssertEqual(event("kvm_mmu_get_page: sp gen 0 gfn 40000 l3 8-byte q0 direct wux nxe ad root 0 sync new"),
                       .tableAllocated(TableAllocation(gfn: 0x40000, level: 3, isNew: true, hasAD: true)))
        XCTAssertEqual(event("kvm_mmu_set_spte: gfn 8 spte 1032c9e67 (rwxu) level 1 at 129ffc040"),
                       .spteSet(gfn: 8, spte: 0x1_032c_9e67, level: 1, address: 0x1_29ff_c040))
        XCTAssertEqual(event("mark_mmio_spte: sptep:ffff888129f0f800 gfn feb00 access 7 gen 1e"),
                       .mmioMarked(MMIOMark(address: 0xffff_8881_29f0_f800, gfn: 0xfeb00, access: 7, generation: 0x1e)))
        XCTAssertEqual(event("check_mmio_spte: spte 8000040000057 kvm_gen c spte-gen a valid 0"),
                       .mmioChecked(MMIOCheck(spte: 0x8_0000_4000_0057, kvmGeneration: 12, spteGeneration: 10, valid: false)))
        XCTAssertEqual(event("handle_mmio_page_fault: addr:0 gfn feb00 access 6"), .mmioHandled(gfn: 0xfeb00))
        XCTAssertEqual(
            event("fast_page_fault: vcpu 0 gva 4000a000 error_code P|W|U|0x100000000 sptep ffff888129da8050 "
                  + "old 0x12a900825 new 12a900827 spurious 0 fixed 1"),
            .fastPageFault(FastPageFault(vcpu: 0, gpa: 0x4000_a000, errorCode: 0x1_0000_0007,
                                         address: 0xffff_8881_29da_8050, old: 0x1_2a90_0825, new: 0x1_2a90_0827,
                                         spurious: false, fixed: true)))
        XCTAssertEqual(event("kvm_smm_transition: vcpu 1: entering SMM, smbase 0x30000"),
                       .smmTransition(vcpu: 1, entering: true))
    }

    func testProbes() {
        let call = MapCall(
            vcpuPointer: 0xff01, address: 0x1020, errorCode: 0x1_0000_0014, prefetch: false, execute: true,
            write: false, present: false, noHugeFetch: false, gfn: 1, pfn: 0x103220, mapWritable: true)
        XCTAssertEqual(event(Self.map), .map(call))
        XCTAssertEqual(event("map_ret: (kvm_tdp_page_fault+0xc9/0xf0 [kvm] <- kvm_tdp_mmu_map) ret=-14"), .mapReturn(-14))
        XCTAssertEqual(event("alloc_root: (f+0x4/0x1c0 [kvm]) vcpu=0x10"), .allocRoot(vcpuPointer: 0x10))
        XCTAssertEqual(event("load_pgd: (f+0x4 [kvm_amd]) vcpu=0x10 root_hpa=0x129ff9000 root_level=5"),
                       .loadRoot(vcpuPointer: 0x10, root: 0x1_29ff_9000, level: 5, vendor: .npt))
        XCTAssertEqual(event("unmap_gfn_range: (f+0x4) start=0x10 end=0x20 flush=0"),
                       .unmap(start: 0x10, end: 0x20, flush: false))
        XCTAssertEqual(event("unmap_gfn_range_ret: (a <- b) ret=1"), .unmapReturn(true))
        XCTAssertEqual(event("zap_leafs: (f) root=0x1 spt=0x2 role=0x3784 start=0x3 end=0x4 can_yield=1 flush=0"),
                       .zapLeafsOfRoot(RecordedRoot(table: 2, role: 0x3784), start: 3, end: 4))
        XCTAssertEqual(event("zap_all: (kvm_tdp_mmu_zap_all+0x4/0x80 [kvm])"), .zapAll)
        XCTAssertEqual(event("put_root: (f) root=0x1"), .detail)
        XCTAssertEqual(event("flush: (kvm_flush_remote_tlbs+0x4/0x50 [kvm])"), .note)
        XCTAssertEqual(event("age: (f) start=0x1 end=0x2"), .age(start: 1, end: 2))
        XCTAssertEqual(event("age_ret: (f <- g) ret=1"), .ageReturn(true))
    }

    func testDirtyLoggingAndHugePages() {
        let slot = RecordedSlot(base: 0x40000, pages: 0xc00)
        XCTAssertEqual(event("wrprot_slot: (f+0x4/0xa0 [kvm]) base_gfn=0x40000 npages=0xc00 min_level=1"),
                       .writeProtectSlot(slot, minLevel: 1))
        XCTAssertEqual(event("clear_dirty_slot: (f) base_gfn=0x40000 npages=0xc00"), .clearDirtySlot(slot))
        XCTAssertEqual(event("zap_collapsible: (f) base_gfn=0x40000 npages=0xc00"), .zapCollapsible(slot))
        XCTAssertEqual(event("clear_dirty_pt_masked: (f) gfn=0x400c0 mask=0x8000000000000000 wrprot=1"),
                       .clearDirtyMasked(gfn: 0x400c0, mask: 1 << 63, writeProtect: true))
        XCTAssertEqual(event("write_protect_gfn: (f) gfn=0x4003f min_level=2"), .writeProtect(gfn: 0x4003f, minLevel: 2))
        XCTAssertEqual(event("split: (f) start=0x40000 end=0x40040 target=1 shared=0"),
                       .split(SplitCall(start: 0x40000, end: 0x40040, target: 1, shared: false)))
        XCTAssertEqual(event("zap_sp: (f) sp=0xff01 spt=0xff02 gfn=0x60200"), .zapTable(table: 0xff02, gfn: 0x60200))
        XCTAssertEqual(event("kvm_mmu_split_huge_page: gfn 40200 spte 12bc00ee7 level 2 errno -12"),
                       .hugePageSplit(HugePageSplit(gfn: 0x40200, spte: 0x1_2bc0_0ee7, level: 2, error: -12)))
        XCTAssertEqual(event("kvm_unmap_hva_range: mmu notifier unmap range: 0x007f00 -- 0x008000"),
                       .hostUnmapped(start: 0x7f00, end: 0x8000))
        for bad in ["wrprot_slot: (f) base_gfn=0x40000 npages=0xc00", "split: (f) start=0x1 end=0x2 target=1 shared=2",
                    "zap_sp: (f) sp=0xff01 spt=0xff02", "age: (f) start=0x1", "age_ret: (f) ret=2"] {
            XCTAssertNil(event(bad), bad)
        }
    }

    /// A good line, cut anywhere, is no good line; and with any character of it
    /// replaced nothing crashes.
    func testEveryPrefixOfALineIsRefused() {
        for prefix in 5..<Self.map.count - 1 {
            let text = String(Self.map.prefix(prefix))
            // A number may end early; every other cut leaves something out.
            if text.contains("slot=0x") { continue }
            XCTAssertNil(event(text), text)
        }
        for index in Self.map.indices {
            for character in "\0\u{7f} :=0xg-" {
                _ = event(Self.map.replacingCharacters(in: index...index, with: String(character)))
            }
        }
    }

    func testRefusesWhatAnEventDoesNotPrint() {
        for text in [
            "kvm_tdp_mmu_spte_changed: as id 0 gfn 1 level 1 old_spte 0 new_spte 10000000000000000",
            "kvm_tdp_mmu_spte_changed: as id 0 gfn 1 level 1 old_spte 0 new_spte g",
            "kvm_tdp_mmu_spte_changed: as id -1 gfn 1 level 1 old_spte 0 new_spte 0",
            "kvm_tdp_mmu_spte_changed: as id 0 gfn 1 level 1 old_spte 0 new_spte 0 more",
            "map_ret: (f ret=5", "map_ret: (f) ret=", "map_ret: (f) ret=5x", "unmap_gfn_range_ret: (f) ret=2",
            "no_such_event: text", "flush: \u{1}", "put_root: \u{e9}",
        ] { XCTAssertNil(event(text), text) }
    }
}

final class MarkerTests: XCTestCase {
    private func marker(_ text: String) -> TraceEvent? { event("tracing_mark_write: \(text)") }

    func testSteps() {
        XCTAssertEqual(marker("STEP vm_create nvcpus=2 mode=long"), .step(.createVM(vcpus: 2, longMode: true)))
        XCTAssertEqual(marker("STEP vcpu_create vcpu=1"), .step(.createVCPU(1)))
        XCTAssertEqual(
            marker("STEP memslot_delete slot=1 as_id=1 gpa=0x40000000 npages=0x0 hva=0x7f00 flags=3 kind=anon4k"),
            .step(.memslot(MemslotStep(operation: "memslot_delete", slot: 1, addressSpace: 1, gpa: 0x4000_0000,
                                       pages: 0, hva: 0x7f00, flags: 3))))
        XCTAssertEqual(
            marker("STEP touch vcpu=0 gpa=0x8ff0 n=3 stride=0x1000 op=rmw write=1 exec=0"),
            .step(.touch(TouchStep(vcpu: 0, gpa: 0x8ff0, count: 3, stride: 0x1000, access: PageFaultBits.write))))
        XCTAssertEqual(
            marker("STEP batch vcpu=2 n=2 list=7fea5080:r,40180080:w"),
            .step(.batch(vcpu: 2, accesses: [GuestAccess(gpa: 0x7fea_5080, access: 0),
                                             GuestAccess(gpa: 0x4018_0080, access: PageFaultBits.write)])))
        XCTAssertEqual(marker("STEP dump id=3 root=0x129ff9000 root_level=4"),
                       .step(.dump(id: 3, root: 0x1_29ff_9000, rootLevel: 4)))
        XCTAssertEqual(marker("STEP run vcpu=3"), .step(.run(vcpu: 3)))
        XCTAssertEqual(marker("STEP access vcpu=1 gpa=0x200000 op=x"),
                       .step(.access(vcpu: 1, GuestAccess(gpa: 0x20_0000, access: PageFaultBits.fetch))))
        XCTAssertNil(marker("STEP access vcpu=1 gpa=0x200000 op=y"))
        XCTAssertNil(marker("STEP access vcpu=1 op=r"))
        XCTAssertEqual(marker("STEP fork"), .step(.other("fork")))
        XCTAssertEqual(marker("STEP madvise_cold hva=0x7000 gpa=0 len=0x2000"),
                       .step(.hostChange(HostChangeStep(operation: "madvise_cold", hva: 0x7000, length: 0x2000))))
        XCTAssertEqual(marker("STEP host_map hva=0x7000 len=0x2000 kind=thp populate=1"),
                       .step(.hostMap(HostMapStep(hva: 0x7000, length: 0x2000, kind: "thp", isPopulated: true))))
    }

    func testStepsOfDirtyLogging() {
        XCTAssertEqual(marker("STEP param eager_page_split=N"), .step(.parameter(name: "eager_page_split", value: "N")))
        XCTAssertEqual(marker("STEP enable_cap cap=MANUAL_DIRTY_LOG_PROTECT2 arg0=3"),
                       .step(.enableCapability(name: "MANUAL_DIRTY_LOG_PROTECT2", argument: 3)))
        XCTAssertEqual(marker("STEP get_dirty_log slot=3"), .step(.getDirtyLog(slot: 3)))
        XCTAssertEqual(marker("STEP get_dirty_log slot=3 as_id=1"), .step(.getDirtyLog(slot: 0x10003)))
        XCTAssertEqual(marker("STEP clear_dirty_log slot=1 first=0x200 n=0x40"),
                       .step(.clearDirtyLog(slot: 1, first: 0x200, count: 0x40)))
        XCTAssertEqual(marker("STEP reset_dirty_rings harvested=7"), .step(.resetDirtyRings(harvested: 7)))
        XCTAssertEqual(marker("STEP smi_touch vcpu=0 as_id=1 gpa=0x40000000 write=1"),
                       .step(.smiTouch(vcpu: 0, GuestAccess(gpa: 0x4000_0000, access: PageFaultBits.write))))
        XCTAssertEqual(marker("DATA dirty slot=1 part=0 pages=7,fb-fd"),
                       .pages(PageList(isToClear: false, slot: 1, ranges: [7...7, 0xfb...0xfd])))
        XCTAssertEqual(marker("DATA clear slot=1 total=60"), .pages(PageList(isToClear: true, slot: 1, total: 60)))
        XCTAssertEqual(marker("DATA dirty slot=1 part=0 pages=none"), .pages(PageList(isToClear: false, slot: 1)))
        XCTAssertEqual(marker("DATA ring vcpu=1 part=0 entries=1:2f,10002:0"),
                       .ringEntries(vcpu: 1, entries: [RingEntry(slot: 1, offset: 0x2f), RingEntry(slot: 0x10002, offset: 0)]))
    }

    func testOtherMarkers() {
        XCTAssertEqual(marker("DONE memslot_add slot=3 ret=-17"),
                       .done(Done(operation: "memslot_add", result: -17, entries: nil)))
        XCTAssertEqual(marker("DONE param eager_page_split ret=0"),
                       .done(Done(operation: "param", result: 0, entries: nil)))
        XCTAssertEqual(marker("DONE dump id=2 n=11"), .done(Done(operation: "dump", result: 0, entries: 11)))
        XCTAssertEqual(marker("EXIT mmio vcpu=1 phys=0xfeb00000 len=4 is_write=1"),
                       .mmioExit(vcpu: 1, gpa: 0xfeb0_0000))
        XCTAssertEqual(marker("INFO guest_cpuid_80000008 eax=0x283928"), .guestCPUID(eax: 0x283928))
        XCTAssertEqual(marker("INFO warm_done"), .note)
        XCTAssertEqual(marker("DATA dirty slot=1 pages=0,2-5"),
                       .pages(PageList(isToClear: false, slot: 1, ranges: [0...0, 2...5])))
    }

    func testTheMachine() throws {
        let line = "INFO vendor=ept ad=1 pml=0 root_level=5 maxphyaddr=46 l1tf_cache_bits=44"
        guard case .machineInfo(let info) = marker(line) else { return XCTFail("no machine") }
        XCTAssertNil(info.problem)
        let machine = RecordedMachine(vendor: .ept, hasAD: true, hasPML: false, rootLevel: 5, physicalBits: 46,
                                      l1tfCacheBits: 44)
        XCTAssertEqual(info.facts, MachineFacts(machine))
        XCTAssertEqual("INFO " + info.facts.text, line)
        let bad = [
            "vendor=via": "unknown vendor \"via\": npt or ept", "vendor=": "unknown vendor \"\": npt or ept",
            "vendor=ept ad=2": "the machine cannot have ad=2", "vendor=ept pml=x": "the machine cannot have pml=x",
            "vendor=ept root_level=3": "the machine cannot have root_level=3",
            "vendor=ept maxphyaddr=53": "the machine cannot have maxphyaddr=53",
            "vendor=ept l1tf_cache_bits=47": "the machine cannot have l1tf_cache_bits=47",
            "vendor=ept tlb=1": "unknown fact \"tlb\" of the machine",
            "vendor=npt pml=1": "pml=1 contradicts vendor=npt", "vendor=ept ad=0 pml=1": "pml=1 contradicts ad=0",
            "vendor=npt ad=0": "ad=0 contradicts vendor=npt",
            "ad=1 pml=1": "the machine has no vendor", "vendr=ept ad=1": "unknown fact \"vendr\" of the machine",
            "vendor=ept ad=1 rubbish": "what the machine has is key=value, and nothing else",
            "vendor=ept ad=1 ad=0": "the machine has two values of ad",
            "vendor=ept root_level=04": "the machine cannot have root_level=04",
        ]
        for (text, problem) in bad {
            guard case .machineInfo(let info) = marker("INFO " + text) else { return XCTFail(text) }
            XCTAssertEqual(info.problem, problem, text)
        }
    }

    func testRefusesBadMarkers() {
        for text in [
            "", "HELLO", "STEP", "STEP ", "STEP frobnicate", "STEP vcpu_create", "STEP vcpu_create vcpu=",
            "STEP vcpu_create vcpu=-1", "STEP vcpu_create vcpu=1x", "STEP vcpu_create vcpu",
            "STEP vm_create nvcpus=1 mode=real", "DONE frobnicate", "DONE touch ret=x",
            "STEP touch vcpu=0 gpa=0 n=99999999999 stride=1 op=r", "STEP touch vcpu=0 gpa=0 n=1 stride=1 op=q",
            "STEP batch vcpu=0 n=2 list=1:r", "STEP batch vcpu=0 n=1 list=1", "STEP batch vcpu=0 n=1 list=1:r,",
            "STEP memslot_add slot=70000 as_id=0 gpa=0 npages=1 hva=0 flags=0",
            "STEP memslot_add slot=1 as_id=0 gpa=0 npages=1 hva=0 flags=0x100000000",
            "DATA dirty slot=1 part=0 pages=9-7", "DATA dirty slot=1 part=0 pages=1,,2",
            "DATA dirty slot=1 part=0 pages=1000000000", "DATA dirty slot=1 total=", "DATA ring vcpu=0 part=0 entries=1",
            "STEP get_dirty_log", "STEP param", "STEP clear_dirty_log slot=1 first=0", "STEP enable_cap cap=X",
            "STEP smi_touch vcpu=0 gpa=0x1", "STEP host_map hva=0x1 len=1", "STEP mprotect hva=0x1",
            "STEP dump id=0 root=129ff9000 root_level=4", "EXIT mmio vcpu=0", "INFO guest_cpuid_80000008 eax=",
        ] { XCTAssertNil(marker(text), text) }
    }
}
