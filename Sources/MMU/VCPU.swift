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

    package var pointer: OpaquePointer { OpaquePointer(state) }

    @inline(__always) package var vm: VM { VM(state.pointee.kvm) }

    @inline(__always) package var counters: Counters {
        Counters((UnsafeMutableRawPointer(state) + Self.countersOffset)
            .assumingMemoryBound(to: Counters.Cell.self))
    }

    @inline(__always) package var addressSpace: Int32 { state.pointee.addressSpace }

    @inline(__always) package var root: Table? {
        // Relaxed: the vCPU owns a reference, so what it points to was seen before.
        UnsafeMutablePointer(bitPattern: state.pointee.root.load(ordering: .relaxed)).map { Table($0) }
    }

    @inline(__always) var cache: TableCache {
        TableCache((UnsafeMutableRawPointer(state) + Self.cacheOffset)
            .assumingMemoryBound(to: TableCache.Storage.self))
    }

    /// Next vCPU of the VM, or 0; under VMLock.vcpus.
    @inline(__always) fileprivate var next: UnsafeMutablePointer<UInt> {
        (UnsafeMutableRawPointer(state) + Self.linkOffset).assumingMemoryBound(to: UInt.self)
    }

    package enum CreationError {
        case exists
        case noMemory
    }

    private enum Addition {
        case done
        case exists
        case ringsSwitched
    }

    package static func make(_ vm: VM, id: Int32) -> (VCPU?, CreationError) {
        guard let memory = cp_alloc_zeroed(countersOffset + Counters.bytes) else { return (nil, .noMemory) }
        let vcpu = VCPU(OpaquePointer(memory))
        let ringSize = vm.ringSize
        let ring = ringSize == 0 ? nil : cp_alloc_zeroed(Int(ringSize) * MemoryLayout<kvm_dirty_gfn>.stride)
        guard ringSize == 0 || ring != nil else {
            cp_free_zeroed(memory)
            return (nil, .noMemory)
        }
        vcpu.state.initialize(to: VCPUState(kvm: vm.kvm, id: id, ring: ring, ringSize: ringSize))
        let addition = vm.locked(.vcpus) { () -> Addition in
            var taken = false
            vm.forEachListedVCPU { taken = taken || $0.state.pointee.id == id }
            guard !taken else { return .exists }
            guard vm.ringSize == ringSize else { return .ringsSwitched }
            // Behind the others: dirty rings are reset in the order in which vCPUs were made.
            var link = vm.firstVCPU
            vm.forEachListedVCPU { link = $0.next }
            vm.vcpusMade.pointee += 1
            vcpu.state.pointee.sequence = vm.vcpusMade.pointee
            vcpu.state.pointee.isListed = true
            link.pointee = UInt(bitPattern: vcpu.state)
            return .done
        }
        guard addition == .done else {
            cp_free_zeroed(ring)
            cp_free_zeroed(memory)
            // The VM has rings since the size was looked at, once and for all.
            return addition == .ringsSwitched ? make(vm, id: id) : (nil, .exists)
        }
        return (vcpu, .noMemory)
    }

    /// Does a loop over the VM's vCPUs stand here?
    package var isPinned: Bool { vm.locked(.vcpus) { state.pointee.pins > 0 } }

    @inline(never)
    package func destroy() {
        unload()
        let vm = vm
        vm.locked(.vcpus) {
            vm.counters.absorb(counters)
            state.pointee.isListed = false
            let here = UInt(bitPattern: state)
            if vm.firstVCPU.pointee == here {
                vm.firstVCPU.pointee = next.pointee
            } else {
                vm.forEachListedVCPU {
                    if $0.next.pointee == here { $0.next.pointee = next.pointee }
                }
            }
        }
        while isPinned { cp_yield() }
        cache.drain()
        cp_free_zeroed(state.pointee.ringEntries)
        state.deinitialize(count: 1)
        cp_free_zeroed(state)
    }

    /// Drops its root and goes to another address space.
    package func setAddressSpace(_ space: Int32) {
        guard space != addressSpace else { return }
        vm.trace(TDPMMU_TRACE_SMM_TRANSITION) {
            $0.smm_transition.vcpu_id = state.pointee.id
            $0.smm_transition.entering = space != 0
        }
        unload()
        state.pointee.addressSpace = space
    }
}

extension VM {
    /// Under VMLock.vcpus.
    @inline(__always)
    func forEachListedVCPU(_ body: (VCPU) -> Void) {
        var address = firstVCPU.pointee
        while let pointer = OpaquePointer(bitPattern: address) {
            let vcpu = VCPU(pointer)
            address = vcpu.next.pointee
            body(vcpu)
        }
    }

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

    package func destroyVCPUs() {
        while let pointer = OpaquePointer(bitPattern: locked(.vcpus) { firstVCPU.pointee }) {
            VCPU(pointer).destroy()
        }
    }
}
