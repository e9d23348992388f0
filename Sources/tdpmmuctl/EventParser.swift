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
        "kvm_mmu_split_huge_page": hugePageSplit,
        "kvm_unmap_hva_range": hostUnmapped,
        "kvm_mmu_zap_all_fast": { $0.isTextToTheEnd ? $0.toEnd(.zapAllFast) : nil },
        "map": map,
        "map_ret": { $0.returned().map { .mapReturn($0) } },
        "pf_ret": { $0.returned().map { .pageFaultReturn($0) } },
        "alloc_root": allocRoot,
        "load_pgd": loadRoot,
        "iter_start": iteratorStart,
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
        return text.toEnd(
            .tableAllocated(gfn: gfn, level: level, isNew: text.rest.hasSuffix(" new")))
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
            text.skip(" old "), let old = text.prefixedHex(), text.skip(" new "), let new = text.hex(),
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

    private static let hostUnmapped: Parser = { text in
        guard text.skip("mmu notifier unmap range: "), let start = text.prefixedHex(),
            text.skip(" -- "), let end = text.prefixedHex()
        else { return nil }
        return .hostUnmapped(start: start, end: end)
    }

    private static let smmTransition: Parser = { text in
        guard text.skip("vcpu "), let vcpu = text.integer(), text.skip(": ") else { return nil }
        let entering = text.skip("entering")
        guard entering || text.skip("leaving"), text.skip(" SMM, smbase "), text.prefixedHex() != nil
        else { return nil }
        return .smmTransition(vcpu: vcpu, entering: entering)
    }
}

/// The probes on the TDP MMU's functions.
extension EventParser {
    private static let map: Parser = { text in
        guard text.skipPlace(), text.skip(" vcpu="), let vcpu = text.prefixedHex(),
            text.skip(" addr="), let address = text.prefixedHex(),
            text.skip(" ec="), let errorCode = text.prefixedHex(),
            text.skip(" prefetch="), let prefetch = text.flag(),
            text.skip(" exec="), let execute = text.flag(),
            text.skip(" write="), let write = text.flag(),
            text.skip(" present="), let present = text.flag(),
            text.skip(" nxwa="), let noHugeFetch = text.flag(),
            text.skip(" gfn="), let gfn = text.prefixedHex(),
            text.skip(" pfn="), let pfn = text.prefixedHex(),
            text.skip(" map_writable="), let writable = text.flag(),
            text.skip(" slot="), text.prefixedHex() != nil
        else { return nil }
        return .map(
            MapCall(
                vcpuPointer: vcpu, address: address, errorCode: errorCode, prefetch: prefetch,
                execute: execute, write: write, present: present, noHugeFetch: noHugeFetch,
                gfn: gfn, pfn: pfn, mapWritable: writable))
    }

    private static let allocRoot: Parser = { text in
        guard text.skipPlace(), text.skip(" vcpu="), let vcpu = text.prefixedHex() else { return nil }
        return .allocRoot(vcpuPointer: vcpu)
    }

    private static let loadRoot: Parser = { text in
        guard text.skipPlace(), text.skip(" vcpu="), let vcpu = text.prefixedHex(),
            text.skip(" root_hpa="), let root = text.prefixedHex(),
            text.skip(" root_level="), let level = text.integer()
        else { return nil }
        return .loadRoot(vcpuPointer: vcpu, root: root, level: level)
    }

    private static let iteratorStart: Parser = { text in
        guard let root = text.recordedRoot(), text.skip(" min_level="), let level = text.integer(),
            text.skip(" gfn="), let gfn = text.prefixedHex()
        else { return nil }
        return .iteratorStart(root, minLevel: level, gfn: gfn)
    }

    private static let unmap: Parser = { text in
        guard let (start, end, flush) = text.range() else { return nil }
        return .unmap(start: start, end: end, flush: flush)
    }

    private static let zapLeafs: Parser = { text in
        guard let (start, end, flush) = text.range() else { return nil }
        return .zapLeafs(start: start, end: end, flush: flush)
    }

    private static let zapLeafsOfRoot: Parser = { text in
        guard let root = text.recordedRoot(), text.skip(" start="), let start = text.prefixedHex(),
            text.skip(" end="), let end = text.prefixedHex(),
            text.skip(" can_yield="), text.flag() != nil, text.skip(" flush="), text.flag() != nil
        else { return nil }
        return .zapLeafsOfRoot(root, start: start, end: end)
    }
}

