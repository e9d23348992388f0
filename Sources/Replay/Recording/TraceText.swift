// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// The library's events in ftrace's words, so that what it recorded reads, and replays, like
/// a kernel's trace.
enum TraceText {
    static func name(_ event: tdpmmu_trace_event) -> String {
        tdpmmu_trace_name(Int32(event.id)).map { String(cString: $0) } ?? "unknown_\(event.id)"
    }

    /// Of a mark.
    static func part(_ mark: tdpmmu_trace_text) -> String {
        withUnsafeBytes(of: mark.text) { String(decoding: $0.prefix(Int(mark.length)), as: UTF8.self) }
    }
}

/// One event each.
extension TraceText {
    static func text(_ event: tdpmmu_trace_event) -> String {
        switch tdpmmu_trace_id(rawValue: UInt32(event.id)) {
        case TDPMMU_TRACE_GET_PAGE, TDPMMU_TRACE_PREPARE_ZAP_PAGE, TDPMMU_TRACE_MARK_MMIO_SPTE,
            TDPMMU_TRACE_CHECK_MMIO_SPTE, TDPMMU_TRACE_HANDLE_MMIO, TDPMMU_TRACE_FAST_PAGE_FAULT,
            TDPMMU_TRACE_ZAP_ALL_FAST, TDPMMU_TRACE_SET_SPTE, TDPMMU_TRACE_SPTE_REQUESTED,
            TDPMMU_TRACE_SPTE_CHANGED, TDPMMU_TRACE_SPLIT_HUGE_PAGE:
            mmuText(event)
        case TDPMMU_TRACE_PAGE_FAULT, TDPMMU_TRACE_SMM_TRANSITION, TDPMMU_TRACE_RING_PUSH,
            TDPMMU_TRACE_RING_RESET, TDPMMU_TRACE_UNMAP_HVA_RANGE, TDPMMU_TRACE_AGE_HVA,
            TDPMMU_TRACE_TEST_AGE_HVA:
            kvmText(event)
        default: callText(event)
        }
    }

    /// kvmmmu.
    private static func mmuText(_ event: tdpmmu_trace_event) -> String {
        switch tdpmmu_trace_id(rawValue: UInt32(event.id)) {
        case TDPMMU_TRACE_GET_PAGE: page(event.page) + (event.page.created ? " new" : " existing")
        case TDPMMU_TRACE_PREPARE_ZAP_PAGE: page(event.page)
        case TDPMMU_TRACE_MARK_MMIO_SPTE:
            "sptep:\(pointer(event.mmio.sptep)) gfn \(hex(event.mmio.gfn)) access \(hex(UInt64(event.mmio.access))) "
                + "gen \(hex(UInt64(event.mmio.gen)))"
        case TDPMMU_TRACE_CHECK_MMIO_SPTE:
            "spte \(hex(event.mmio_check.spte)) kvm_gen \(hex(UInt64(event.mmio_check.kvm_gen))) "
                + "spte-gen \(hex(UInt64(event.mmio_check.spte_gen))) "
                + "valid \(event.mmio_check.kvm_gen == event.mmio_check.spte_gen ? 1 : 0)"
        case TDPMMU_TRACE_HANDLE_MMIO:
            "addr:\(hex(event.mmio.addr)) gfn \(hex(event.mmio.gfn)) access \(hex(UInt64(event.mmio.access)))"
        case TDPMMU_TRACE_FAST_PAGE_FAULT: fastPageFault(event.fast_page_fault)
        case TDPMMU_TRACE_ZAP_ALL_FAST:
            "kvm-mmu-valid-gen \(event.zap_all_fast.mmu_valid_gen) used_pages \(event.zap_all_fast.mmu_used_pages)"
        case TDPMMU_TRACE_SET_SPTE: setSPTE(event.set_spte)
        case TDPMMU_TRACE_SPTE_REQUESTED:
            "gfn \(hex(event.spte_requested.gfn)) pfn \(hex(event.spte_requested.pfn)) level \(event.spte_requested.level)"
        case TDPMMU_TRACE_SPTE_CHANGED:
            "as id \(event.spte_changed.as_id) gfn \(hex(event.spte_changed.gfn)) level \(event.spte_changed.level) "
                + "old_spte \(hex(event.spte_changed.old_spte)) new_spte \(hex(event.spte_changed.new_spte))"
        default:
            "gfn \(hex(event.split_huge_page.gfn)) spte \(hex(event.split_huge_page.spte)) "
                + "level \(event.split_huge_page.level) errno \(event.split_huge_page.error)"
        }
    }

