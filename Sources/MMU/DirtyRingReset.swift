// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync
import Synchronization

/// Pages of one slot close together, to be made visible with one walk.
private struct ResetBatch {
    fileprivate var slot: UInt32
    fileprivate var offset: UInt64
    fileprivate var mask: UInt64 = 1

    /// Takes a page in if it lies within 64 of the first, on either side.
    mutating func take(_ slot: UInt32, _ offset: UInt64) -> Bool {
        guard slot == self.slot else { return false }
        if offset >= self.offset && offset - self.offset < 64 {
            mask |= 1 << (offset - self.offset)
            return true
        }
        let back = self.offset &- offset
        guard offset < self.offset, back < 64, (mask << back) >> back == mask else { return false }
        self.offset = offset
        mask = mask << back | 1
        return true
    }
}

extension VM {
    /// Frees every vCPU's harvested entries and protects their pages again.
    /// Returns how many entries.
    @inline(never)
    package func resetDirtyRings() -> Int32 {
        let count = withSlotsLocked { (held: borrowing SlotsLocked) -> Int32 in
            var count: Int32 = 0
            drainDirtyLogs()
            forEachVCPU { count &+= reset($0, held) }
            return count
        }
        if count > 0 { flushAll() }
        return count
    }

    private func reset(_ vcpu: VCPU, _ held: borrowing SlotsLocked) -> Int32 {
        guard let ring = vcpu.ring else { return 0 }
        var count: Int32 = 0, index = vcpu.state.pointee.resetIndex.load(ordering: .relaxed)
        var batch: ResetBatch?
        // Once round: a rig that flags entries for ever does not keep us for ever.
        while count < Int32(bitPattern: ring.size), ring.isHarvested(index) {
            let slot = ring.entry(index).pointee.slot, offset = ring.entry(index).pointee.offset
            ring.free(index)
            index &+= 1
            count &+= 1
            if batch?.take(slot, offset) ?? false { continue }
            if let batch { logAgain(batch, held) }
            batch = ResetBatch(slot: slot, offset: offset)
        }
        if let batch { logAgain(batch, held) }
        // Release: pairs with the acquire in ringUsed; the entries are free.
        vcpu.state.pointee.resetIndex.store(index, ordering: .releasing)
        vcpu.traceRing(TDPMMU_TRACE_RING_RESET, slot: 0, offset: 0)
        return count
    }

    /// The entry's slot and offset come from memory that the rig can write.
    private func logAgain(_ batch: ResetBatch, _ held: borrowing SlotsLocked) {
        let space = batch.slot >> 16
        guard space < 2, let slot = self.slot(id: UInt16(batch.slot & 0xffff), addressSpace: Int32(space), held)?.pointee
        else { return }
        guard batch.offset < slot.npages, slot.npages - batch.offset > UInt64(63 - batch.mask.leadingZeroBitCount)
        else { return }
        lock.write { hold in
            var flush = OwedFlush()
            logAgain(slot, offset: batch.offset, mask: batch.mask, &hold, owing: &flush)
            flush.forgo(because: "the reset ends with a flush of everything")
        }
    }
}