/// Dirty logging, huge pages.
extension EventParser {
    private static let writeProtectSlot: Parser = { text in
        guard let slot = text.recordedSlot(), text.skip(" min_level="), let level = text.integer()
        else { return nil }
        return .writeProtectSlot(slot, minLevel: level)
    }

    private static let clearDirtyMasked: Parser = { text in
        guard text.skipPlace(), text.skip(" gfn="), let gfn = text.prefixedHex(),
            text.skip(" mask="), let mask = text.prefixedHex(), text.skip(" wrprot="), let flag = text.flag()
        else { return nil }
        return .clearDirtyMasked(gfn: gfn, mask: mask, writeProtect: flag)
    }

    private static let writeProtect: Parser = { text in
        guard text.skipPlace(), text.skip(" gfn="), let gfn = text.prefixedHex(),
            text.skip(" min_level="), let level = text.integer()
        else { return nil }
        return .writeProtect(gfn: gfn, minLevel: level)
    }

    private static let split: Parser = { text in
        guard let (start, end) = text.gfns(), text.skip(" target="), let target = text.integer(),
            text.skip(" shared="), let shared = text.flag()
        else { return nil }
        return .split(SplitCall(start: start, end: end, target: target, shared: shared))
    }

    private static let zapTable: Parser = { text in
        guard text.skipPlace(), text.skip(" sp="), text.prefixedHex() != nil,
            text.skip(" spt="), let table = text.prefixedHex(), text.skip(" gfn="), let gfn = text.prefixedHex()
        else { return nil }
        return .zapTable(table: table, gfn: gfn)
    }
}

/// Pieces that several events share.
extension ByteCursor {
    /// "(function+0x4/0x540 [kvm])" of a probe.
    fileprivate mutating func skipPlace() -> Bool {
        skip("(") && skipBehind(UInt8(ascii: ")"))
    }

    fileprivate mutating func returned() -> Int? {
        guard skipPlace(), skip(" ret=") else { return nil }
        return signed()
    }

    fileprivate mutating func returnedFlag() -> Bool? {
        guard skipPlace(), skip(" ret=") else { return nil }
        return flag()
    }

    fileprivate mutating func recordedRoot() -> RecordedRoot? {
        guard skipPlace(), skip(" root="), prefixedHex() != nil,
            skip(" spt="), let table = prefixedHex(),
            skip(" role="), let word = prefixedHex(), let role = UInt32(exactly: word)
        else { return nil }
        return RecordedRoot(table: table, role: role)
    }

    fileprivate mutating func range() -> (start: UInt64, end: UInt64, flush: Bool)? {
        guard let (start, end) = gfns(), skip(" flush="), let flush = self.flag() else { return nil }
        return (start, end, flush)
    }

    fileprivate mutating func gfns() -> (start: UInt64, end: UInt64)? {
        guard skipPlace(), skip(" start="), let start = prefixedHex(), skip(" end="), let end = prefixedHex()
        else { return nil }
        return (start, end)
    }

    fileprivate mutating func recordedSlot() -> RecordedSlot? {
        guard skipPlace(), skip(" base_gfn="), let base = prefixedHex(),
            skip(" npages="), let pages = prefixedHex()
        else { return nil }
        return RecordedSlot(base: base, pages: pages)
    }

    /// A pointer as the tracepoints print it; (null) is 0.
    fileprivate mutating func pointer() -> UInt64? {
        skip("(null)") ? 0 : hex()
    }

    /// "P|W|U|0x100000000": names, and what has none in hexadecimal.
    fileprivate mutating func errorCodeNames() -> UInt64? {
        let names: [(name: StaticString, bits: UInt64)] = [
            ("RSVD", 1 << 3), ("P", PageFaultBits.present), ("W", PageFaultBits.write),
            ("U", 1 << 2), ("F", PageFaultBits.fetch),
        ]
        var code: UInt64 = 0
        repeat {
            if let bits = prefixedHex() {
                code |= bits
            } else if let name = names.first(where: { skip($0.name) }) {
                code |= name.bits
            } else {
                return nil
            }
        } while skip("|")
        return code
    }

    /// No control characters and nothing beyond ASCII from here on.
    var isTextToTheEnd: Bool {
        var copy = self
        while let byte = copy.next() {
            if !byte.isTextual { return false }
        }
        return true
    }

    /// `event`, with all the text taken.
    mutating func toEnd(_ event: TraceEvent) -> TraceEvent {
        while next() != nil {}
        return event
    }
}