    /// kvm.
    private static func kvmText(_ event: tdpmmu_trace_event) -> String {
        switch tdpmmu_trace_id(rawValue: UInt32(event.id)) {
        case TDPMMU_TRACE_PAGE_FAULT:
            "vcpu \(event.page_fault.vcpu_id) rip 0x\(hex(event.page_fault.guest_rip)) "
                + "address 0x\(hex(event.page_fault.fault_address).padded(to: 16, with: "0")) "
                + "error_code 0x\(hex(event.page_fault.error_code))"
        case TDPMMU_TRACE_SMM_TRANSITION:
            "vcpu \(event.smm_transition.vcpu_id): \(event.smm_transition.entering ? "entering" : "leaving") SMM, "
                + "smbase 0x\(hex(event.smm_transition.smbase))"
        case TDPMMU_TRACE_RING_PUSH: ring(event.dirty_ring, with: " slot \(event.dirty_ring.slot) offset 0x\(hex(event.dirty_ring.offset))")
        case TDPMMU_TRACE_RING_RESET: ring(event.dirty_ring, with: "")
        case TDPMMU_TRACE_UNMAP_HVA_RANGE: "mmu notifier unmap range: \(host(event.hva.start)) -- \(host(event.hva.end))"
        case TDPMMU_TRACE_AGE_HVA: "mmu notifier age hva: \(host(event.hva.start)) -- \(host(event.hva.end))"
        default: "mmu notifier test age hva: \(host(event.hva.start))"
        }
    }

    private static func page(_ page: tdpmmu_trace_page) -> String {
        let role = kvm_mmu_page_role(word: page.role)
        let access = ["---", "--x", "w--", "w-x", "-u-", "-ux", "wu-", "wux"][Int(role.access)]
        return "sp gen \(page.mmu_valid_gen) gfn \(hex(page.gfn)) l\(role.level) \(role.has_4_byte_gpte == 0 ? 8 : 4)-byte "
            + "q\(role.quadrant)\(role.direct == 0 ? "" : " direct") \(access)\(role.invalid == 0 ? "" : " invalid") "
            + "\(role.efer_nx == 0 ? "!" : "")nxe \(role.ad_disabled == 0 ? "" : "!")ad root \(page.root_count) "
            + (page.unsync ? "unsync" : "sync")
    }

    private static func setSPTE(_ set: tdpmmu_trace_set_spte) -> String {
        let user = set.u < 0 ? "" : set.u == 0 ? "-" : "u"
        return "gfn \(hex(set.gfn)) spte \(hex(set.spte)) (\(set.r ? "r" : "-")\(set.spte & 2 != 0 ? "w" : "-")"
            + "\(set.x ? "x" : "-")\(user)) level \(set.level) at \(hex(set.sptep))"
    }

    private static func fastPageFault(_ fault: tdpmmu_trace_fast_page_fault) -> String {
        "vcpu \(fault.vcpu_id) gva \(hex(fault.cr2_or_gpa)) error_code \(errorCode(fault.error_code)) "
            + "sptep \(pointer(fault.sptep)) old \(fault.old_spte == 0 ? "0" : "0x" + hex(fault.old_spte)) "
            + "new \(hex(fault.new_spte)) spurious \(fault.ret == Int32(RET_PF_SPURIOUS.rawValue) ? 1 : 0) "
            + "fixed \(fault.ret == Int32(RET_PF_FIXED.rawValue) ? 1 : 0)"
    }

