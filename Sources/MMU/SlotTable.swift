// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import Sync

package typealias SlotPointer = UnsafePointer<kvm_memory_slot>

/// One slot in memory: what callers see, then what they do not.
struct SlotRecord {
    var slot: kvm_memory_slot
    /// Counts the VM's records: which of two was put in later.
    var sequence: UInt64
    /// Pages written since they were last asked for, if the slot is logged.
    var bitmap: DirtyBitmap?

    static func make(
        _ slot: kvm_memory_slot, sequence: UInt64, _ bitmap: DirtyBitmap?
    ) -> UnsafeMutablePointer<SlotRecord>? {
        guard let memory = cp_alloc_zeroed(MemoryLayout<SlotRecord>.size) else { return nil }
        let record = memory.assumingMemoryBound(to: SlotRecord.self)
        record.initialize(to: SlotRecord(slot: slot, sequence: sequence, bitmap: bitmap))
        return record
    }
}

extension UnsafeMutablePointer where Pointee == SlotRecord {
    var slot: SlotPointer {
        UnsafePointer(place(of: &pointee.slot))
    }
}

/// What the slots of a table are sorted by.
enum SlotOrder: Int, CaseIterable {
    case gfn, hostAddress, id
    /// Where the slot itself is: to know whether a pointer is one.
    case pointer

    func key(_ record: UnsafeMutablePointer<SlotRecord>) -> UInt64 {
        switch self {
        case .gfn: record.pointee.slot.base_gfn
        case .hostAddress: record.pointee.slot.userspace_addr
        case .id: UInt64(record.pointee.slot.id)
        case .pointer: UInt64(UInt(bitPattern: record.slot))
        }
    }
}

/// A slot's place in an order: of equal keys, which host addresses may have, the one put in last comes behind.
struct SlotRank {
    let key: UInt64
    let sequence: UInt64

    init(key: UInt64, sequence: UInt64) {
        self.key = key
        self.sequence = sequence
    }

    init(_ record: UnsafeMutablePointer<SlotRecord>, in order: SlotOrder) {
        self.init(key: order.key(record), sequence: record.pointee.sequence)
    }
}

/// What stands in a sorted list: slots in a chunk or a small table, chunks in a big one.
protocol Ranked {
    /// The sequence of the slot, or of the chunk's first.
    static func sequence(_ item: UnsafeMutablePointer<Self>) -> UInt64
}

extension SlotRecord: Ranked {
    static func sequence(_ item: UnsafeMutablePointer<SlotRecord>) -> UInt64 { item.pointee.sequence }
}

/// A pair of a sorted list.  The key, once more, so that a search reads one piece of memory only.
struct Keyed<Item: Ranked> {
    /// The slot's, or that of the chunk's first.
    let key: UInt64
    let item: UnsafeMutablePointer<Item>
}

/// A sorted list of pairs.
struct SortedRun<Item: Ranked> {
    let pairs: UnsafeMutablePointer<Keyed<Item>>
    let count: Int

    @inline(__always)
    subscript(index: Int) -> Keyed<Item> { pairs[index] }

    /// The last pair of those for which, from the first on, it is so, or the first of all.  Of some pairs.
    @inline(__always)
    private func last(_ isSo: (Keyed<Item>) -> Bool) -> Int {
        var first = 0, left = count
        while left > 1 {
            let half = left &>> 1
            if isSo(pairs[first &+ half]) { first = first &+ half }
            left = left &- half
        }
        return first
    }

    /// The last pair with at most this key, or the first of all.  Of some pairs.
    @inline(__always)
    func last(atOrBelow key: UInt64) -> Int { last { $0.key <= key } }

    /// Pairs that do not come behind a rank.
    func count(upTo rank: SlotRank) -> Int {
        func isUp(_ pair: Keyed<Item>) -> Bool {
            pair.key < rank.key || pair.key == rank.key && Item.sequence(pair.item) <= rank.sequence
        }
        guard count > 0 else { return 0 }
        let last = last(isUp)
        return isUp(pairs[last]) ? last + 1 : last
    }
}

/// Slots that follow each other in an order; their pairs follow.  All tables that have them so share it: it is never
/// changed once published, but for what only holders of the slots lock look at.
struct SlotChunk {
    let count: Int
    /// That of the table for which it was made.
    let generation: UInt64
    /// In the order of host addresses: where the slot that reaches farthest ends.
    var hostEnd: UInt64 = 0
    /// The next of the chunks that a table has dropped.
    var nextDropped: UnsafeMutableRawPointer? = nil

    /// Slots that one may have.
    static var capacity: Int { 128 }
}

typealias SlotChunkPointer = UnsafeMutablePointer<SlotChunk>

