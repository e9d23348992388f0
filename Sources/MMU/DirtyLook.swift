// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Synchronization

/// A look at the dirty log, which takes nothing out of it.
extension VM {
    /// Would a harvest find the page?  In the bitmap; or in a ring and not reset yet; or in a CPU's log, which every
    /// harvest has emptied first.  nil: it is in no logged slot.
    @inline(never)
    package func isDirty(_ gfn: GFN, addressSpace: Int32) -> Bool? {
        insideRCU { rcu in
            guard let slot = slot(holding: gfn, addressSpace: addressSpace, rcu), slot.isDirtyLogged else { return nil }
            let offset = gfn.raw &- slot.pointee.base_gfn
            let record = UnsafeRawPointer(slot).assumingMemoryBound(to: SlotRecord.self)
            if record.pointee.bitmap?.contains(offset) ?? false { return true }
            var found = false
            let id = UInt32(slot.pointee.as_id) &<< 16 | UInt32(slot.pointee.id)
            forEachVCPU { vcpu in
                found = found || vcpu.ringHas(slot: id, offset: offset)
                    || vcpu.addressSpace == addressSpace && vcpu.logHas(gfn)
            }
            return found
        }
    }
}

extension VCPU {
    fileprivate func ringHas(slot: UInt32, offset: UInt64) -> Bool {
        guard let ring else { return false }
        let end = state.pointee.dirtyIndex.load(ordering: .relaxed)
        var index = state.pointee.resetIndex.load(ordering: .relaxed)
        while index != end {
            let entry = ring.entry(index)
            if entry.pointee.slot == slot && entry.pointee.offset == offset { return true }
            index &+= 1
        }
        return false
    }

    fileprivate func logHas(_ gfn: GFN) -> Bool {
        guard let entries = memory.pointee.log.entries else { return false }
        // Above 511, by wrapping, if the log is full.
        var index = memory.pointee.log.index.load(ordering: .relaxed) &+ 1
        while index <= 511 {
            if entries[Int(index)] == gfn.raw &<< 12 { return true }
            index &+= 1
        }
        return false
    }
}
