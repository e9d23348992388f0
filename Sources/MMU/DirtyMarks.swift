// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable

/// A page's way into the dirty log, whichever the VM has: ring or bitmap.
extension UnsafePointer where Pointee == kvm_memory_slot {
    /// Notes that the guest may write gfn from now on, in the vCPU's ring if it has
    /// one.  For slots found in a slot table, inside RCU.
    @inline(__always)
    func markDirty(_ gfn: GFN, by vcpu: VCPU?) {
        guard isDirtyLogged else { return }
        if let vcpu, vcpu.vm.hasEyes { vcpu.vm.see(.dirtied, gfn: gfn, pages: 1, slot: self) }
        if let vcpu, let ring = vcpu.ring {
            _ = vcpu.withLog { owned in vcpu.pushDirty(self, gfn, ring, owned) }
            return
        }
        // Rings belong to vCPUs, and there is no bitmap beside them.
        let record = UnsafeRawPointer(self).assumingMemoryBound(to: SlotRecord.self)
        record.pointee.bitmap?.set(gfn.raw &- pointee.base_gfn)
    }
}
