// SPDX-License-Identifier: GPL-2.0-only
// Which entry may become which, and by whom.  docs/SPTES.md is printed from here (scripts/sptes.py);
// SPTEChange.violation() refuses what may not be, in less time, and PageTableTests hold the two equal.

/// What an entry is.  Of leaves the name has host-writable, MMU-writable and W.
package enum SPTEKind: Int, CaseIterable {
    case none, frozen, mmio, table
    case leaf111, leaf110, leaf100, leaf000
    /// Access-tracked: R, W and X are away until the next access.
    case tracked110, tracked100, tracked000

    /// nil: it is nothing that the library makes.  Bits besides are not looked at (SPTEMasks.flaw()).
    package init?(_ spte: SPTE, at level: Level, _ masks: SPTEMasks) {
        if spte.isTable(at: level) {
            self = .table
        } else if spte.isPresent {
            let isTracked = masks.isAccessTracked(spte)
            guard masks.writableBitsAgree(spte), level <= .maxHuge else { return nil }
            let rank = (spte.isWritable ? 1 : 0) + (masks.isMMUWritable(spte) ? 1 : 0)
                + (spte.raw & masks.hostWritable != 0 ? 1 : 0)
            self.init(rawValue: (isTracked ? Self.tracked000 : .leaf000).rawValue &- rank)
        } else if spte.isFrozen {
            self = .frozen
        } else if masks.isMMIO(spte) {
            self = .mmio
        } else if spte == .nonPresent {
            self = .none
        } else {
            return nil
        }
    }
}

/// Who changes entries.
package struct SPTEChangers: OptionSet {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// mmu_lock held for write.
    package static var exclusive: SPTEChangers { SPTEChangers(rawValue: 8) }
    /// mmu_lock held for read: one compare-and-exchange.
    package static var shared: SPTEChangers { SPTEChangers(rawValue: 4) }
    /// No mmu_lock: aging, and fast page faults.
    package static var lockless: SPTEChangers { SPTEChangers(rawValue: 2) }
    /// The CPU itself, which sets Accessed and Dirty.
    package static var cpu: SPTEChangers { SPTEChangers(rawValue: 1) }

    /// Who may make one into the other, of the same page or table where both are present.
    package static func of(_ old: SPTEKind, _ new: SPTEKind) -> SPTEChangers {
        let letter = SPTETransitions.letter(old, new)
        return SPTEChangers(rawValue: letter > 0x60 ? letter &- 0x57 : letter > 0x2f ? letter &- 0x30 : 0)
    }
}

package enum SPTETransitions {
    /// A row for what was, a column for what is to be, in the order of SPTEKind.  A digit has the bits of
    /// SPTEChangers: W 8, R 4, no lock 2, CPU 1.  0: nobody does it, and nobody looks; the checker says so.
    /// A dot: SPTEChange.violation() refuses it.
    private static let rows: StaticString = """
        .444400c40c\
        40000000000\
        04404004404\
        cc014444444\
        cc4cfc84604\
        cc4c6f84604\
        cc4c40f4424\
        cc4c400f406\
        cc4c6204484\
        cc4c4024444\
        cc4c4006404
        """

    package static func letter(_ old: SPTEKind, _ new: SPTEKind) -> UInt8 {
        rows.utf8Start[old.rawValue &* 11 &+ new.rawValue]
    }
}

extension SPTEChange {
    /// Of a change that was seen: is it none that these may make?
    /// nil: anybody may have.
    @inline(never)
    package func breach(by who: SPTEChangers?, _ masks: SPTEMasks) -> Bool {
        guard let old = SPTEKind(self.old, at: level, masks), let new = SPTEKind(self.new, at: level, masks) else { return true }
        // From page to page, or from table to table, in one step.
        if self.old.isPresent && self.new.isPresent && (old == .table) == (new == .table) && self.old.pfn != self.new.pfn {
            return true
        }
        guard let who else { return false }
        return SPTEChangers.of(old, new).isDisjoint(with: who)
    }
}
