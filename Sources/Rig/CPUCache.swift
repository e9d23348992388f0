// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import MMU
import PageTable
import Sync
import Synchronization

/// A translation that a CPU has.
package struct CachedTranslation {
    /// EPT: the root's address; NPT: an ASID.
    var tag: UInt64
    package var gfn: GFN
    package var pages: UInt64
    /// Of gfn.
    package var pfn: UInt64
    package var spte: SPTE
    package var level: Level
    package var rights: Rights
    /// A write needs no walk.
    package var isDirty: Bool
    /// When it was filled: the operation, and the count of sights.
    /// Address of the operation's name.
    package var filledBy: UInt
    package var filledAt: UInt64
    var next: Int32 = -1

    fileprivate func touches(_ start: GFN, _ end: GFN) -> Bool { gfn < end && start < gfn + pages }
}

/// A paging-structure entry, or a walk under way: the CPU stands in front of `table`, which translates what lies in
/// [gfn, gfn + pages).
package struct CachedTable {
    var tag: UInt64
    package var gfn: GFN
    /// Of the entry that it came from.
    package var level: Level
    /// Host-physical.
    package var table: UInt64
    package var rights: Rights
    /// Where the walk goes; of a walk under way.
    package var target: GFN

    package static var none: CachedTable {
        CachedTable(tag: 0, gfn: GFN(0), level: .page4K, table: 0, rights: [], target: GFN(0))
    }

    fileprivate func touches(_ start: GFN, _ end: GFN) -> Bool { tag != 0 && gfn < end && start < gfn + level.pages }
}

/// What one CPU remembers.  Each method takes the CPU's lock for a moment, under which nothing is called.
package struct CPUCache: ~Copyable {
    fileprivate static var buckets: Int { 1024 }
    fileprivate static var tables: Int { 256 }

    /// Who has it: count of forks, number of the thread; or 0.
    fileprivate let holder = Atomic<UInt64>(0)
    /// The same, of who walks ahead for it: whoever takes the root from it waits for him, and the vCPU may go then.
    fileprivate let filler = Atomic<UInt64>(0)
    /// Counts what was dropped because somebody asked: a walk that began before begins again.
    package let generation = Atomic<UInt64>(0)
    /// The vCPU, its tag; 0: it walks no root.
    package let vcpu = Atomic<UInt>(0)
    package let tag = Atomic<UInt64>(0)
    /// Host-physical address of the root.
    package let root = Atomic<UInt64>(0)
    fileprivate var count = 0
    fileprivate var capacity = 0
    fileprivate var walk = CachedTable.none
    fileprivate var entries: UnsafeMutablePointer<CachedTranslation>
    fileprivate var heads: UnsafeMutablePointer<Int32>
    fileprivate var children: UnsafeMutablePointer<CachedTable>

    package static func bytes(_ translations: Int) -> Int {
        translations &* MemoryLayout<CachedTranslation>.stride &+ tables &* MemoryLayout<CachedTable>.stride
            &+ buckets &* MemoryLayout<Int32>.stride
    }

    /// Of a translation that is there.  By a product: there is no trap in it.
    fileprivate func anyIndex(_ random: UInt64) -> Int {
        Int(truncatingIfNeeded: (random & 0xffff_ffff) &* UInt64(truncatingIfNeeded: count) &>> 32)
    }

    package init(_ memory: UnsafeMutableRawPointer, translations: Int) {
        capacity = translations
        entries = memory.assumingMemoryBound(to: CachedTranslation.self)
        let after = memory + translations &* MemoryLayout<CachedTranslation>.stride
        children = after.assumingMemoryBound(to: CachedTable.self)
        heads = (after + Self.tables &* MemoryLayout<CachedTable>.stride).assumingMemoryBound(to: Int32.self)
        heads.update(repeating: -1, count: Self.buckets)
    }
}

package typealias CPU = UnsafeMutablePointer<CPUCache>

extension UnsafeMutablePointer where Pointee == CPUCache {
    /// Alone with the cache.  As for a vCPU's log: a thread that stayed behind in the parent of a fork has nothing here.
    @inline(__always)
    private func locked<T>(_ body: () -> T) -> T {
        _ = lock()
        // Release: pairs with the acquire in lock().
        defer { pointee.holder.store(0, ordering: .releasing) }
        return body()
    }

    /// Alone with walks ahead; nil: another thread makes one, and does not wait.
    package func fillingAlone<T>(_ body: () -> T?) -> T? {
        guard lock(filler: true, waits: false) else { return nil }
        // Release: pairs with the acquire in lock().
        defer { pointee.filler.store(0, ordering: .releasing) }
        return body()
    }

