// SPDX-License-Identifier: GPL-2.0-only

/// An SPTE as two libraries must have it alike: without the address of a table, which is a matter of allocation.
enum RenamedEntry {
    static let absent: UInt64 = 1 << 63
    private static let present: UInt64 = 1 << 11, large: UInt64 = 1 << 7
    private static let pfn: UInt64 = 0x000f_ffff_ffff_f000

    static func isTable(_ spte: UInt64, level: Int) -> Bool {
        level > 1 && spte & (present | large) == present
    }

    static func value(_ spte: UInt64, level: Int) -> UInt64 {
        isTable(spte, level: level) ? spte & ~pfn : spte
    }

    /// A star behind one that points to a table, as its address is missing.
    static func text(_ spte: UInt64, level: Int) -> String {
        let digits = String(value(spte, level: level), radix: 16)
        return isTable(spte, level: level) ? digits + "*" : digits
    }
}
