// SPDX-License-Identifier: GPL-2.0-only
import PageTable

/// Rights as a CPU finds them in one entry, or in all of a walk: bits of EPT.
package struct Rights: OptionSet {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let read = Rights(rawValue: 1)
    package static let write = Rights(rawValue: 2)
    package static let fetch = Rights(rawValue: 4)
    package static let all = Rights(rawValue: 7)
}

/// What a CPU takes an entry for.
package enum HardwareEntry {
    case notPresent
    /// EPT misconfiguration, NPT reserved bits.
    case reserved
    case table(Rights)
    case leaf(Rights)
}

/// Entries as the manuals of the CPUs have them.  It knows nothing of what the library means by a bit: it is the judge of that.
package struct HardwareBits {
    package let isEPT: Bool
    /// Zero where the CPU sets none.
    package private(set) var accessed: UInt64
    package private(set) var dirty: UInt64
    /// Address bits from MAXPHYADDR on.
    private let beyond: UInt64

    package init(isEPT: Bool, setsAD: Bool, maxPhysicalBits: Int) {
        self.isEPT = isEPT
        accessed = !setsAD ? 0 : isEPT ? 1 &<< 8 : 1 &<< 5
        dirty = !setsAD ? 0 : isEPT ? 1 &<< 9 : 1 &<< 6
        beyond = SPTE.addressMask & ~((1 &<< UInt64(truncatingIfNeeded: maxPhysicalBits)) &- 1)
    }

    /// For who only looks.
    package var settingNone: HardwareBits {
        var bits = self
        bits.accessed = 0
        bits.dirty = 0
        return bits
    }

    @inline(__always)
    package func read(_ spte: SPTE, at level: Level) -> HardwareEntry {
        let raw = spte.raw, isLast = level == .page4K || raw & 1 &<< 7 != 0
        if raw & (isEPT ? 7 : 1) == 0 { return .notPresent }
        // Bit 7 is reserved where no leaf stands; below the size of a leaf no address bit may be set.
        var reserved = beyond
        if level > .maxHuge { reserved |= 1 &<< 7 }
        if isLast && level > .page4K { reserved |= (level.pages &- 1) &<< 12 }
        guard isEPT else {
            // Bit 12 of a huge leaf is its PAT bit.
            if isLast && level > .page4K { reserved &= ~(1 &<< 12) }
            if raw & reserved != 0 { return .reserved }
            // All that a guest does is a user's access.
            let rights: Rights = raw & 4 == 0 ? []
                : [.read, raw & 2 != 0 ? .write : [], raw &>> 63 == 0 ? .fetch : []]
            return isLast ? .leaf(rights) : .table(rights)
        }
        // Of what is no leaf bits 6:3 are reserved; a leaf's are its memory type, of which 2, 3 and 7 are none.
        if isLast {
            let type = raw &>> 3 & 7
            if type == 2 || type == 3 || type == 7 { return .reserved }
        } else {
            reserved |= 0x78
        }
        if raw & reserved != 0 || raw & 3 == 2 { return .reserved }
        let rights = Rights(rawValue: UInt8(truncatingIfNeeded: raw & 7))
        return isLast ? .leaf(rights) : .table(rights)
    }
}
