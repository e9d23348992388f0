// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// A vCPU's state, behind the opaque struct kvm_vcpu.  Its thread writes it.
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
    /// Entries ever pushed, by its thread; entries ever reset, under VMLock.slots.
    let dirtyIndex = Atomic<UInt32>(0)
    let resetIndex = Atomic<UInt32>(0)
    /// Asked to leave its root: kvm_mmu_load() before it walks again.
    let mustLoad = Atomic<Bool>(false)
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

package struct VCPU: Equatable {
    package let state: UnsafeMutablePointer<VCPUState>

    @inline(__always) package init(_ pointer: OpaquePointer) {
        state = UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: VCPUState.self)
    }

    // Behind the state, each on lines of its own: the cache, the list's link, the counters.
    private static var cacheOffset: Int { (MemoryLayout<VCPUState>.size + 63) / 64 * 64 }
    private static var linkOffset: Int { cacheOffset + (MemoryLayout<TableCache.Storage>.size + 63) / 64 * 64 }
    private static var countersOffset: Int { linkOffset + 64 }
    /// Of the whole.
    static var bytes: Int { countersOffset + Counters.bytes }

    package var pointer: OpaquePointer { OpaquePointer(state) }

    @inline(__always) package var vm: VM { VM(state.pointee.kvm) }

    @inline(__always) package var counters: Counters {
        Counters((UnsafeMutableRawPointer(state) + Self.countersOffset)
            .assumingMemoryBound(to: Counters.Cell.self))
    }

    @inline(__always) package var addressSpace: Int32 { state.pointee.addressSpace }

    /// The root it walks.  Only RCU keeps it from being freed: another thread may take it
    /// from the vCPU at any moment.
    /// Acquire: pairs with the release in load(), for threads other than the vCPU's.
    @inline(__always)
    package func root(_ rcu: borrowing InsideRCU) -> Table? {
        Table(word: state.pointee.root.load(ordering: .acquiring))
    }

    @inline(__always) package var hasRoot: Bool { state.pointee.root.load(ordering: .relaxed) != 0 }

    @inline(__always) var cache: TableCache {
        TableCache((UnsafeMutableRawPointer(state) + Self.cacheOffset)
            .assumingMemoryBound(to: TableCache.Storage.self))
    }

    /// Next vCPU of the VM, or 0; under VMLock.vcpus.
    @inline(__always) var next: UnsafeMutablePointer<UInt> {
        (UnsafeMutableRawPointer(state) + Self.linkOffset).assumingMemoryBound(to: UInt.self)
    }

    /// Under VMLock.vcpus.
    var nextListed: VCPU? { OpaquePointer(bitPattern: next.pointee).map { VCPU($0) } }
}

extension VM {
    /// Under VMLock.vcpus.
    @inline(__always)
    func forEachListedVCPU(_ body: (VCPU) -> Void) {
        var vcpu = firstListedVCPU
        while let here = vcpu {
            vcpu = here.nextListed
            body(here)
        }
    }

    /// Under VMLock.vcpus.
    var firstListedVCPU: VCPU? { OpaquePointer(bitPattern: firstVCPU.pointee).map { VCPU($0) } }

    /// Visits each vCPU in the order in which they were made, without the list's lock: `body`
    /// may take others and call the rig.  One that is destroyed meanwhile outlives its visit.
    func forEachVCPU(_ body: (VCPU) -> Void) {
        var vcpu = pinVCPU(after: nil)
        while let here = vcpu {
            body(here)
            vcpu = pinVCPU(after: here)
        }
    }

    /// The next vCPU of the list, pinned; `previous` no longer is.
    private func pinVCPU(after previous: VCPU?) -> VCPU? {
        locked(.vcpus) {
            var address = firstVCPU.pointee
            if let previous {
                previous.state.pointee.pins -= 1
                if previous.state.pointee.isListed { address = previous.next.pointee }
            }
            let last = previous?.state.pointee.sequence ?? 0
            while let pointer = OpaquePointer(bitPattern: address) {
                let vcpu = VCPU(pointer)
                if vcpu.state.pointee.sequence > last {
                    vcpu.state.pointee.pins += 1
                    return vcpu
                }
                address = vcpu.next.pointee
            }
            return nil
        }
    }

    /// The VM's count and those of its vCPUs.
    package func total(_ counter: Counter) -> Int64 {
        locked(.vcpus) {
            var sum = counters.read(counter) + exclusiveCounters.read(counter)
            forEachListedVCPU { sum += $0.counters.read(counter) }
            return sum
        }
    }
}

extension VCPU {
    /// Does a loop over the VM's vCPUs stand here?
    package var isPinned: Bool { vm.locked(.vcpus) { state.pointee.pins > 0 } }
}
