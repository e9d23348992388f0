// SPDX-License-Identifier: GPL-2.0-only
// One shadow page-table entry, as far as EPT and NPT agree about it.

package struct SPTE: Equatable {
    package var raw: UInt64

    @inline(__always) package init(_ raw: UInt64) { self.raw = raw }

    /// Nothing here.  Bit 63 suppresses virtualization exceptions on EPT and is
    /// ignored while an NPT entry is not present.
    package static let nonPresent = SPTE(1 &<< 63)
    /// emptyThroughFrozen() is replacing the entry, or its table is cut off: keep off and retry.
    package static let frozen = SPTE((1 &<< 63) | 0x5a0)

    package static let writable: UInt64 = 1 &<< 1
    package static let pageSize: UInt64 = 1 &<< 7
    package static let mmuPresent: UInt64 = 1 &<< 11
    package static let addressMask: UInt64 = 0x000f_ffff_ffff_f000
    /// Type of A/D tracking in bits 53:52; zero: hardware sets them.
    package static let adTypeMask: UInt64 = 3 &<< 52
    package static let adDisabled: UInt64 = 1 &<< 52
    /// R and X of an access-tracked entry wait at 54 and 56.
    package static let savedShift: UInt64 = 54
    package static let savedMask: UInt64 = 0b101

    @inline(__always) package var isPresent: Bool { raw & Self.mmuPresent != 0 }
    @inline(__always) package var isFrozen: Bool { raw == Self.frozen.raw }
    @inline(__always) package var isLarge: Bool { raw & Self.pageSize != 0 }
    @inline(__always) package var isWritable: Bool { raw & Self.writable != 0 }

    /// Would this entry, if present, map memory rather than a table?
    @inline(__always) package func isLast(at level: Level) -> Bool {
        level == .page4K || isLarge
    }

    @inline(__always) package func isLeaf(at level: Level) -> Bool { isPresent && isLast(at: level) }
    @inline(__always) package func isTable(at level: Level) -> Bool { isPresent && !isLast(at: level) }

    @inline(__always) package var pfn: PFN { PFN((raw & Self.addressMask) &>> 12) }
    /// Host-physical address of the page or table it points to.
    @inline(__always) package var address: UInt64 { raw & Self.addressMask }

    /// The leaf that maps so many pages of its size further on, and permits the same.
    @inline(__always) package func sibling(_ index: Int, at level: Level) -> SPTE {
        SPTE(raw &+ (UInt64(truncatingIfNeeded: index) &* level.pages) &<< 12)
    }

    /// 19 bits of slot generation, split around the address.
    @inline(__always) package var mmioGeneration: UInt64 {
        ((raw &>> 3) & 0xff) | (((raw &>> 52) & 0x7ff) &<< 8)
    }

    @inline(__always) package static func mmioGenerationBits(_ generation: UInt64) -> UInt64 {
        ((generation & 0xff) &<< 3) | (((generation &>> 8) & 0x7ff) &<< 52)
    }
}