    /// It walks no root from here on, and nobody is in the middle of that.
    @inline(never)
    package func leave() {
        _ = lock(filler: true)
        enter(0, 0)
        // Release: as above.
        pointee.filler.store(0, ordering: .releasing)
    }

    @inline(never)
    private func lock(filler: Bool = false, waits: Bool = true) -> Bool {
        let mine = UInt64(ForkGate.forks) &<< 32 | currentThreadID() & 0xffff_ffff
        while true {
            // Acquire: pairs with the releases above.
            let (isMine, other) = filler
                ? pointee.filler.compareExchange(expected: 0, desired: mine, successOrdering: .acquiring, failureOrdering: .relaxed)
                : pointee.holder.compareExchange(expected: 0, desired: mine, successOrdering: .acquiring, failureOrdering: .relaxed)
            if isMine { return true }
            if other &>> 32 != mine &>> 32 {
                _ = filler ? pointee.filler.compareExchange(expected: other, desired: 0, ordering: .relaxed)
                    : pointee.holder.compareExchange(expected: other, desired: 0, ordering: .relaxed)
            } else if waits {
                cp_yield()
            } else {
                return false
            }
        }
    }

    // Translations: a dense array, and chains through it by first gfn and size.

    private func bucket(_ gfn: GFN, _ pages: UInt64) -> Int {
        Int(truncatingIfNeeded: ((gfn.raw ^ pages) &* 0x9e37_79b9_7f4a_7c15) &>> 54)
    }

    @inline(never)
    private func find(_ tag: UInt64, _ gfn: GFN, _ pages: UInt64) -> Int? {
        var index = pointee.heads[bucket(gfn, pages)]
        while index >= 0 {
            let here = Int(index)
            if pointee.entries[here].gfn == gfn, pointee.entries[here].pages == pages, pointee.entries[here].tag == tag { return here }
            index = pointee.entries[here].next
        }
        return nil
    }

    /// Pieces and wholes may stand side by side.
    private func find(_ tag: UInt64, _ gfn: GFN, largestFirst: Bool) -> Int? {
        var level = largestFirst ? Level.maxHuge : .page4K
        while Level.isOfLeaf(level.raw) {
            if let index = find(tag, gfn.rounded(to: level), level.pages) { return index }
            level = largestFirst ? level.below : level.above
        }
        return nil
    }

    /// The link that leads to an entry.
    private func redirect(_ index: Int, to other: Int32) {
        let entry = pointee.entries[index], bucket = bucket(entry.gfn, entry.pages)
        var link = UnsafeMutablePointer<Int32>(pointee.heads + bucket)
        while link.pointee != Int32(truncatingIfNeeded: index) {
            link = place(of: &(pointee.entries + Int(link.pointee)).pointee.next)
        }
        link.pointee = other
    }

    @inline(never)
    private func remove(_ index: Int) {
        redirect(index, to: pointee.entries[index].next)
        let last = pointee.count &- 1
        if index != last {
            redirect(last, to: Int32(truncatingIfNeeded: index))
            pointee.entries[index] = pointee.entries[last]
        }
        pointee.count = last
    }

    private func removeAll(where goes: (CachedTranslation) -> Bool) -> Int {
        var index = pointee.count, removed = 0
        while index > 0 {
            index &-= 1
            if goes(pointee.entries[index]) {
                remove(index)
                removed &+= 1
            }
        }
        return removed
    }

    private func childSlot(_ gfn: GFN, _ level: Level) -> UnsafeMutablePointer<CachedTable> {
        let hash = (gfn.rounded(to: level).raw &+ UInt64(UInt32(bitPattern: level.raw))) &* 0x9e37_79b9_7f4a_7c15
        return pointee.children + Int(truncatingIfNeeded: hash &>> 56)
    }

    // What is asked and told ----------------------------------------------------

    /// Any translation that serves gfn.
    @inline(never)
    package func translation(_ tag: UInt64, _ gfn: GFN, largestFirst: Bool) -> CachedTranslation? {
        locked { find(tag, gfn, largestFirst: largestFirst).map { pointee.entries[$0] } }
    }

    /// By its place, which may be another's a moment later; nil: there are no more.
    @inline(never)
    package func translation(at index: Int) -> CachedTranslation? {
        locked { index < pointee.count ? pointee.entries[index] : nil }
    }

