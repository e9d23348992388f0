// SPDX-License-Identifier: GPL-2.0-only

// Constants of x86 and KVM that the C headers define with casts, which Swift
// does not import.

package enum PageFaultBits {
    package static let present: UInt64 = 1 << 0
    package static let write: UInt64 = 1 << 1
    package static let fetch: UInt64 = 1 << 4
    package static let guestFinal: UInt64 = 1 << 32
}

/// SPTE bits of AMD's nested paging, which the recorded machines use.
package enum SPTEBits {
    package static let present: UInt64 = 1 << 0
    package static let writable: UInt64 = 1 << 1
    package static let accessed: UInt64 = 1 << 5
    package static let dirty: UInt64 = 1 << 6
    package static let large: UInt64 = 1 << 7
    package static let hostWritable: UInt64 = 1 << 9
    package static let mmuWritable: UInt64 = 1 << 10
    package static let mmuPresent: UInt64 = 1 << 11
    package static let mmio: UInt64 = 1 << 51
    package static let noExecute: UInt64 = 1 << 63
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

    /// An MMIO SPTE: not shadow-present, its reserved bit and P set.
    package static func isMMIO(_ spte: UInt64) -> Bool {
        spte & mmuPresent == 0 && spte & mmio != 0 && spte & present != 0
    }

    /// Neither empty nor the plain nonpresent value: what a dump lists.
    package static func isListed(_ spte: UInt64) -> Bool {
        spte != 0 && spte != nonpresent
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
