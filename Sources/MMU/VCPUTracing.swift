// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Synchronization

/// What is told of a vCPU.
extension VCPU {
    /// The CPU stops at an access.
    @inline(never)
    func traceFault(_ access: FaultAccess) {
        vm.trace(TDPMMU_TRACE_PAGE_FAULT) {
            $0.page_fault = tdpmmu_trace_page_fault(
                guest_rip: 0, fault_address: access.address, error_code: access.errorCode, vcpu_id: state.pointee.id)
        }
    }
}

extension VCPU {
    func traceVCPU(_ id: tdpmmu_trace_id, _ root: Table?) {
        vm.trace(id) {
            $0.vcpu = tdpmmu_trace_vcpu(
                vcpu: UInt64(UInt(bitPattern: state)), root_hpa: root?.address ?? 0, root_level: root?.level.raw ?? 0)
        }
    }

    func traceRing(_ id: tdpmmu_trace_id, slot: UInt32, offset: UInt64) {
        vm.trace(id) {
            $0.dirty_ring = tdpmmu_trace_dirty_ring(
                offset: offset, index: UInt32(bitPattern: state.pointee.id),
                dirty_index: state.pointee.dirtyIndex.load(ordering: .relaxed),
                reset_index: state.pointee.resetIndex.load(ordering: .relaxed), slot: slot)
        }
    }
}
