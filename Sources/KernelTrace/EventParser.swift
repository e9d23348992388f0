// SPDX-License-Identifier: GPL-2.0-only

/// Turns an event's name and text into a TraceEvent.
enum EventParser {
    typealias Parser = @Sendable (inout ByteCursor) -> TraceEvent?

    /// nil: the text is not what this event prints, or no such event is known.
    static func parse(_ line: FtraceLine) -> TraceEvent? {
        var cursor = line.text
        if let parser = parsers[line.event] {
            guard let event = parser(&cursor), cursor.isAtEnd else { return nil }
            return event
        }
        guard cursor.isTextToTheEnd else { return nil }
        if OperationTable.details.contains(line.event) { return .detail }
        if OperationTable.notes.contains(line.event) { return .note }
        return nil
    }

    static func isKnown(_ event: String) -> Bool {
        parsers[event] != nil || OperationTable.details.contains(event)
            || OperationTable.notes.contains(event)
    }

    private static let parsers: [String: Parser] = [
        "kvm_tdp_mmu_spte_changed": spteChanged,
        "kvm_page_fault": pageFault,
        "kvm_mmu_spte_requested": spteRequested,
        "kvm_mmu_get_page": tableAllocated,
        "kvm_mmu_set_spte": spteSet,
        "mark_mmio_spte": mmioMarked,
        "check_mmio_spte": mmioChecked,
        "handle_mmio_page_fault": mmioHandled,
        "fast_page_fault": fastPageFault,
        "kvm_smm_transition": smmTransition,
        "kvm_dirty_ring_push": ringPushed,
        "kvm_mmu_split_huge_page": hugePageSplit,
        "kvm_unmap_hva_range": { $0.hostRange("unmap range").map { .hostUnmapped(start: $0.0, end: $0.1) } },
        "kvm_age_hva": { $0.hostRange("age hva").map { .hostAged(start: $0.0, end: $0.1) } },
        "kvm_test_age_hva": { $0.hostRange("test age hva").map { .hostTestAged(start: $0.0, end: $0.1) } },
        "inv_end": { $0.skipPlace() ? .invalidateEnd : nil },
        "kvm_mmu_zap_all_fast": { $0.isTextToTheEnd ? $0.toEnd(.zapAllFast) : nil },
        "map": map,
        "map_ret": { $0.returned().map { .mapReturn($0) } },
        "mmu_page_fault": faultHandled,
        "pf_ret": { $0.returned().map { .pageFaultReturn($0) } },
        "alloc_root": allocRoot,
        "load_pgd": loadRoot,
        "pml_flush": guestLeft,
        "iter_start": iteratorStart,
        "iter_restart": iteratorRestart,
        "unmap_gfn_range": unmap,
        "unmap_gfn_range_ret": { $0.returnedFlag().map { .unmapReturn($0) } },
        "zap_leafs": zapLeafsOfRoot,
        "zap_leafs_ret": { $0.returnedFlag().map { .zapLeafsOfRootReturn($0) } },
        "kvm_zap_leafs": zapLeafs,
        "age": { $0.gfns().map { .age(start: $0.start, end: $0.end) } },
        "age_ret": { $0.returnedFlag().map { .ageReturn($0) } },
        "test_age": { $0.gfns().map { .testAge(start: $0.start, end: $0.end) } },
        "test_age_ret": { $0.returnedFlag().map { .testAgeReturn($0) } },
        "wrprot_slot": writeProtectSlot,
        "wrprot_slot_ret": { $0.returnedFlag().map { .writeProtectSlotReturn($0) } },
        "clear_dirty_slot": { $0.recordedSlot().map { .clearDirtySlot($0) } },
        "clear_dirty_pt_masked": clearDirtyMasked,
        "write_protect_gfn": writeProtect,
        "split": split,
        "split_ret": { $0.skipPlace() ? .splitReturn : nil },
        "zap_collapsible": { $0.recordedSlot().map { .zapCollapsible($0) } },
        "zap_collapsible_ret": { $0.skipPlace() ? .zapCollapsibleReturn : nil },
        "zap_sp": zapTable,
        "zap_all": { $0.skipPlace() ? .zapAll : nil },
        "invalidate_all_roots": { $0.skipPlace() ? .invalidateAllRoots : nil },
        "zap_invalidated_roots": { $0.skipPlace() ? .zapInvalidatedRoots : nil },
        "zap_invalidated_roots_ret": { $0.skipPlace() ? .zapInvalidatedRootsReturn : nil },
        "tracing_mark_write": { MarkerParser.parse(&$0) },
    ]
}

/// The kernel's tracepoints.
extension EventParser {
    private static let spteChanged: Parser = { text in
        guard text.skip("as id "), let addressSpace = text.integer(),
            text.skip(" gfn "), let gfn = text.hex(), text.skip(" level "), let level = text.integer(),
            text.skip(" old_spte "), let old = text.hex(), text.skip(" new_spte "), let new = text.hex()
        else { return nil }
        return .spteChanged(
            SPTEChange(addressSpace: addressSpace, gfn: gfn, level: level, old: old, new: new))
    }

