// SPDX-License-Identifier: GPL-2.0-only
// notifier.h
import CTDPMMU
import MMU
import PageTable
import Sync

@c @implementation
public func kvm_tdp_mmu_age_gfn_range(
    _ kvm: UnsafeMutablePointer<kvm>?, _ range: UnsafePointer<kvm_gfn_range>?
) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_age_gfn_range"
    guard let vm = checkedVM(kvm, name), let (range, space) = checkedRange(range, of: vm, name) else { return false }
    return vm.age(addressSpace: space, start: GFN(range.start), end: GFN(range.end))
}

@c @implementation
public func kvm_tdp_mmu_test_age_gfn(
    _ kvm: UnsafeMutablePointer<kvm>?, _ range: UnsafePointer<kvm_gfn_range>?
) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_test_age_gfn"
    guard let vm = checkedVM(kvm, name), let (range, space) = checkedRange(range, of: vm, name) else { return false }
    return vm.isAccessed(addressSpace: space, start: GFN(range.start), end: GFN(range.end))
}

private func isHostRange(_ start: UInt64, _ end: UInt64, _ vm: VM, _ function: StaticString) -> Bool {
    if start < end { return true }
    complain(.argument, function, "no range of host addresses (start, end)", vm.kvm, start, end)
    return false
}

@c @implementation
public func kvm_tdp_mmu_zap_hva_range(_ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_zap_hva_range"
    guard let vm = checkedVM(kvm, name), var hold = vm.writeHold(name), isHostRange(start, end, vm, name)
    else { return false }
    var flush = OwedFlush()
    vm.forEachGFNRange(hostStart: start, hostEnd: end) { space, first, last in
        vm.unmapRange(addressSpace: space, start: first, end: last, mayBlock: true, &hold, owing: &flush)
    }
    return flush.handOver()
}

@c @implementation
public func kvm_tdp_mmu_age_hva_range(_ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_age_hva_range"
    guard let vm = checkedVM(kvm, name), isHostRange(start, end, vm, name) else { return false }
    return vm.ageHostRange(start, end)
}

@c @implementation
public func kvm_tdp_mmu_test_age_hva(_ kvm: UnsafeMutablePointer<kvm>?, _ hva: UInt64) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_test_age_hva"
    guard let vm = checkedVM(kvm, name), isHostRange(hva, hva &+ 1, vm, name) else { return false }
    return vm.isHostPageAccessed(hva)
}

@c @implementation
public func kvm_tdp_mmu_set_spte_hva(
    _ kvm: UnsafeMutablePointer<kvm>?, _ hva: UInt64, _ pfn: kvm_pfn_t, _ writable: Bool
) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_set_spte_hva"
    guard let vm = checkedVM(kvm, name), let hold = vm.writeHold(name), isHostRange(hva, hva &+ 1, vm, name)
    else { return false }
    guard pfn <= vm.pfnMask else {
        complain(.argument, name, "pfn beyond MAXPHYADDR (pfn)", kvm, pfn)
        return false
    }
    var changed = false
    vm.forEachGFNRange(hostStart: hva, hostEnd: hva + 1) { space, first, last in
        if vm.setPage(addressSpace: space, start: first, end: last, PFN(pfn), writable: writable, hold) { changed = true }
    }
    return changed
}

@c @implementation
public func kvm_mmu_invalidate_begin(_ kvm: UnsafeMutablePointer<kvm>?) {
    let name: StaticString = "kvm_mmu_invalidate_begin"
    guard let vm = checkedVM(kvm, name), let hold = vm.writeHold(name) else { return }
    vm.beginInvalidation(hold)
}

@c @implementation
public func kvm_mmu_invalidate_range_add(_ kvm: UnsafeMutablePointer<kvm>?, _ start: gfn_t, _ end: gfn_t) {
    let name: StaticString = "kvm_mmu_invalidate_range_add"
    guard let vm = checkedVM(kvm, name), let hold = vm.writeHold(name), vm.isRange(start, end, name) else { return }
    guard vm.isInvalidating else { return complain(.argument, name, "no invalidation is under way", kvm) }
    vm.addInvalidation(start: GFN(start), end: GFN(end), hold)
}

@c @implementation
public func kvm_mmu_invalidate_end(_ kvm: UnsafeMutablePointer<kvm>?) {
    let name: StaticString = "kvm_mmu_invalidate_end"
    guard let vm = checkedVM(kvm, name), let hold = vm.writeHold(name) else { return }
    switch vm.endInvalidation(hold) {
    case .done: break
    case .unnamed: complain(.argument, name, "no range was added since the beginning", kvm)
    case .noneUnderWay: complain(.argument, name, "no invalidation is under way", kvm)
    }
}

/// A VM that a notifier of the host may be sent to.
private func notified(
    _ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64, _ function: StaticString
) -> VM? {
    guard let vm = checkedVM(kvm, function), vm.mayWait(function), isHostRange(start, end, vm, function) else { return nil }
    return vm
}

@c @implementation
public func kvm_mmu_notifier_invalidate_range_start(
    _ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64, _ may_block: Bool
) {
    notified(kvm, start, end, "kvm_mmu_notifier_invalidate_range_start")?
        .invalidateHostRange(start, end, mayBlock: may_block)
}

@c @implementation
public func kvm_mmu_notifier_invalidate_range_end(_ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64) {
    let name: StaticString = "kvm_mmu_notifier_invalidate_range_end"
    guard let vm = notified(kvm, start, end, name) else { return }
    if !vm.endHostInvalidation() { complain(.argument, name, "no invalidation is under way", kvm) }
}

@c @implementation
public func kvm_mmu_notifier_clear_flush_young(
    _ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64
) -> Bool {
    guard let vm = notified(kvm, start, end, "kvm_mmu_notifier_clear_flush_young") else { return false }
    let young = vm.ageHostRange(start, end)
    if young { vm.flushAll() }
    return young
}

@c @implementation
public func kvm_mmu_notifier_clear_young(_ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64) -> Bool {
    notified(kvm, start, end, "kvm_mmu_notifier_clear_young")?.ageHostRange(start, end) ?? false
}

@c @implementation
public func kvm_mmu_notifier_test_young(_ kvm: UnsafeMutablePointer<kvm>?, _ hva: UInt64) -> Bool {
    notified(kvm, hva, hva &+ 1, "kvm_mmu_notifier_test_young")?.isHostPageAccessed(hva) ?? false
}