    /// Names of bits, and what has none in hexadecimal.
    private static func errorCode(_ code: UInt64) -> String {
        let names: [(UInt64, String)] = [(1, "P"), (2, "W"), (4, "U"), (8, "RSVD"), (16, "F")]
        let known = names.filter { code & $0.0 != 0 }.map(\.1)
        let rest = code & ~31
        return (known + (rest != 0 || known.isEmpty ? ["0x" + hex(rest)] : [])).joined(separator: "|")
    }

    private static func ring(_ ring: tdpmmu_trace_dirty_ring, with place: String) -> String {
        "ring \(ring.index): dirty 0x\(hex(UInt64(ring.dirty_index))) reset 0x\(hex(UInt64(ring.reset_index)))\(place) "
            + "(used \(ring.dirty_index &- ring.reset_index))"
    }

    private static func host(_ address: UInt64) -> String { "0x" + hex(address).padded(to: 14, with: "0") }

    /// Where a kernel maps all of memory: tables have an address of their own there.
    private static let directMap: UInt64 = 0xffff_8880_0000_0000

    private static func pointer(_ physical: UInt64) -> String { hex(directMap &+ physical) }
}

/// Calls and returns, as kprobes print them.
extension TraceText {
    private static func callText(_ event: tdpmmu_trace_event) -> String {
        switch tdpmmu_trace_id(rawValue: UInt32(event.id)) {
        case TDPMMU_TRACE_MAP: place("kvm_tdp_mmu_map") + map(event.map)
        case TDPMMU_TRACE_MAP_RET: returned("kvm_tdp_mmu_map", event.ret.ret)
        case TDPMMU_TRACE_PF_RET: returned("kvm_tdp_page_fault", event.ret.ret)
        case TDPMMU_TRACE_ALLOC_ROOT: place("kvm_tdp_mmu_alloc_root") + " vcpu=0x\(hex(event.vcpu.vcpu))"
        case TDPMMU_TRACE_LOAD_PGD:
            place("load_mmu_pgd") + " vcpu=0x\(hex(event.vcpu.vcpu)) root_hpa=0x\(hex(event.vcpu.root_hpa)) "
                + "root_level=\(event.vcpu.root_level)"
        case TDPMMU_TRACE_ITER_RESTART:
            place("tdp_iter_restart") + " next_gfn=0x\(hex(event.iter_restart.next_gfn)) "
                + "yielded_gfn=0x\(hex(event.iter_restart.yielded_gfn))"
        case TDPMMU_TRACE_PUT_ROOT, TDPMMU_TRACE_ITER_START, TDPMMU_TRACE_ZAP_LEAFS, TDPMMU_TRACE_ZAP_ROOT,
            TDPMMU_TRACE_ZAP_ROOT_LEVEL:
            rootText(event)
        case TDPMMU_TRACE_KVM_ZAP_LEAFS, TDPMMU_TRACE_UNMAP_GFN_RANGE:
            place(name(event)) + range(event.range) + " flush=\(event.range.flush ? 1 : 0)"
        case TDPMMU_TRACE_AGE, TDPMMU_TRACE_TEST_AGE, TDPMMU_TRACE_INV_RANGE: place(name(event)) + range(event.range)
        case TDPMMU_TRACE_SPLIT:
            place("kvm_tdp_mmu_try_split_huge_pages") + range(event.range)
                + " target=\(event.range.target) shared=\(event.range.shared ? 1 : 0)"
        case TDPMMU_TRACE_UNMAP_GFN_RANGE_RET, TDPMMU_TRACE_AGE_RET, TDPMMU_TRACE_TEST_AGE_RET,
            TDPMMU_TRACE_ZAP_LEAFS_RET, TDPMMU_TRACE_WRPROT_SLOT_RET:
            returned(String(name(event).dropLast(4)), event.ret.ret)
        case TDPMMU_TRACE_WRPROT_SLOT:
            place("kvm_tdp_mmu_wrprot_slot") + slot(event.slot) + " min_level=\(event.slot.min_level)"
        case TDPMMU_TRACE_CLEAR_DIRTY_SLOT, TDPMMU_TRACE_ZAP_COLLAPSIBLE: place(name(event)) + slot(event.slot)
        default: otherText(event)
        }
    }

