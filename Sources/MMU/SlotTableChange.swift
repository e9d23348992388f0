// SPDX-License-Identifier: GPL-2.0-only
import CPlatform

/// Memory of slot tables and their chunks, and what makes a table from another.  Slots lock, or a VM of its own.
extension SlotTable {
    /// An empty table, with room for as many pairs in each order.  Nil: no memory.
    static func make(count: Int, room: Int, generation: UInt64) -> SlotTable? {
        let lists = SlotOrder.allCases.count * room * MemoryLayout<Keyed<SlotRecord>>.stride
        guard let memory = cp_alloc_zeroed(MemoryLayout<Header>.stride + lists) else { return nil }
        let header = memory.assumingMemoryBound(to: Header.self)
        header.initialize(to: Header(generation: generation, count: count, room: room))
        return SlotTable(header)
    }

    /// The table that comes after this one, with one slot left out, which it has, and one put in.  Nil: no memory.
    func successor(
        without removed: UnsafeMutablePointer<SlotRecord>?, adding added: UnsafeMutablePointer<SlotRecord>?
    ) -> SlotTable? {
        let count = count - (removed == nil ? 0 : 1) + (added == nil ? 0 : 1), willBeSmall = count <= Self.mostOfSmall
        // One slot makes two chunks of one at most.
        let room = willBeSmall ? count : 1 + SlotOrder.allCases.reduce(0) { max($0, runs($1)) }
        guard let next = SlotTable.make(count: count, room: room, generation: generation &+ 2) else { return nil }
        for order in SlotOrder.allCases {
            if willBeSmall {
                next.fill(order, from: self, without: removed, adding: added)
            } else if !next.fillChunks(order, from: self, without: removed, adding: added) {
                next.discard()
                return nil
            }
        }
        return next
    }

    func forEach(_ order: SlotOrder, _ body: (Keyed<SlotRecord>) -> Void) {
        forEach(order, 0..<runs(order), without: nil, adding: nil, body)
    }

    func forEach(_ body: (UnsafeMutablePointer<SlotRecord>) -> Void) {
        for i in 0..<runs(.gfn) {
            let run = run(.gfn, i)
            for pair in 0..<run.count { body(run[pair].item) }
        }
    }

    // What is freed ------------------------------------------------------------

    /// With all its chunks.
    func free() { free { _ in true } }

    /// A table that was never published: the chunks that were made for it go, too.
    func discard() { free { $0.pointee.generation == generation } }

    private func free(_ goes: (SlotChunkPointer) -> Bool) {
        // Of a table that was not finished, some lists are empty.
        for order in SlotOrder.allCases where !isSmall {
            let chunks = chunks(order)
            for i in 0..<chunks.count where goes(chunks[i].item) { cp_free_zeroed(chunks[i].item) }
        }
        cp_free_zeroed(header)
    }

    /// Its successor was published, and nobody uses this any more.
    func free(droppedBy next: SlotTable) {
        while let chunk = next.header.pointee.dropped {
            next.header.pointee.dropped = chunk.assumingMemoryBound(to: SlotChunk.self).pointee.nextDropped
            cp_free_zeroed(chunk)
        }
        cp_free_zeroed(header)
    }

    /// The table before has this chunk, if it was not made for this table.
    private func drop(_ chunk: SlotChunkPointer) {
        if chunk.pointee.generation == generation {
            cp_free_zeroed(chunk)
        } else {
            chunk.pointee.nextDropped = header.pointee.dropped
            header.pointee.dropped = UnsafeMutableRawPointer(chunk)
        }
    }

    // One order ----------------------------------------------------------------

    private func fill(
        _ order: SlotOrder, from old: SlotTable, without removed: UnsafeMutablePointer<SlotRecord>?,
        adding added: UnsafeMutablePointer<SlotRecord>?
    ) {
        var filled = 0
        old.forEach(order, 0..<old.runs(order), without: removed, adding: added) { pair in
            (all(order).pairs + filled).initialize(to: pair)
            filled += 1
        }
        for i in 0..<(old.isSmall ? 0 : old.runs(order)) { drop(old.chunks(order)[i].item) }
    }

    /// False: no memory.  The list is good as far as it goes.
    private func fillChunks(
        _ order: SlotOrder, from old: SlotTable, without removed: UnsafeMutablePointer<SlotRecord>?,
        adding added: UnsafeMutablePointer<SlotRecord>?
    ) -> Bool {
        if old.isSmall { return replaceChunks(order, 0..<0, by: old, 0..<1, without: removed, adding: added) }
        chunks(order).pairs.update(from: old.chunks(order).pairs, count: old.runs(order))
        header.pointee.chunks[order.rawValue] = UInt16(old.runs(order))
        if let removed {
            let home = chunks(order).count(upTo: SlotRank(removed, in: order)) - 1
            let range = withNeighbour(order, home)
            guard replaceChunks(order, range, by: self, range, without: removed, adding: nil) else { return false }
        }
        guard let added else { return true }
        let behind = chunks(order).count(upTo: SlotRank(key: order.key(added), sequence: .max)), home = max(behind - 1, 0)
        return replaceChunks(order, home..<home + 1, by: self, home..<home + 1, without: nil, adding: added)
    }