    private static let pageFault: Parser = { text in
        guard text.skip("vcpu "), let vcpu = text.integer(),
            text.skip(" rip "), text.prefixedHex() != nil,
            text.skip(" address "), let address = text.prefixedHex(),
            text.skip(" error_code "), let errorCode = text.prefixedHex()
        else { return nil }
        return .pageFault(vcpu: vcpu, address: address, errorCode: errorCode)
    }

    private static let spteRequested: Parser = { text in
        guard text.skip("gfn "), let gfn = text.hex(), text.skip(" pfn "), let pfn = text.hex(),
            text.skip(" level "), let level = text.integer()
        else { return nil }
        return .spteRequested(gfn: gfn, pfn: pfn, level: level)
    }

    private static let tableAllocated: Parser = { text in
        guard text.skip("sp gen "), text.hex() != nil, text.skip(" gfn "), let gfn = text.hex(),
            text.skip(" l"), let level = text.integer(), text.skip(" "), text.isTextToTheEnd
        else { return nil }
        let role = text.rest.split(separator: " ")
        return text.toEnd(.tableAllocated(TableAllocation(
            gfn: gfn, level: level, isNew: role.last == "new", hasAD: !role.contains("!ad"))))
    }

    private static let spteSet: Parser = { text in
        guard text.skip("gfn "), let gfn = text.hex(), text.skip(" spte "), let spte = text.hex(),
            text.skip(" ("), text.skipBehind(UInt8(ascii: ")")),
            text.skip(" level "), let level = text.integer(), text.skip(" at "), let address = text.hex()
        else { return nil }
        return .spteSet(gfn: gfn, spte: spte, level: level, address: address)
    }

    private static let mmioMarked: Parser = { text in
        guard text.skip("sptep:"), let address = text.hex(), text.skip(" gfn "), let gfn = text.hex(),
            text.skip(" access "), let access = text.hex(), text.skip(" gen "), let generation = text.hex()
        else { return nil }
        return .mmioMarked(
            MMIOMark(address: address, gfn: gfn, access: access, generation: generation))
    }

    private static let mmioChecked: Parser = { text in
        guard text.skip("spte "), let spte = text.hex(),
            text.skip(" kvm_gen "), let kvm = text.hex(),
            text.skip(" spte-gen "), let generation = text.hex(),
            text.skip(" valid "), let valid = text.flag()
        else { return nil }
        return .mmioChecked(
            MMIOCheck(spte: spte, kvmGeneration: kvm, spteGeneration: generation, valid: valid))
    }

    private static let mmioHandled: Parser = { text in
        guard text.skip("addr:"), text.hex() != nil, text.skip(" gfn "), let gfn = text.hex(),
            text.skip(" access "), text.hex() != nil
        else { return nil }
        return .mmioHandled(gfn: gfn)
    }

    private static let fastPageFault: Parser = { text in
        guard text.skip("vcpu "), let vcpu = text.integer(), text.skip(" gva "), let gpa = text.hex(),
            text.skip(" error_code "), let errorCode = text.errorCodeNames(),
            text.skip(" sptep "), let address = text.pointer(),
            text.skip(" old "), let old = text.number(), text.skip(" new "), let new = text.hex(),
            text.skip(" spurious "), let spurious = text.flag(),
            text.skip(" fixed "), let fixed = text.flag()
        else { return nil }
        return .fastPageFault(
            FastPageFault(vcpu: vcpu, gpa: gpa, errorCode: errorCode, address: address, old: old,
                          new: new, spurious: spurious, fixed: fixed))
    }

    private static let hugePageSplit: Parser = { text in
        guard text.skip("gfn "), let gfn = text.hex(), text.skip(" spte "), let spte = text.hex(),
            text.skip(" level "), let level = text.integer(), text.skip(" errno "), let error = text.signed()
        else { return nil }
        return .hugePageSplit(HugePageSplit(gfn: gfn, spte: spte, level: level, error: error))
    }

    private static let ringPushed: Parser = { text in
        guard text.skip("ring "), let vcpu = text.integer(), text.skip(": dirty "), let count = text.prefixedHex(),
            text.skip(" reset "), text.prefixedHex() != nil, text.skip(" slot "), let slot = text.integer(),
            text.skip(" offset "), let offset = text.prefixedHex(), text.skip(" (used "), text.integer() != nil,
            text.skip(")"), let id = UInt32(exactly: slot)
        else { return nil }
        return .ringPushed(RingPush(vcpu: vcpu, count: count, entry: RingEntry(slot: id, offset: offset)))
    }

    private static let smmTransition: Parser = { text in
        guard text.skip("vcpu "), let vcpu = text.integer(), text.skip(": ") else { return nil }
        let enters = text.skip("entering")
        guard enters || text.skip("leaving"), text.skip(" SMM, smbase "), text.prefixedHex() != nil
        else { return nil }
        return .smmTransition(vcpu: vcpu, entering: enters)
    }
}
