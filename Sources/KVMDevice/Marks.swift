// SPDX-License-Identifier: GPL-2.0-only
// A recording that can be replayed: the program's calls and the guests' accesses, as marks between the library's
// own events.  Without TDPMMU_KVM_EVENTS nothing is noted.
import CKVMDevice

extension UnsafeMutablePointer<kvm> {
    private var isRecorded: Bool { ckd_options().pointee.events != nil }

    /// Begins the recording of a new VM.
    func record() {
        guard isRecorded else { return }
        tdpmmu_trace_enable(self, ckd_all_events())
        ckd_mark_vm(self)
    }

    /// `step` ends in the name of what `number` is.
    func mark(_ step: StaticString, _ number: UInt64) {
        if isRecorded { ckd_mark_step(self, step.text, number) }
    }

    /// The end of a step, of which `begin` notes what was asked for.
    func marked(_ step: StaticString, _ begin: () -> Void, _ body: () -> Int32) -> Int32 {
        guard isRecorded else { return body() }
        begin()
        let result = body()
        ckd_mark_done(self, step.text, result)
        return result
    }

    func markRegion(_ region: kvm_userspace_memory_region, _ body: () -> Int32) -> Int32 {
        guard isRecorded else { return body() }
        let name = kind(of: region).text
        withUnsafePointer(to: region) { ckd_mark_region(self, name, $0) }
        let result = body()
        ckd_mark_done(self, name, result)
        return result
    }

    /// What the change of a slot comes to, against the slot that is there.
    private func kind(of region: kvm_userspace_memory_region) -> StaticString {
        if region.memory_size == 0 { return "memslot_delete" }
        rcu_read_lock()
        let old = tdpmmu_id_to_memslot(self, Int32(region.slot >> 16), Int32(region.slot & 0xffff))?.pointee
        rcu_read_unlock()
        guard let old else { return "memslot_add" }
        if old.base_gfn != region.guest_phys_addr >> 12 { return "memslot_move" }
        let log = UInt32(KVM_MEM_LOG_DIRTY_PAGES)
        if (old.flags ^ region.flags) & log == 0 { return "memslot_flags" }
        return region.flags & log != 0 ? "dirty_log_on" : "dirty_log_off"
    }

    /// Pages of a slot: what a dirty log held, or what of it is to be cleared.
    func markPages(_ what: StaticString, _ slot: UInt32, _ bitmap: UnsafeMutableRawPointer?, first: UInt64, _ pages: UInt64) {
        guard isRecorded, let bitmap else { return }
        ckd_mark_pages(self, what.text, slot, bitmap.assumingMemoryBound(to: UInt64.self), first, pages)
    }
}

extension VCPU {
    /// The guest has made this access, and it was not answered by what its CPU remembers.
    func markAccess(_ gpa: UInt64, _ access: UInt64) {
        guard ckd_options().pointee.events != nil else { return }
        let kind: Unicode.Scalar = access & fetchAccess != 0 ? "x" : access & writeAccess != 0 ? "w" : "r"
        ckd_mark_access(vm.pointee.kvm, pointee.id, gpa, CChar(kind.value))
    }

    func markPrefault(_ range: UnsafeMutablePointer<kvm_pre_fault_memory>, _ body: () -> Int32) -> Int32 {
        guard ckd_options().pointee.events != nil else { return body() }
        ckd_mark_prefault(vm.pointee.kvm, pointee.id, range)
        let result = body()
        ckd_mark_prefaulted(vm.pointee.kvm, pointee.id, range, result)
        return result
    }
}