extension SlotChunkPointer {
    var run: SortedRun<SlotRecord> {
        SortedRun(
            pairs: (UnsafeMutableRawPointer(self) + MemoryLayout<SlotChunk>.stride)
                .assumingMemoryBound(to: Keyed<SlotRecord>.self),
            count: pointee.count)
    }
}

extension SlotChunk: Ranked {
    static func sequence(_ item: SlotChunkPointer) -> UInt64 { SlotRecord.sequence(item.run[0].item) }
}

/// All slots of one address space in several orders.  A small table has the slots of each order behind its header, a
/// big one has chunks there, so that a change copies little: a chunk or two, and the lists of chunks.  Never changed
/// once published: a change publishes another, and frees this and the chunks that the other has not after a grace
/// period of kvm->srcu and one of RCU.
struct SlotTable {
    typealias Header = SlotTableHeader

    let header: UnsafeMutablePointer<Header>

    init(_ header: UnsafeMutablePointer<Header>) { self.header = header }

    /// The most slots of a small table.
    static var mostOfSmall: Int { SlotChunk.capacity / 2 }

    @inline(__always) var count: Int { header.pointee.count }
    @inline(__always) var generation: UInt64 { header.pointee.generation }
    @inline(__always) var isSmall: Bool { count <= Self.mostOfSmall }

    /// The lists of an order behind the header.
    @inline(__always)
    private func list<Item>(_ order: SlotOrder, of: Item.Type, _ count: Int) -> SortedRun<Item> {
        let lists = (UnsafeMutableRawPointer(header) + MemoryLayout<Header>.stride).assumingMemoryBound(to: Keyed<Item>.self)
        return SortedRun(pairs: lists + order.rawValue &* header.pointee.room, count: count)
    }

    /// The chunks of a big table.
    @inline(__always)
    func chunks(_ order: SlotOrder) -> SortedRun<SlotChunk> {
        list(order, of: SlotChunk.self, Int(header.pointee.chunks[order.rawValue]))
    }

    /// The slots of a small one.
    @inline(__always)
    func all(_ order: SlotOrder) -> SortedRun<SlotRecord> { list(order, of: SlotRecord.self, count) }

    /// The slots of an order stand in so many runs.
    func runs(_ order: SlotOrder) -> Int { isSmall ? 1 : chunks(order).count }

    func run(_ order: SlotOrder, _ index: Int) -> SortedRun<SlotRecord> {
        isSmall ? all(order) : chunks(order)[index].item.run
    }

    /// The run where a slot with at most this key is to be found, if it is anywhere.
    @inline(__always)
    private func run(_ order: SlotOrder, near key: UInt64) -> SortedRun<SlotRecord> {
        if isSmall { return all(order) }
        let chunks = chunks(order)
        return chunks[chunks.last(atOrBelow: key)].item.run
    }

    /// The last slot with at most this key, or the first of all.
    @inline(__always)
    private func last(_ order: SlotOrder, atOrBelow key: UInt64) -> Keyed<SlotRecord>? {
        let run = run(order, near: key)
        return run.count > 0 ? run[run.last(atOrBelow: key)] : nil
    }

    @inline(__always)
    func slot(holding gfn: GFN) -> SlotPointer? {
        // A table of one slot, the most usual one, needs no search.
        count == 1 ? slot(holding: gfn, if: all(.gfn)[0]) : searchedSlot(holding: gfn)
    }

    @inline(never)
    private func searchedSlot(holding gfn: GFN) -> SlotPointer? {
        last(.gfn, atOrBelow: gfn.raw).flatMap { slot(holding: gfn, if: $0) }
    }

    @inline(__always)
    private func slot(holding gfn: GFN, if found: Keyed<SlotRecord>) -> SlotPointer? {
        // One compare: below the slot the difference is huge.
        gfn.raw &- found.key < found.item.pointee.slot.npages ? found.item.slot : nil
    }

    /// Is this one of the table's slots?  Looks at the pointer only.
    func contains(_ slot: SlotPointer) -> Bool {
        let key = UInt64(UInt(bitPattern: slot))
        return last(.pointer, atOrBelow: key)?.key == key
    }

    func record(ofID id: UInt16) -> UnsafeMutablePointer<SlotRecord>? {
        guard let found = last(.id, atOrBelow: UInt64(id)), found.key == UInt64(id) else { return nil }
        return found.item
    }

    /// Does any slot but `except` hold a gfn of [start, start + pages)?
    func overlaps(start: GFN, pages: UInt64, except: UnsafeMutablePointer<SlotRecord>?) -> Bool {
        // Sorted and disjoint: of those that begin below the end, the last reaches farthest.
        var end = start.raw + pages
        while end > 0, let found = last(.gfn, atOrBelow: end - 1), found.key < end {
            if found.item != except { return found.key + found.item.pointee.slot.npages > start.raw }
            end = found.key
        }
        return false
    }
}