    /// A chunk that loses a slot, and a neighbour to make one of both if they have few: any two neighbours have more
    /// than half a chunk's slots, so that there are at most four chunks where one would do.
    private func withNeighbour(_ order: SlotOrder, _ home: Int) -> Range<Int> {
        let chunks = chunks(order), left = chunks[home].item.pointee.count - 1
        func fits(_ other: Int) -> Bool { left + chunks[other].item.pointee.count <= SlotChunk.capacity / 2 }
        if home > 0, fits(home - 1) { return home - 1..<home + 1 }
        return home + 1 < chunks.count && fits(home + 1) ? home..<home + 2 : home..<home + 1
    }

    /// Puts new chunks in the place of some: none, one, or two halves of one that is full.
    private func replaceChunks(
        _ order: SlotOrder, _ range: Range<Int>, by source: SlotTable, _ runs: Range<Int>,
        without removed: UnsafeMutablePointer<SlotRecord>?, adding added: UnsafeMutablePointer<SlotRecord>?
    ) -> Bool {
        let count = runs.reduce((removed == nil ? 0 : -1) + (added == nil ? 0 : 1)) { $0 + source.run(order, $1).count }
        let first = count > SlotChunk.capacity ? count / 2 : count
        guard let new = SlotChunk.make(first, count - first, generation) else { return false }
        var filled = 0
        source.forEach(order, runs, without: removed, adding: added) { pair in
            if filled < first { new.0?.put(pair, filled, order) } else { new.1?.put(pair, filled - first, order) }
            filled += 1
        }
        for i in range { drop(chunks(order)[i].item) }
        let made = (new.0 == nil ? 0 : 1) + (new.1 == nil ? 0 : 1), old = chunks(order)
        (old.pairs + range.lowerBound + made).update(from: old.pairs + range.upperBound, count: old.count - range.upperBound)
        header.pointee.chunks[order.rawValue] = UInt16(old.count - range.count + made)
        if let chunk = new.0 { old.pairs[range.lowerBound] = Keyed(key: chunk.run[0].key, item: chunk) }
        if let chunk = new.1 { old.pairs[range.lowerBound + 1] = Keyed(key: chunk.run[0].key, item: chunk) }
        return true
    }

    /// The slots of some runs without one and with one more, which goes behind all that do not come after it.
    @inline(__always)
    private func forEach(
        _ order: SlotOrder, _ runs: Range<Int>, without removed: UnsafeMutablePointer<SlotRecord>?,
        adding added: UnsafeMutablePointer<SlotRecord>?, _ body: (Keyed<SlotRecord>) -> Void
    ) {
        var waiting = added.map { Keyed(key: order.key($0), item: $0) }
        for i in runs {
            let run = run(order, i)
            for pair in 0..<run.count where run[pair].item != removed {
                if let new = waiting, new.key < run[pair].key {
                    body(new)
                    waiting = nil
                }
                body(run[pair])
            }
        }
        if let new = waiting { body(new) }
    }
}

extension SlotChunk {
    /// One chunk or two, empty ones; none for no slots.  Nil: no memory.
    fileprivate static func make(_ first: Int, _ second: Int, _ generation: UInt64) -> (SlotChunkPointer?, SlotChunkPointer?)? {
        var made: (SlotChunkPointer?, SlotChunkPointer?) = (nil, nil)
        if first > 0 { made.0 = make(first, generation) }
        if second > 0 { made.1 = make(second, generation) }
        if (first == 0 || made.0 != nil) && (second == 0 || made.1 != nil) { return made }
        cp_free_zeroed(made.0)
        cp_free_zeroed(made.1)
        return nil
    }

    private static func make(_ count: Int, _ generation: UInt64) -> SlotChunkPointer? {
        let bytes = MemoryLayout<SlotChunk>.stride + count * MemoryLayout<Keyed<SlotRecord>>.stride
        guard let memory = cp_alloc_zeroed(bytes) else { return nil }
        let chunk = memory.assumingMemoryBound(to: SlotChunk.self)
        chunk.initialize(to: SlotChunk(count: count, generation: generation))
        return chunk
    }
}

extension SlotChunkPointer {
    fileprivate func put(_ pair: Keyed<SlotRecord>, _ index: Int, _ order: SlotOrder) {
        (run.pairs + index).initialize(to: pair)
        guard order == .hostAddress else { return }
        let slot = pair.item.pointee.slot
        pointee.hostEnd = max(pointee.hostEnd, slot.userspace_addr + slot.npages << 12)
    }
}
