// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// What a guest and a host do, of which the library makes calls of the TDP MMU itself.
extension Machine {
    /// RET_PF_* or -errno.
    func pageFault(vcpu id: Int, gpa: UInt64, errorCode: UInt64) -> Int {
        vcpuHandle(id).map { Int(kvm_tdp_mmu_page_fault($0, gpa, errorCode)) } ?? -1
    }

    /// 0 or -errno, and where it stopped.
    func prefault(vcpu id: Int, gpa: UInt64, length: UInt64) -> (result: Int, next: UInt64) {
        guard let vcpu = vcpuHandle(id) else { return (-1, gpa) }
        var range = kvm_pre_fault_memory()
        range.gpa = gpa
        range.size = length
        let result = Int(kvm_vcpu_pre_fault_memory(vcpu, &range))
        return (result, range.gpa)
    }

    /// The host takes pages away: begin, and zap.
    func invalidate(hostStart: UInt64, hostEnd: UInt64) {
        kvm_mmu_notifier_invalidate_range_start(kvm, hostStart, hostEnd, true)
    }

    func endInvalidation(hostStart: UInt64, hostEnd: UInt64) {
        kvm_mmu_notifier_invalidate_range_end(kvm, hostStart, hostEnd)
    }

    func age(hostStart: UInt64, hostEnd: UInt64) -> Bool {
        kvm_mmu_notifier_clear_young(kvm, hostStart, hostEnd)
    }

    func testAge(hostStart: UInt64) -> Bool {
        kvm_mmu_notifier_test_young(kvm, hostStart)
    }

    /// Does a slot show any of these host addresses to the guest?
    func isGuestMemory(hostStart: UInt64, hostEnd: UInt64) -> Bool {
        slots.contains { max(hostStart, $0.hva) < min(hostEnd, $0.hva &+ $0.pages << Paging.pageShift) }
    }

    /// One step of the recovery thread: how many tables were zapped.
    func recover(ratio: UInt32) -> Int { Int(tdpmmu_nx_recover(kvm, ratio)) }
}
