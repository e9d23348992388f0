// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import Synchronization

/// One block of the arena.  Its first pages hold the headers of all its pages.  What else is known of a block lies in
/// the first one of all (see below), so that the memory of a block can go back as it came: in one huge page.
///
/// The first block is in small pages, has few of them to give, and never goes back: who makes a small VM, or one VM
/// and no more, does not wait until 2 MiB are zeroed.
struct ArenaBlock: Equatable {
    struct Links {
        var next: ArenaBlock?
        var previous: ArenaBlock?
        var freeCount: UInt
        /// Its free pages, chained through `nextStray`.
        var firstFree: Table?
    }

    /// Pages of the first block that may be tables: three vCPUs' caches full (TableCache), and their headers two pages.
    private static let firstBlockPages: UInt = 48
    /// Where in the first block the links of all blocks begin.
    private static let firstLinksPage = 256

    private let start: UnsafeMutableRawPointer

    /// The block that an address lies in.
    init(holding address: UInt) {
        start = UnsafeMutableRawPointer(bitPattern: address & ~(TableArena.blockBytes &- 1)).unsafelyUnwrapped
    }

    private static var firstBlock: UnsafeMutableRawPointer {
        UnsafeMutableRawPointer(bitPattern: TableArena.offset &+ TableArena.firstAddress).unsafelyUnwrapped
    }

    private var isFirst: Bool { start == Self.firstBlock }

    var links: UnsafeMutablePointer<Links> {
        let index = (start - Self.firstBlock) / Int(TableArena.blockBytes)
        return (Self.firstBlock + Self.firstLinksPage &* 4096).assumingMemoryBound(to: Links.self) + index
    }

    var freeCount: UInt { links.pointee.freeCount }

    /// Could its memory go back?
    var isIdle: Bool { freeCount == TableArena.pagesPerBlock - TableArena.headerPages }

    /// Makes it usable memory; false if there is none.
    func commit() -> Bool { cp_commit_region(start, Int(TableArena.blockBytes), !isFirst) }

    /// Makes every page a free one.
    func fill() {
        links.pointee.freeCount = 0
        links.pointee.firstFree = nil
        let first = TableArena.headerPages
        var page = isFirst ? first &+ Self.firstBlockPages : TableArena.pagesPerBlock
        while page > first {
            page &-= 1
            let table = Table((start + Int(bitPattern: page &* TableHeader.stride)).assumingMemoryBound(to: TableHeader.self))
            table.header.pointee.spt = (start + Int(bitPattern: page &* 4096)).assumingMemoryBound(to: UInt64.self)
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

    /// The system may have it; it reads as zero afterwards.
    func discard() {
        links.pointee.freeCount = .max
        cp_discard_region(start, Int(TableArena.blockBytes))
    }

    private var isDiscarded: Bool { freeCount == .max }

    @inline(__always)
    private func forEachPage(_ body: (Table) -> Void) {
        var page = TableArena.headerPages
        let end = isFirst ? page &+ Self.firstBlockPages : TableArena.pagesPerBlock
        while page != end {
            body(Table((start + Int(bitPattern: page &* TableHeader.stride)).assumingMemoryBound(to: TableHeader.self)))
            page &+= 1
        }
    }

    /// One of its pages that this VM has handed out, or nil.  Under the arena's mutex.
    @_optimize(size)
    func handedOut(by owner: UInt) -> Table? {
        guard !isDiscarded else { return nil }
        var found: Table?
        forEachPage { if $0.ownerAddress == owner && $0.header.pointee.isHandedOut.load(ordering: .relaxed) { found = $0 } }
        return found
    }

    /// Adds its pages to those of `count`; false if its list of free ones is wrong.  Under the arena's mutex.
    @inline(never) @_optimize(size)
    func add(to count: inout TableArena.Count) -> Bool {
        guard !isDiscarded else { return true }
        forEachPage {
            switch $0.ownerAddress {
            case 0: count.unowned &+= 1
            case count.owner: count.owned &+= 1
            default: break
            }
        }
        var left = freeCount, free = links.pointee.firstFree
        while let table = free, left > 0, ArenaBlock(holding: table.word) == self, !table.isInUse {
            free = table.nextStray
            left &-= 1
        }
        count.free &+= Int(bitPattern: freeCount)
        return left == 0 && free == nil
    }
}
