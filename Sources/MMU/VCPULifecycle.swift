// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// How vCPUs come and go.
extension VCPU {
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
        guard let memory = cp_alloc_zeroed(MemoryLayout<VCPUMemory>.size) else { return (nil, .noMemory) }
        let vcpu = VCPU(memory.assumingMemoryBound(to: VCPUMemory.self))
        let ringSize = vm.ringSize
        let ring = ringSize == 0 ? nil : cp_alloc_zeroed(Int(ringSize) * MemoryLayout<kvm_dirty_gfn>.stride)
        let log = vm.usesPML ? cp_alloc_zeroed(PageModificationLog.bytes) : nil
        guard ringSize == 0 || ring != nil, !vm.usesPML || log != nil else {
            cp_free_zeroed(log)
            cp_free_zeroed(ring)
            cp_free_zeroed(memory)
            return (nil, .noMemory)
        }
        vcpu.memory.initialize(
            to: VCPUMemory(VCPUState(kvm: vm.kvm, id: id, ring: ring, ringSize: ringSize), log: log))
        let firstEntry = vm.state.pointee.config.starts.ringIndex
        vcpu.state.pointee.dirtyIndex.store(firstEntry, ordering: .relaxed)
        vcpu.state.pointee.resetIndex.store(firstEntry, ordering: .relaxed)
        let addition = vm.locked(.vcpus) { () -> Addition in
            var taken = false
            vm.forEachListedVCPU { taken = taken || $0.state.pointee.id == id }
            guard !taken else { return .exists }
            guard vm.ringSize == ringSize else { return .ringsSwitched }
            // Behind the others: dirty rings are reset in the order in which vCPUs were made.
            var last: VCPU?
            vm.forEachListedVCPU { last = $0 }
            vm.memory.pointee.vcpus.made &+= 1
            vcpu.state.pointee.sequence = vm.memory.pointee.vcpus.made
            vcpu.state.pointee.isListed = true
            if let last { last.nextListed = vcpu } else { vm.firstListedVCPU = vcpu }
            return .done
        }
        guard addition == .done else {
            cp_free_zeroed(log)
            cp_free_zeroed(ring)
            cp_free_zeroed(memory)
            // The VM has rings since the size was looked at, once and for all.
            return addition == .ringsSwitched ? make(vm, id: id) : (nil, .exists)
        }
        return (vcpu, .noMemory)
    }

    @inline(never)
    package func destroy() {
        exitGuest()
        unload()
        let vm = vm
        vm.locked(.vcpus) {
            vm.counters.absorb(counters)
            // With it in the list, for who counts pages under the lock.
            cache.drain()
            state.pointee.isListed = false
            if vm.firstListedVCPU == self {
                vm.firstListedVCPU = nextListed
            } else {
                vm.forEachListedVCPU {
                    if $0.nextListed == self { $0.nextListed = nextListed }
                }
            }
        }
        while isPinned { cp_yield() }
        cp_free_zeroed(memory.pointee.log.entries)
        cp_free_zeroed(state.pointee.ringEntries)
        cp_free_zeroed(memory)
    }

    /// Drops its root and goes to another address space.
    package func setAddressSpace(_ space: Int32) {
        exitGuest()
        guard space != addressSpace else { return }
        vm.trace(TDPMMU_TRACE_SMM_TRANSITION) {
            $0.smm_transition.vcpu_id = state.pointee.id
            $0.smm_transition.entering = space != 0
        }
        unload()
        changeAddressSpace(space)
    }
}

extension VM {
    package func destroyVCPUs() {
        while let vcpu = locked(.vcpus, { firstListedVCPU }) { vcpu.destroy() }
    }
}
