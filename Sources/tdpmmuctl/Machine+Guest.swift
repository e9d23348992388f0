// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

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
        noteRootAddress(vcpu)
        return (result, range.gpa)
    }

    /// Gfns that a range of host addresses is mapped at, slot by slot as the host's
    /// notifier goes: by the slots' own addresses, equal ones in the order in which they
    /// were made or last changed.
    func gfns(hostStart: UInt64, hostEnd: UInt64) -> [(addressSpace: Int, range: Range<UInt64>)] {
        let touched = slots.filter { max(hostStart, $0.hva) < min(hostEnd, $0.hva &+ $0.pages << Paging.pageShift) }
        let ordered = touched.enumerated().sorted {
            ($0.element.addressSpace, $0.element.hva, $0.offset) < ($1.element.addressSpace, $1.element.hva, $1.offset)
        }
        return ordered.map { _, slot in
            let (first, last) = (max(hostStart, slot.hva), min(hostEnd, slot.hva &+ slot.pages << Paging.pageShift))
            let start = slot.first &+ (first &- slot.hva) >> Paging.pageShift
            return (slot.addressSpace, start..<slot.first &+ (last &- slot.hva &+ Paging.pageMask) >> Paging.pageShift)
        }
    }

    /// The host takes pages away: begin, and zap.
    func invalidate(hostStart: UInt64, hostEnd: UInt64) {
        let parts = gfns(hostStart: hostStart, hostEnd: hostEnd)
        guard !parts.isEmpty else { return }
        lockedForWrite { kvm_mmu_invalidate_begin(kvm) }
        for (space, range) in parts {
            lockedForWrite { kvm_mmu_invalidate_range_add(kvm, range.lowerBound, range.upperBound) }
            if unmap(space, start: range.lowerBound, end: range.upperBound, flush: false) == true {
                kvm_flush_remote_tlbs(kvm)
            }
        }
    }

    func endInvalidation() {
        lockedForWrite { kvm_mmu_invalidate_end(kvm) }
    }

    func age(hostStart: UInt64, hostEnd: UInt64) -> Bool {
        gfns(hostStart: hostStart, hostEnd: hostEnd).map { space, range in
            age(space, start: range.lowerBound, end: range.upperBound) == true
        }.contains(true)
    }

    func testAge(hostStart: UInt64, hostEnd: UInt64) -> Bool {
        gfns(hostStart: hostStart, hostEnd: hostEnd).contains { space, range in
            testAge(space, start: range.lowerBound, end: range.upperBound) == true
        }
    }

    /// One step of the recovery thread: how many tables were zapped.
    func recover(ratio: UInt32) -> Int { Int(tdpmmu_nx_recover(kvm, ratio)) }
}
