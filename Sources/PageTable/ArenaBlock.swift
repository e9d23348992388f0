// SPDX-License-Identifier: GPL-2.0-only
import CPlatform

/// One block of the arena.  Its first pages hold the headers of all its pages, and since these
/// pages have no use for headers of their own, what is known of the block lies in their place.
struct ArenaBlock: Equatable {
    struct Links {
        var next: ArenaBlock?
        var previous: ArenaBlock?
        var freeCount: UInt
        /// Its free pages, chained through `nextStray`.
        var firstFree: Table?
    }

    private let start: UnsafeMutableRawPointer

    /// The block that an address lies in.
    init(holding address: UInt) {
        start = UnsafeMutableRawPointer(bitPattern: address & ~(TableArena.blockBytes &- 1)).unsafelyUnwrapped
    }

    var links: UnsafeMutablePointer<Links> { start.assumingMemoryBound(to: Links.self) }

    var freeCount: UInt { links.pointee.freeCount }

    /// Is no page in use?
    var isIdle: Bool { freeCount == TableArena.pagesPerBlock - TableArena.headerPages }

    /// Makes every page a free one.
    func fill() {
        links.pointee.freeCount = 0
        links.pointee.firstFree = nil
        for page in (TableArena.headerPages..<TableArena.pagesPerBlock).reversed() {
            let table = Table((start + Int(page * TableHeader.stride)).assumingMemoryBound(to: TableHeader.self))
            table.header.pointee.spt = (start + Int(page * 4096)).assumingMemoryBound(to: UInt64.self)
            give(table)
        }
    }

    func take() -> Table {
        let table = links.pointee.firstFree.unsafelyUnwrapped
        links.pointee.firstFree = table.nextStray
        links.pointee.freeCount &-= 1
        return table
    }

    func give(_ table: Table) {
        table.nextStray = links.pointee.firstFree
        links.pointee.firstFree = table
        links.pointee.freeCount &+= 1
    }

    /// The system may have all but the first page, which holds this; it reads as zero afterwards.
    func discard() { cp_discard_region(start + 4096, Int(TableArena.blockBytes) - 4096) }
}
