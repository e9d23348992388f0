// SPDX-License-Identifier: GPL-2.0-only
// The small integers of paging, one type each, so that they cannot be mixed up.

/// Level of an entry: 1 maps 4 KiB, each level above 512 times as much.
package struct Level: Equatable, Comparable {
    package var raw: Int32

    @inline(__always) package init(_ raw: Int32) { self.raw = raw }

    package static let page4K = Level(1)
    package static let page2M = Level(2)
    package static let page1G = Level(3)
    /// Only tables stand in its entries.
    package static let page512G = Level(4)
    /// No leaf stands above this level.
    package static let maxHuge = Level(3)

    /// Is it the number of a level that leaves stand at?
    @inline(__always) package static func isOfLeaf(_ raw: Int32) -> Bool { UInt32(bitPattern: raw &- 1) < 3 }

    @inline(__always) package static func < (a: Level, b: Level) -> Bool { a.raw < b.raw }

    /// 4K pages that one entry covers.
    @inline(__always) package var pages: UInt64 { 1 &<< (UInt64(UInt32(bitPattern: raw &- 1)) &* 9) }

    @inline(__always) package var below: Level { Level(raw &- 1) }
    @inline(__always) package var above: Level { Level(raw &+ 1) }
}

/// Guest frame number.
package struct GFN: Equatable, Comparable {
    package var raw: UInt64

    @inline(__always) package init(_ raw: UInt64) { self.raw = raw }
    @inline(__always) package static func < (a: GFN, b: GFN) -> Bool { a.raw < b.raw }
    @inline(__always) package static func + (a: GFN, pages: UInt64) -> GFN { GFN(a.raw &+ pages) }

    /// First gfn of the entry at a level that covers this one.
    @inline(__always) package func rounded(to level: Level) -> GFN {
        GFN(raw & ~(level.pages &- 1))
    }

    /// Which of a table's 512 entries at a level covers this gfn.
    @inline(__always) package func index(at level: Level) -> Int {
        Int(truncatingIfNeeded: (raw &>> (UInt64(UInt32(bitPattern: level.raw &- 1)) &* 9)) & 511)
    }
}

/// Host frame number of a page, or one of the KVM_PFN_* answers.
package struct PFN: Equatable {
    package var raw: UInt64

    @inline(__always) package init(_ raw: UInt64) { self.raw = raw }

    /// No memory there: the gfn is MMIO.
    package static let noSlot = PFN(1 &<< 63)
    /// First of the error answers.
    package static let faultError = PFN(0x7ff &<< 52)
    package static let poisonError = PFN((0x7ff &<< 52) | 1)
    package static let readOnlyError = PFN((0x7ff &<< 52) | 2)

    /// A page of some machine, and no answer.
    @inline(__always) package var isPage: Bool { raw &>> 40 == 0 }
    @inline(__always) package var isError: Bool { raw & Self.faultError.raw == Self.faultError.raw }

    /// One of the three above, and not only like them.
    @inline(__always) package var isAnswer: Bool { self == .faultError || self == .poisonError || self == .readOnlyError }
}

/// Entries in one table.
@inline(__always) package var entriesPerTable: Int { 512 }
/// Bytes of one table.
@inline(__always) package var tableBytes: Int { 4096 }
