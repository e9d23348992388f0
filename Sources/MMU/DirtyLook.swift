// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU

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
