// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable

/// What a slot says of the pages in it.
extension SlotPointer {
    @inline(__always) var isInvalid: Bool { pointee.flags & slotInvalidFlag != 0 }
    @inline(__always) var isReadOnly: Bool { pointee.flags & UInt32(KVM_MEM_READONLY) != 0 }
    @inline(__always) var isDirtyLogged: Bool { pointee.flags & UInt32(KVM_MEM_LOG_DIRTY_PAGES) != 0 }

    /// One of the first two.
    @inline(__always)
    var isInvalidOrReadOnly: Bool { pointee.flags & (slotInvalidFlag | UInt32(KVM_MEM_READONLY)) != 0 }

    /// None of the three.
    @inline(__always)
    var isOrdinary: Bool {
        pointee.flags & (slotInvalidFlag | UInt32(KVM_MEM_READONLY) | UInt32(KVM_MEM_LOG_DIRTY_PAGES)) == 0
    }

    /// May one entry at this level map gfn?  It must lie inside the slot, and the
    /// host's addresses must be aligned as the guest's are.
    @inline(__always)
    func allows(_ level: Level, at gfn: GFN) -> Bool {
        let first = gfn.rounded(to: level).raw, base = pointee.base_gfn
        let congruent = (base ^ (pointee.userspace_addr &>> 12)) & (level.pages &- 1) == 0
        return congruent && first >= base && first &+ level.pages <= base &+ pointee.npages
    }

    /// The largest level, up to one of more than 4K that the host permits, at which an entry may map gfn to pfn.
    @inline(__always)
    func level(of gfn: GFN, at pfn: PFN, atMost hostLevel: Level) -> Level {
        var level = min(hostLevel, .maxHuge)
        while level > .page4K {
            if allows(level, at: gfn) && (pfn.raw ^ gfn.raw) & (level.pages &- 1) == 0 { break }
            level = level.below
        }
        return level
    }
}