    /// The lowest table that it can begin a walk to gfn from.
    @inline(never)
    package func start(_ tag: UInt64, _ gfn: GFN) -> CachedTable? {
        locked {
            var level = Level.page2M
            while level.raw <= 5 {
                let slot = childSlot(gfn, level)
                if slot.pointee.tag == tag, slot.pointee.level == level, slot.pointee.gfn == gfn.rounded(to: level) {
                    return slot.pointee
                }
                level = level.above
            }
            return nil
        }
    }

    /// The walk under way, which it is no more.
    @inline(never)
    package func takeWalk(_ tag: UInt64) -> CachedTable? {
        locked {
            let walk = pointee.walk
            pointee.walk = .none
            return walk.tag == tag && tag != 0 ? walk : nil
        }
    }

    @inline(never)
    package func standStill(_ walk: CachedTable, _ tag: UInt64, _ generation: UInt64) {
        locked {
            guard isStill(tag, generation) else { return }
            pointee.walk = walk
            pointee.walk.tag = tag
        }
    }

    /// Under the lock.
    private func isStill(_ tag: UInt64, _ generation: UInt64) -> Bool {
        pointee.generation.load(ordering: .relaxed) == generation && pointee.tag.load(ordering: .relaxed) == tag
    }

    /// False: something was dropped since the walk began, which has to begin again.
    @inline(never)
    package func remember(_ table: CachedTable, _ tag: UInt64, _ generation: UInt64) -> Bool {
        locked {
            guard isStill(tag, generation) else { return false }
            let slot = childSlot(table.gfn, table.level)
            slot.pointee = table
            slot.pointee.tag = tag
            return true
        }
    }

    /// victim: which one makes room, if there is none.
    @inline(never)
    package func remember(_ translation: CachedTranslation, _ tag: UInt64, _ generation: UInt64, victim: UInt64) -> Bool {
        locked {
            guard isStill(tag, generation) else { return false }
            if let old = find(tag, translation.gfn, translation.pages) { remove(old) }
            if pointee.count == pointee.capacity { remove(pointee.anyIndex(victim)) }
            let index = pointee.count, bucket = bucket(translation.gfn, translation.pages)
            pointee.entries[index] = translation
            pointee.entries[index].tag = tag
            pointee.entries[index].next = pointee.heads[bucket]
            pointee.heads[bucket] = Int32(truncatingIfNeeded: index)
            pointee.count = index &+ 1
            return true
        }
    }

    /// Because the CPU takes another for it, or for want of room: nobody asked.
    @inline(never)
    package func evictOne(_ random: UInt64) {
        locked { if pointee.count != 0 { remove(pointee.anyIndex(random)) } }
    }

    /// What touches [start, end), of one tag or (0) of all, is forgotten; returns how many translations.
    @inline(never)
    @discardableResult
    package func drop(_ start: GFN, _ end: GFN, tag: UInt64 = 0, asked: Bool) -> Int {
        locked {
            let children = pointee.children
            for i in 0..<CPUCache.tables where children[i].touches(start, end) && (tag == 0 || children[i].tag == tag) {
                children[i].tag = 0
            }
            if pointee.walk.touches(start, end) { pointee.walk = .none }
            // Relaxed: the lock orders it.
            if asked { pointee.generation.wrappingAdd(1, ordering: .relaxed) }
            return removeAll { $0.touches(start, end) && (tag == 0 || $0.tag == tag) }
        }
    }

    /// From here on it walks this root by this tag; 0: none.  What it knew by the tag is forgotten.
    @inline(never)
    package func enter(_ tag: UInt64, _ root: UInt64) {
        if tag != 0 { drop(GFN(0), GFN(.max), tag: tag, asked: true) }
        locked {
            pointee.tag.store(tag, ordering: .relaxed)
            pointee.root.store(root, ordering: .relaxed)
            pointee.generation.wrappingAdd(1, ordering: .relaxed)
            pointee.walk = .none
        }
    }

    /// Does it hold this table, as a root, a child or a walk under way, so that it could use it?
    @inline(never)
    package func holds(_ table: UInt64) -> CachedTable? {
        locked {
            let tag = pointee.tag.load(ordering: .relaxed)
            guard tag != 0 else { return nil }
            if pointee.root.load(ordering: .relaxed) == table {
                return CachedTable(tag: tag, gfn: GFN(0), level: .page512G.above, table: table, rights: .all, target: GFN(0))
            }
            if pointee.walk.tag == tag && pointee.walk.table == table { return pointee.walk }
            for i in 0..<CPUCache.tables where pointee.children[i].tag == tag && pointee.children[i].table == table {
                return pointee.children[i]
            }
            return nil
        }
    }
}
