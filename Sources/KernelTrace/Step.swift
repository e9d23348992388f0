// SPDX-License-Identifier: GPL-2.0-only

/// One KVM_SET_USER_MEMORY_REGION.
package struct MemslotStep: Equatable {
    package var operation: String
    package var slot: Int
    package var addressSpace: Int
    package var gpa: UInt64
    package var pages: UInt64
    package var hva: UInt64
    package var flags: UInt32

    /// Does it switch the slot's dirty logging?
    package var switchesLogging: Bool { operation == "dirty_log_on" || operation == "dirty_log_off" }
}

/// One guest access: where, and as which kind of access the CPU sees it.
package struct GuestAccess: Equatable {
    package var gpa: UInt64
    package var access: UInt64 // PFERR_WRITE_MASK, PFERR_FETCH_MASK or 0

    package init(gpa: UInt64, access: UInt64) {
        (self.gpa, self.access) = (gpa, access)
    }
}

/// n accesses at gpa, gpa + stride, …
package struct TouchStep: Equatable {
    package var vcpu: Int
    package var gpa: UInt64
    package var count: Int
    package var stride: UInt64
    package var access: UInt64
}

/// mmap() of memory for slots.
package struct HostMapStep: Equatable {
    package var hva: UInt64
    package var length: UInt64
    package var kind: String
    package var isPopulated: Bool
}

/// Something that userspace does to its own memory.
package struct HostChangeStep: Equatable {
    package var operation: String
    package var hva: UInt64
    package var length: UInt64
}

/// Pages of a slot, by offset: what a dirty log held ("DATA dirty"), or what is to be
/// cleared in one ("DATA clear").  They come in parts; a line with their number ends them.
package struct PageList: Equatable {
    package var isToClear: Bool
    package var slot: UInt32 // address space in bits 31:16, as the ioctls take it
    package var ranges: [ClosedRange<UInt64>] = []
    package var total: UInt64?
}

/// An entry of a dirty ring.
package struct RingEntry: Equatable {
    package var slot: UInt32
    package var offset: UInt64

    package init(slot: UInt32, offset: UInt64) {
        (self.slot, self.offset) = (slot, offset)
    }
}

/// "STEP …": what userspace is about to do.
package enum Step: Equatable {
    case createVM(vcpus: Int, longMode: Bool)
    case createVCPU(Int)
    case memslot(MemslotStep)
    case touch(TouchStep)
    case batch(vcpu: Int, accesses: [GuestAccess])
    case kick(vcpu: Int)
    case prefault(vcpu: Int, gpa: UInt64, length: UInt64)
    case dump(id: Int, root: UInt64, rootLevel: Int)
    case parallel
    case enableCapability(name: String, argument: UInt64)
    case parameter(name: String, value: String)
    case getDirtyLog(slot: UInt32)
    case clearDirtyLog(slot: UInt32, first: UInt64, count: UInt64)
    case resetDirtyRings(harvested: UInt64?)
    case smiTouch(vcpu: Int, GuestAccess)
    /// A guest of any kind runs: what it accesses is told access by access.
    case run(vcpu: Int)
    /// What it has just accessed.
    case access(vcpu: Int, GuestAccess)
    case hostMap(HostMapStep)
    case hostChange(HostChangeStep)
    /// Something that reaches the TDP MMU only through calls that are recorded.
    case other(String)
}

/// "DONE …": what it came to.
package struct Done: Equatable {
    package var operation: String
    package var result: Int
    /// Number of entries, of a dump.
    package var entries: Int?
    /// Of a host_map: how much of it the host mapped huge at once.
    package var hugeKilobytes: UInt64?
    /// Of a prefault: where it stopped.
    package var leftAt: UInt64?
}
