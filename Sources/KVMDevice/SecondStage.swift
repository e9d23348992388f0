// SPDX-License-Identifier: GPL-2.0-only
// From a guest-physical address to the host's: remembered, or by the CPU's walk of the library's tables, and
// where that faults, by the library's fault path.
import CKVMDevice

// The walk, and the fault ---------------------------------------------------------------

extension VCPU {
    /// One guest-physical access in guest mode; nil: it is not made, and `why` says why.
    func translate(_ gpa: UInt64, _ access: UInt64) -> Translation? {
        if let found = remembered(gpa, access) { return found }
        pointee.fault_gpa = gpa
        pointee.fault_access = access
        guard gpa >> ckd_options().pointee.maxphyaddr == 0 else { return stop(CKD_STOP_MMIO) }
        while true {
            var code: UInt64 = 0
            let level = tdpmmu_cpu_access(pointee.kvm_vcpu, gpa, access, &code)
            if level > 0 {
                // Between the two walks another may have taken back what the first one found.
                guard let found = leaf(gpa, access), found.allows(access) else { continue }
                markAccess(gpa, access)
                remember(gpa, found)
                return found
            }
            if level == -ENOBUFS { return stop(CKD_STOP_RING_FULL) }
            guard fault(gpa, access, level < 0 ? access : code) else { return nil }
        }
    }

    private func stop(_ why: ckd_stop) -> Translation? {
        self.why = why
        return nil
    }

    /// The leaf that the CPU's walk has just met; nil: it is gone again.
    private func leaf(_ gpa: UInt64, _ access: UInt64) -> Translation? {
        var rootLevel: Int32 = 0
        var entry: UInt64 = 0
        let level = withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 6) { sptes -> Int32 in
            rcu_read_lock()
            let level = kvm_tdp_mmu_get_walk(pointee.kvm_vcpu, gpa, sptes.baseAddress, &rootLevel)
            rcu_read_unlock()
            if level > 0 { entry = sptes[Int(level)] }
            return level
        }
        guard level > 0, is_shadow_present_pte(entry), is_last_spte(entry, level) else { return nil }
        let inside = (UInt64(4096) << (9 * UInt64(level - 1))) - 1
        let kvm = vm.pointee.kvm
        // A CPU remembers a page as writable once it has set Dirty.
        let writable = is_writable_pte(entry) && (access & writeAccess != 0 || is_dirty_spte(kvm, entry))
        let hva = (spte_to_pfn(entry) << 12) & ~inside | gpa & inside
        return Translation(hva: hva, writable: writable, executable: is_executable_pte(kvm, entry))
    }

    /// The CPU leaves the guest with a fault.  Returns whether the access may be tried again here; else `why` says why.
    private func fault(_ gpa: UInt64, _ access: UInt64, _ code: UInt64) -> Bool {
        leaveGuest()
        pointee.faults += 1
        let turn = pointee.turn_number
        var result = kvm_tdp_mmu_page_fault(pointee.kvm_vcpu, gpa, code)
        if result == Int32(RET_PF_RETRY.rawValue) { result = min(kvm_mmu_load(pointee.kvm_vcpu), 0) }
        let forgets = enterGuestAgain()
        pointee.error = result
        if result == Int32(RET_PF_EMULATE.rawValue) {
            why = CKD_STOP_MMIO
        } else if result == -ENOBUFS {
            why = CKD_STOP_RING_FULL
        } else if result < 0 {
            why = CKD_STOP_ERROR
        } else if pointee.turn_number != turn || forgets || ckd_load(&pointee.kick) != 0 {
            // Others ran meanwhile, perhaps between this instruction's load and its store; or translations are to be
            // forgotten, which the engine cannot in the middle of an instruction; or it is to stop.
            why = CKD_STOP_AGAIN
        } else {
            return true
        }
        return false
    }
}

// What the library asks -------------------------------------------------------------------

/// gfn_to_pfn: the host maps the page as for a fault of its own; its frame is its address.
func hostPage(
    _: UnsafeMutableRawPointer?, _: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ gfn: gfn_t,
    _ write: Bool, _ writable: UnsafeMutablePointer<Bool>?, _ level: UnsafeMutablePointer<Int32>?
) -> kvm_pfn_t {
    let slot = slot!.pointee
    let address = slot.userspace_addr &+ (gfn - slot.base_gfn) << 12
    let mayWrite = slot.flags & UInt32(KVM_MEM_READONLY) == 0
    // A page that is only read is given for writing, too, if the host lets it be written; where a fault may
    // wait for userfaultfd, only what was asked for is.
    let triesWriting = mayWrite && (write || !ckd_userfaults())
    let isWritten = triesWriting && populate(address, true) == 0
    guard isWritten || !(write && mayWrite) && populate(address, false) == 0 else { return ckd_pfn_fault() }
    writable!.pointee = isWritten
    level!.pointee = min(level!.pointee, Int32(ckd_host_level(address)))
    return address >> 12
}

private func populate(_ address: UInt64, _ write: Bool) -> Int32 {
    guard ckd_userfaults(), let vcpu = ckd_current(), vcpu.hasTurn else { return ckd_touch(address, write) }
    // The thread that answers the fault may wait for another vCPU.
    return vcpu.outsideTurn { ckd_touch(address, write) }
}

/// mapping_level: how large the host maps it, as far as the program asked for it.
func hostLevel(
    _: UnsafeMutableRawPointer?, _: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ gfn: gfn_t
) -> Int32 {
    Int32(ckd_host_level(slot!.pointee.userspace_addr &+ (gfn - slot!.pointee.base_gfn) << 12))
}