    private static func otherText(_ event: tdpmmu_trace_event) -> String {
        switch tdpmmu_trace_id(rawValue: UInt32(event.id)) {
        case TDPMMU_TRACE_CLEAR_DIRTY_PT_MASKED:
            place(name(event)) + " gfn=0x\(hex(event.gfn.gfn)) mask=0x\(hex(event.gfn.mask)) "
                + "wrprot=\(event.gfn.wrprot ? 1 : 0)"
        case TDPMMU_TRACE_WRITE_PROTECT_GFN:
            place(name(event)) + " gfn=0x\(hex(event.gfn.gfn)) min_level=\(event.gfn.min_level)"
        case TDPMMU_TRACE_ZAP_SP:
            place(name(event)) + " sp=0x\(hex(event.sp.sp)) spt=0x\(pointer(event.sp.spt)) gfn=0x\(hex(event.sp.gfn))"
        case TDPMMU_TRACE_FREE_SP_RCU: place(name(event)) + " head=0x\(hex(event.sp.sp))"
        case TDPMMU_TRACE_FLUSH_RANGE:
            place("kvm_flush_remote_tlbs_range") + " gfn=0x\(hex(event.gfn.gfn)) n=0x\(hex(event.gfn.n))"
        case TDPMMU_TRACE_SPLIT_RET, TDPMMU_TRACE_ZAP_COLLAPSIBLE_RET, TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS_RET:
            // They return nothing.
            "(caller+0x0/0x0 <- \(name(event).dropLast(4)))"
        default: place(name(event))
        }
    }

    private static func rootText(_ event: tdpmmu_trace_event) -> String {
        let root = event.root
        let text = place(name(event))
            + " root=0x\(hex(root.root)) spt=0x\(pointer(root.spt)) role=0x\(hex(UInt64(root.role)))"
        return switch tdpmmu_trace_id(rawValue: UInt32(event.id)) {
        case TDPMMU_TRACE_ITER_START: text + " min_level=\(root.level) gfn=0x\(hex(root.start))"
        case TDPMMU_TRACE_ZAP_LEAFS:
            text + " start=0x\(hex(root.start)) end=0x\(hex(root.end)) can_yield=\(root.can_yield ? 1 : 0) "
                + "flush=\(root.flush ? 1 : 0)"
        case TDPMMU_TRACE_ZAP_ROOT: text + " shared=\(root.shared ? 1 : 0)"
        case TDPMMU_TRACE_ZAP_ROOT_LEVEL: text + " shared=\(root.shared ? 1 : 0) zap_level=\(root.level)"
        default: text
        }
    }

    private static func map(_ map: tdpmmu_trace_map) -> String {
        let flags: [(String, Bool)] = [
            ("prefetch", map.prefetch), ("exec", map.exec), ("write", map.write), ("present", map.present),
            ("nxwa", map.nxwa),
        ]
        return " vcpu=0x\(hex(map.vcpu)) addr=0x\(hex(map.addr)) ec=0x\(hex(map.ec))"
            + flags.map { " \($0.0)=\($0.1 ? 1 : 0)" }.joined()
            + " gfn=0x\(hex(map.gfn)) pfn=0x\(hex(map.pfn)) map_writable=\(map.map_writable ? 1 : 0) slot=0x\(hex(map.slot))"
    }

    private static func range(_ range: tdpmmu_trace_range) -> String {
        " start=0x\(hex(range.start)) end=0x\(hex(range.end))"
    }

    private static func slot(_ slot: tdpmmu_trace_slot) -> String {
        " base_gfn=0x\(hex(slot.base_gfn)) npages=0x\(hex(slot.npages))"
    }

    private static func place(_ function: String) -> String { "(\(function)+0x0/0x0)" }

    private static func returned(_ function: String, _ value: Int32) -> String {
        "(caller+0x0/0x0 <- \(function)) ret=\(value)"
    }
}
