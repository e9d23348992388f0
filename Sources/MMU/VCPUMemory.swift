// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Synchronization

/// The one allocation of a vCPU, aligned to a cache line, behind the opaque struct kvm_vcpu.
/// Each part begins on a line of its own, and none has an end of its own.
struct VCPUMemory: ~Copyable {
    var state: VCPUState
    private let afterState = Reserved<6>(repeating: 0)
    var cache = TableCache.Storage()
    private let afterCache = Reserved<6>(repeating: 0)
    var link = VCPULink()
    var lastTable = LastTable()
    var lastSlot = LastSlot()
    var log: PageModificationLog
    var counters = CounterBlock()

    init(_ state: consuming VCPUState, log: UnsafeMutableRawPointer?) {
        self.state = state
        self.log = PageModificationLog(log)
    }
}

/// The CPU's log of the pages whose Dirty bit it set (PML).
struct PageModificationLog: ~Copyable {
    static var bytes: Int { 512 * MemoryLayout<UInt64>.stride }

    /// Who is alone with it, and with the ring: count of forks, number of the thread; or 0.
    let holder = Atomic<UInt64>(0)
    /// Where the next address goes: 511 downwards, above 511 if there is no room.  Written by the holder.
    let index = Atomic<UInt16>(511)
    /// Guest-physical addresses of pages, the holder's; nil: the CPU has no such log.
    let entries: UnsafeMutablePointer<UInt64>?
    private let reserved = Reserved<5>(repeating: 0)

    init(_ memory: UnsafeMutableRawPointer?) { entries = memory?.assumingMemoryBound(to: UInt64.self) }
}

/// The table in which a vCPU's last fault ended, for the next one, which mostly ends there too.  It is good
/// while the vCPU has the same root, and no table of the VM was cut off and no root made invalid since.  Its
/// thread writes it and reads it; the words are atomic, and stand in the order of remember(), for the child of a
/// fork in the middle of it, where another thread drives the vCPU.
struct LastTable: ~Copyable {
    /// Which table it is (tableName()); .max: nothing is remembered.
    let name = Atomic<UInt64>(.max)
    /// Header of the root above it, address of its entries.
    let root = Atomic<UInt>(0)
    let entries = Atomic<UInt>(0)
    /// TableCount.cutOff before the way down to it.
    let cutOff = Atomic<UInt64>(0)
    /// Which table stands above it, as name says it, and the address of its entries.
    let parentName = Atomic<UInt64>(.max)
    let parentEntries = Atomic<UInt>(0)
    private let reserved = Reserved<2>(repeating: 0)
}

/// The slot in which a vCPU's last fault was, for the next one, which mostly is there too.  It is good
/// while its table of slots is the one that is published: no two tables of a VM have one generation.
/// Written and read as LastTable is.
struct LastSlot: ~Copyable {
    /// Of the table of slots that it was found in; .max: nothing is remembered.
    let generation = Atomic<UInt64>(.max)
    let base = Atomic<UInt64>(0)
    let pages = Atomic<UInt64>(0)
    let slot = Atomic<UInt>(0)
    private let reserved = Reserved<4>(repeating: 0)
}

/// A vCPU's place in the VM's list.
struct VCPULink: ~Copyable {
    /// Under VMLock.vcpus.
    var next: UnsafeMutablePointer<VCPUMemory>? = nil
    private let reserved = Reserved<7>(repeating: 0)
}

/// A vCPU's state.  Its thread writes it.
package struct VCPUState: ~Copyable {
    package let kvm: UnsafeMutablePointer<kvm>
    package let id: Int32
    /// 0 normal, 1 SMM.
    var addressSpace: Int32 = 0
    /// The root it walks (a header's address), or 0; it owns a reference.
    let root = Atomic<UInt>(0)
    /// Its dirty ring, if the VM has rings.
    let ringEntries: UnsafeMutablePointer<kvm_dirty_gfn>?
    let ringSize: UInt32
    /// Entries ever pushed, by its thread, with PML the log's holder; entries ever reset, under VMLock.slots.
    let dirtyIndex = Atomic<UInt32>(0)
    let resetIndex = Atomic<UInt32>(0)
    /// Asked to leave its root: kvm_mmu_load() before it walks again.
    let mustLoad = Atomic<Bool>(false)
    /// The root that it was asked to leave last, or 0.
    let leftRoot = Atomic<UInt>(0)
    /// Odd while the CPU model is in the guest; ForkGate.forks when it last went in.
    let guestEntries = Atomic<UInt32>(0)
    let guestForks = Atomic<UInt32>(0)
    /// Counts the VM's vCPUs: which of two was made later.  This and the next two under VMLock.vcpus.
    var sequence: UInt64 = 0
    var isListed = false
    /// Loops that stand on it.
    var pins: Int32 = 0

    init(kvm: UnsafeMutablePointer<kvm>, id: Int32, ring: UnsafeMutableRawPointer?, ringSize: UInt32) {
        self.kvm = kvm
        self.id = id
        ringEntries = ring?.assumingMemoryBound(to: kvm_dirty_gfn.self)
        self.ringSize = ringSize
    }
}
