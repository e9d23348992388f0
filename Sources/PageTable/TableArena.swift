// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import Sync
import Synchronization

/// Where all table pages of the process live: one reserved stretch of address
/// space, cut into 2 MiB blocks.  The first pages of a block hold the headers of
/// the others, so a header is found from a table's address by arithmetic, and a
/// table's host-physical address is its distance from the start of the stretch.
/// Of blocks in which no page is used a few are kept, the memory of more goes back.
package enum TableArena {
    package static let blockBytes: UInt = 2 &<< 20
    static let pagesPerBlock: UInt = 512
    /// Pages at the start of a block that its headers fill.
    static let headerPages: UInt = pagesPerBlock * TableHeader.stride / 4096
    /// Host-physical address of the first block: address 0 is never a table.
    static let firstAddress: UInt = blockBytes

    /// A virtual address minus the host-physical one.  Written once, before any table exists.
    nonisolated(unsafe) static var offset: UInt = 0

    /// Reserved bytes; 0 until the first use.  Written under `mutex`.
    static let reserved = Atomic<UInt>(0)
    /// Bytes in usable blocks.  Written under `mutex`; readers only compare.
    static let committed = Atomic<UInt>(0)
    /// Blocks with free pages.
    nonisolated(unsafe) static var available: ArenaBlock? = nil
    /// How many of these have no page in use.
    nonisolated(unsafe) static var idleCount = 0
    /// Blocks whose memory went back to the system.
    nonisolated(unsafe) static var released: ArenaBlock? = nil

    /// So many blocks without a page in use are kept, for the next VM.
    static let idleReserve = 4

    /// Largest stretch tried first; a small address-space limit gets a smaller one.
    private static let largestReservation: UInt = 16 &<< 30
    private static let smallestReservation: UInt = 64 &<< 20

    /// Protects the fields above, the blocks' own, and the growth of the arena.
    /// Who comes to it has it in the list of what a fork sets right.
    @inline(__always) private static var mutex: RankedMutex {
        if !ForkList.has(.arena) { seeToForks() }
        return RankedMutex(cp_arena_mutex(), .arena)
    }

    @inline(never) private static func seeToForks() {
        ForkList.add(.arena, prepare: { TableArena.mutex.lock() }, parent: { TableArena.mutex.unlock() },
                     child: { TableArena.mutex.unlock() })
    }

    @inline(__always) private static func locked<T>(_ body: () -> T) -> T { mutex.locked(body) }

    /// Up to `count` free pages, chained through `nextStray`; fewer, or nil, only
    /// when the system has no more memory.
    package static func take(count: Int) -> Table? {
        locked {
            var first: Table? = nil
            var missing = count
            while missing > 0 {
                guard let block = available else {
                    if grow() { continue }
                    break
                }
                let table = takePage(from: block)
                table.nextStray = first
                first = table
                missing &-= 1
            }
            return first
        }
    }

    /// Takes a page back: one that was never linked, or whose grace period is over.
    package static func give(_ table: Table) {
        locked {
            let block = ArenaBlock(holding: table.word)
            block.give(table)
            if block.freeCount == 1 { list(block) }
            guard block.isIdle else { return }
            idleCount &+= 1
            if idleCount > idleReserve { release(block) }
        }
    }

    private static func takePage(from block: ArenaBlock) -> Table {
        if block.isIdle { idleCount &-= 1 }
        let table = block.take()
        if block.freeCount == 0 { unlist(block) }
        return table
    }

    private static func list(_ block: ArenaBlock) {
        block.links.pointee.next = available
        block.links.pointee.previous = nil
        available?.links.pointee.previous = block
        available = block
    }

    private static func unlist(_ block: ArenaBlock) {
        let links = block.links.pointee
        links.next?.links.pointee.previous = links.previous
        if let previous = links.previous { previous.links.pointee.next = links.next } else { available = links.next }
    }

    /// No page of it is used, nor looked at inside RCU: the grace period of the last one is over.
    private static func release(_ block: ArenaBlock) {
        unlist(block)
        idleCount &-= 1
        block.discard()
        block.links.pointee.next = released
        released = block
    }

    private static func reserve() -> Bool {
        var size = largestReservation
        while size >= smallestReservation {
            if let start = cp_reserve_region(Int(size), Int(blockBytes)) {
                offset = UInt(bitPattern: start) &- firstAddress
                // Release: pairs with the acquire in `covers`.
                reserved.store(size, ordering: .releasing)
                return true
            }
            size /= 4
        }
        return false
    }

    private static func grow() -> Bool {
        if let block = released {
            released = block.links.pointee.next
            block.fill()
            idleCount &+= 1
            list(block)
            return true
        }
        if reserved.load(ordering: .relaxed) == 0 && !reserve() { return false }
        let used = committed.load(ordering: .relaxed)
        guard used < reserved.load(ordering: .relaxed) else { return false }
        let new = ArenaBlock(holding: offset &+ firstAddress &+ used)
        guard new.commit() else { return false }
        new.fill()
        if new.isIdle { idleCount &+= 1 }
        list(new)
        // Release: pairs with the acquire in `covers`; the headers are in place.
        committed.store(used &+ blockBytes, ordering: .releasing)
        return true
    }

    /// Pages by what they are used for.
    package struct Count {
        let owner: UInt
        package var owned = 0
        /// Of no VM: free, or in the cache of a vCPU.
        package var unowned = 0
        package var free = 0

        package init(owner: UInt) { self.owner = owner }
    }

    /// Counts all pages; nil if a list of free ones is wrong.
    @inline(never)
    package static func count(ownedBy owner: UInt) -> Count? {
        locked {
            var count = Count(owner: owner), isSound = true, distance: UInt = 0
            while distance < committed.load(ordering: .relaxed) {
                if !ArenaBlock(holding: offset &+ firstAddress &+ distance).add(to: &count) { isSound = false }
                distance &+= blockBytes
            }
            return isSound ? count : nil
        }
    }

    /// A page that this VM has handed out, or nil.
    @inline(never)
    package static func handedOut(by owner: UInt) -> Table? {
        locked {
            var distance: UInt = 0
            while distance < committed.load(ordering: .relaxed) {
                if let table = ArenaBlock(holding: offset &+ firstAddress &+ distance).handedOut(by: owner) { return table }
                distance &+= blockBytes
            }
            return nil
        }
    }

    /// Is this virtual address inside a usable block, beyond its headers?
    /// Acquire: both pair with grow() and reserve(); `offset` and the headers are in place.
    @inline(__always)
    package static func covers(_ address: UInt) -> Bool {
        guard reserved.load(ordering: .acquiring) != 0 else { return false }
        let distance = address &- (offset &+ firstAddress)
        return distance < committed.load(ordering: .acquiring)
            && distance & (blockBytes &- 1) >= headerPages &* 4096
    }
}
