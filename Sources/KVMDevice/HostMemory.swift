// SPDX-License-Identifier: GPL-2.0-only
// The program's memory, as the kernel's notifiers would tell of it: what is unmapped, protected, dropped or
// moved leaves the guests' tables first; which stretches it wants in huge pages; page_idle.
import CKVMDevice

// Notifiers ---------------------------------------------------------------------------

extension VM {
    fileprivate func touches(_ start: UInt64, _ end: UInt64) -> Bool {
        ckd_take(&pointee.lock)
        defer { ckd_drop(&pointee.lock) }
        for index in 0..<Int(pointee.slots) {
            let slot = pointee.slot[index]
            if slot.size != 0, slot.hva < end, start < slot.hva &+ slot.size { return true }
        }
        return false
    }
}

/// Runs `body` for each VM of which [start, end) is a part, while the list stands still.
private func forEachTouched(_ start: UInt64, _ end: UInt64, _ body: (UnsafeMutablePointer<kvm>) -> Void) {
    guard start < end else { return }
    ckd_vms_lock()
    var vm = ckd_vms_next(nil)
    while let each = vm {
        if each.touches(start, end) { body(each.pointee.kvm) }
        vm = ckd_vms_next(each)
    }
    ckd_vms_unlock()
}

@c @implementation
public func ckd_invalidate_begin(_ start: UInt64, _ end: UInt64) {
    forEachTouched(start, end) { kvm_mmu_notifier_invalidate_range_start($0, start, end, true) }
}

@c @implementation
public func ckd_invalidate_end(_ start: UInt64, _ end: UInt64) {
    forEachTouched(start, end) { kvm_mmu_notifier_invalidate_range_end($0, start, end) }
}

// page_idle -----------------------------------------------------------------------------

private func forEachVM(_ body: (VM) -> Void) {
    ckd_vms_lock()
    var vm = ckd_vms_next(nil)
    while let each = vm {
        body(each)
        vm = ckd_vms_next(each)
    }
    ckd_vms_unlock()
}

@c @implementation
public func ckd_idle_read(_ index: UInt64) -> UInt64 {
    var idle: UInt64 = 0
    for bit in 0..<UInt64(64) {
        var young = false
        forEachVM { young = kvm_mmu_notifier_test_young($0.pointee.kvm, (index * 64 + bit) << 12) || young }
        if !young { idle |= 1 << bit }
    }
    return idle
}

@c @implementation
public func ckd_idle_write(_ index: UInt64, _ bits: UInt64) {
    forEachVM { vm in
        for bit in 0..<UInt64(64) where bits >> bit & 1 != 0 {
            let hva = (index * 64 + bit) << 12
            _ = kvm_mmu_notifier_clear_young(vm.pointee.kvm, hva, hva + 4096)
        }
        // A CPU's TLB forgets a page before long; this one obeys only flushes, so it is made to.
        for case let vcpu? in vm.vcpus { vcpu.forgetTranslations() }
    }
}
