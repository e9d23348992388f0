// SPDX-License-Identifier: GPL-2.0-only
// The program's memory, as the kernel's notifiers would tell of it: what is unmapped, protected, dropped or
// moved leaves the guests' tables first; which stretches it wants in huge pages; page_idle.
import CKVMDevice

// Notifiers ---------------------------------------------------------------------------

extension VM {
    private func touches(_ start: UInt64, _ end: UInt64) -> Bool {
        ckd_take(&pointee.lock)
        defer { ckd_drop(&pointee.lock) }
        for index in 0..<Int(pointee.slots) where pointee.slot[index].touches(start, end) { return true }
        return false
    }

    /// The stretch of this number begins to change.
    private func tell(_ number: Int32, _ start: UInt64, _ end: UInt64) {
        pointee.told |= 1 << UInt64(number)
        kvm_mmu_notifier_invalidate_range_start(pointee.kvm, start, end, true)
    }

    fileprivate func begin(_ number: Int32, _ start: UInt64, _ end: UInt64) {
        if touches(start, end) { tell(number, start, end) }
    }

    /// Its slots may be others by now: who was told hears of the end.
    fileprivate func end(_ number: Int32, _ start: UInt64, _ end: UInt64) {
        guard pointee.told >> UInt64(number) & 1 != 0 else { return }
        pointee.told &= ~(1 << UInt64(number))
        kvm_mmu_notifier_invalidate_range_end(pointee.kvm, start, end)
    }

    /// A slot is about to be made: from here on its memory is looked after, and what is changing there already is told.
    func lookAfter(_ slot: ckd_slot, at index: Int) {
        // An invalidation begins before this, and is told here, or after, and meets the slot.
        ckd_vms_lock()
        defer { ckd_vms_unlock() }
        setSlot(slot, at: index)
        for number in 0..<Int32(64) where pointee.told >> UInt64(number) & 1 == 0 {
            var start: UInt64 = 0, end: UInt64 = 0
            if ckd_stretch_is_open(number, &start, &end), slot.touches(start, end) { tell(number, start, end) }
        }
    }

    /// A slot that is gone, or has not come about.
    func forget(at index: Int) { setSlot(ckd_slot(), at: index) }

    private func setSlot(_ slot: ckd_slot, at index: Int) {
        ckd_take(&pointee.lock)
        pointee.slot[index] = slot
        pointee.slots = max(pointee.slots, UInt32(index + 1))
        ckd_drop(&pointee.lock)
    }
}

extension ckd_slot {
    /// Before the library has seen it, its end may be beyond all addresses.
    fileprivate func touches(_ start: UInt64, _ end: UInt64) -> Bool {
        let (ownEnd, wraps) = hva.addingReportingOverflow(size)
        return size != 0 && hva < end && (wraps || start < ownEnd)
    }
}

/// While the list stands still.
private func forEachVM(_ body: (VM) -> Void) {
    var vm = ckd_vms_next(nil)
    while let each = vm {
        body(each)
        vm = ckd_vms_next(each)
    }
}

@c @implementation
public func ckd_invalidate_begin(_ start: UInt64, _ end: UInt64) {
    guard start < end else { return }
    ckd_vms_lock()
    defer { ckd_vms_unlock() }
    var number = ckd_stretch_open(start, end)
    while number < 0 { // 64 other threads are between beginning and end
        ckd_vms_unlock()
        ckd_yield()
        ckd_vms_lock()
        number = ckd_stretch_open(start, end)
    }
    forEachVM { $0.begin(number, start, end) }
}

@c @implementation
public func ckd_invalidate_end(_ start: UInt64, _ end: UInt64) {
    guard start < end else { return }
    ckd_vms_lock()
    defer { ckd_vms_unlock() }
    let number = ckd_stretch_close(start, end)
    if number >= 0 { forEachVM { $0.end(number, start, end) } }
}

// page_idle -----------------------------------------------------------------------------

private func firstAddress(_ index: UInt64) -> UInt64 { index &* 64 << 12 }

@c @implementation
public func ckd_idle_read(_ index: UInt64) -> UInt64 {
    ckd_vms_lock()
    defer { ckd_vms_unlock() }
    var idle: UInt64 = 0
    for bit in 0..<UInt64(64) {
        var young = false
        let hva = firstAddress(index) &+ bit << 12
        forEachVM { young = kvm_mmu_notifier_test_young($0.pointee.kvm, hva) || young }
        if !young { idle |= 1 << bit }
    }
    return idle
}

@c @implementation
public func ckd_idle_write(_ index: UInt64, _ bits: UInt64) {
    ckd_vms_lock()
    defer { ckd_vms_unlock() }
    forEachVM { vm in
        for bit in 0..<UInt64(64) where bits >> bit & 1 != 0 {
            let hva = firstAddress(index) &+ bit << 12
            _ = kvm_mmu_notifier_clear_young(vm.pointee.kvm, hva, hva &+ 4096)
        }
        // A CPU's TLB forgets a page before long; this one obeys only flushes, so it is made to.
        for case let vcpu? in vm.vcpus { vcpu.forgetTranslations() }
    }
}
