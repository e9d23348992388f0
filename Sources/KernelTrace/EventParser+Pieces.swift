// SPDX-License-Identifier: GPL-2.0-only

/// Pieces that several events share.
extension ByteCursor {
    /// "(function+0x4/0x540 [kvm])" of a probe.
    mutating func skipPlace() -> Bool {
        skip("(") && skipBehind(UInt8(ascii: ")"))
    }

    /// Whose function a probe was on, as far as its name or its module tells.
    var vendorOfPlace: Vendor? {
        var text = self
        guard text.skip("(") else { return nil }
        if text.skip("vmx_") { return .ept }
        if text.skip("svm_") { return .npt }
        let place = text.word(until: UInt8(ascii: ")"))
        return place.hasSuffix("[kvm_intel]") ? .ept : place.hasSuffix("[kvm_amd]") ? .npt : nil
    }

    mutating func returned() -> Int? {
        guard skipPlace(), skip(" ret=") else { return nil }
        return signed()
    }

    mutating func returnedFlag() -> Bool? {
        guard skipPlace(), skip(" ret=") else { return nil }
        return flag()
    }

    mutating func recordedRoot() -> RecordedRoot? {
        guard skipPlace(), skip(" root="), prefixedHex() != nil,
            skip(" spt="), let table = prefixedHex(),
            skip(" role="), let word = prefixedHex(), let role = UInt32(exactly: word)
        else { return nil }
        return RecordedRoot(table: table, role: role)
    }

    mutating func range() -> (start: UInt64, end: UInt64, flush: Bool)? {
        guard let (start, end) = gfns(), skip(" flush="), let flush = self.flag() else { return nil }
        return (start, end, flush)
    }

    /// What the memory notifier is told to do, and one address or two.
    mutating func hostRange(_ verb: StaticString) -> (start: UInt64, end: UInt64)? {
        guard skip("mmu notifier "), skip(verb), skip(": "), let start = prefixedHex() else { return nil }
        if isAtEnd { return (start, start &+ 1) }
        guard skip(" -- "), let end = prefixedHex() else { return nil }
        return (start, end)
    }

    mutating func gfns() -> (start: UInt64, end: UInt64)? {
        guard skipPlace(), skip(" start="), let start = prefixedHex(), skip(" end="), let end = prefixedHex()
        else { return nil }
        return (start, end)
    }

    mutating func recordedSlot() -> RecordedSlot? {
        guard skipPlace(), skip(" base_gfn="), let base = prefixedHex(),
            skip(" npages="), let pages = prefixedHex()
        else { return nil }
        return RecordedSlot(base: base, pages: pages)
    }

    /// A pointer as the tracepoints print it; (null) is 0.
    mutating func pointer() -> UInt64? {
        skipBlanks()
        return skip("(null)") ? 0 : hex()
    }

    /// "P|W|U|0x100000000": names, and what has none in hexadecimal.
    mutating func errorCodeNames() -> UInt64? {
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
