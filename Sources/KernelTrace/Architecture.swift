// SPDX-License-Identifier: GPL-2.0-only

// Constants of x86 and KVM that the C headers define with casts, which Swift
// does not import.

package enum PageFaultBits {
    package static let present: UInt64 = 1 << 0
    package static let write: UInt64 = 1 << 1
    package static let user: UInt64 = 1 << 2
    package static let reserved: UInt64 = 1 << 3
    package static let fetch: UInt64 = 1 << 4
    package static let guestFinal: UInt64 = 1 << 32
    package static let guestPage: UInt64 = 1 << 33
}

/// SPTE bits that nested paging and EPT have in common.
package enum SPTEBits {
    package static let writable: UInt64 = 1 << 1
    package static let large: UInt64 = 1 << 7
    package static let mmuPresent: UInt64 = 1 << 11
    package static let address: UInt64 = 0x000f_ffff_ffff_f000
    package static let nonpresent: UInt64 = 1 << 63
    /// In a table that was unlinked.
    package static let frozen: UInt64 = nonpresent | 0x5a0

    /// Does the SPTE point to a table?
    package static func isTable(_ spte: UInt64, level: Int) -> Bool {
        spte & mmuPresent != 0 && level > 1 && spte & large == 0
    }

    package static func isLeaf(_ spte: UInt64, level: Int) -> Bool {
        spte & mmuPresent != 0 && (level == 1 || spte & large != 0)
    }

    /// Neither empty nor the plain nonpresent value: what a dump lists.
    package static func isListed(_ spte: UInt64) -> Bool {
        spte != 0 && spte != nonpresent
    }
}

/// SPTE bits that lie elsewhere in the tables of the other vendor.
package struct SPTELayout: Equatable, Sendable {
    package let vendor: Vendor
    /// What the CPU sets: 0 where it does not.
    package let accessed: UInt64
    package let dirty: UInt64
    package let hostWritable: UInt64
    package let mmuWritable: UInt64

    package init(_ machine: RecordedMachine) {
        let isNPT = machine.vendor == .npt
        vendor = machine.vendor
        accessed = machine.hasAD ? 1 << (isNPT ? 5 : 8) : 0
        dirty = machine.hasAD ? 1 << (isNPT ? 6 : 9) : 0
        hostWritable = 1 << (isNPT ? 9 : 57)
        mmuWritable = 1 << (isNPT ? 10 : 58)
    }

    /// Accessed and Dirty.
    package var setByCPU: UInt64 { accessed | dirty }

    package func isReadable(_ spte: UInt64) -> Bool { spte & 1 != 0 }

    /// EPT has a bit that allows it, nested paging one that forbids it.
    package func isExecutable(_ spte: UInt64) -> Bool {
        vendor == .npt ? spte & 1 << 63 == 0 : spte & 1 << 2 != 0
    }

    /// Nobody can use it, and the rights that it had are kept elsewhere: an access will be a fault.
    package func isAccessTracked(_ spte: UInt64) -> Bool {
        accessed == 0 && spte & 7 == 0 && spte & (5 << 54) != 0
    }

    /// EPT's memory type of a leaf, and whether it holds whatever the guest's PAT says.
    package func memoryType(_ spte: UInt64) -> (type: Int, ignoresPAT: Bool)? {
        vendor == .npt ? nil : (Int(spte >> 3 & 7), spte & 1 << 6 != 0)
    }

    /// An MMIO SPTE: not shadow-present, and a reserved bit (nested paging) or rights that no
    /// SPTE can have (EPT: write and execute without read).
    package func isMMIO(_ spte: UInt64) -> Bool {
        guard spte & SPTEBits.mmuPresent == 0 else { return false }
        return vendor == .npt ? spte & 1 << 51 != 0 && spte & 1 != 0 : spte & 7 == 6
    }
}

/// Numbers of a page-table walk.
package enum Paging {
    package static let entries: UInt64 = 512
    package static let pageShift: UInt64 = 12
    package static let pageMask: UInt64 = 0xfff

    /// 4K pages under one entry; 0 for a level that does not exist.
    package static func pages(level: Int) -> UInt64 {
        (1...5).contains(level) ? 1 << (UInt64(level - 1) * 9) : 0
    }

    /// The entry of a table that covers gfn.
    package static func index(_ gfn: UInt64, level: Int) -> UInt64 {
        (1...5).contains(level) ? gfn >> (UInt64(level - 1) * 9) & (entries - 1) : 0
    }
}
