// SPDX-License-Identifier: GPL-2.0-only
// notifier.h
import CTDPMMU
import MMU
import PageTable

@c @implementation
public func kvm_tdp_mmu_age_gfn_range(
    _ kvm: UnsafeMutablePointer<kvm>?, _ range: UnsafePointer<kvm_gfn_range>?
) -> Bool {
    guard let entry = Contract.kvm_tdp_mmu_age_gfn_range.enter(kvm), let (range, space) = entry.range(range)
    else { return false }
    entry.begins()
    let young = entry.vm.age(addressSpace: space, start: GFN(range.start), end: GFN(range.end))
    entry.ends()
    return young
}

@c @implementation
public func kvm_tdp_mmu_test_age_gfn(
    _ kvm: UnsafeMutablePointer<kvm>?, _ range: UnsafePointer<kvm_gfn_range>?
) -> Bool {
    guard let entry = Contract.kvm_tdp_mmu_test_age_gfn.enter(kvm), let (range, space) = entry.range(range)
    else { return false }
    return entry.vm.isAccessed(addressSpace: space, start: GFN(range.start), end: GFN(range.end))
}

@c @implementation
public func kvm_tdp_mmu_zap_hva_range(_ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64) -> Bool {
    guard var entry = Contract.kvm_tdp_mmu_zap_hva_range.enter(kvm), entry.isHostRange(start, end)
    else { return false }
    var flush = OwedFlush()
    let vm = entry.vm
    entry.begins(.tells)
    vm.forEachGFNRange(hostStart: start, hostEnd: end) { space, first, last in
        vm.unmapRange(addressSpace: space, start: first, end: last, mayBlock: true, &entry.proof, owing: &flush)
    }
    return entry.ends(.tells, owing: flush.handOver())
}

@c @implementation
public func kvm_tdp_mmu_age_hva_range(_ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64) -> Bool {
    guard let entry = Contract.kvm_tdp_mmu_age_hva_range.enter(kvm), entry.isHostRange(start, end)
    else { return false }
    entry.begins()
    let young = entry.vm.ageHostRange(start, end)
    entry.ends()
    return young
}

@c @implementation
public func kvm_tdp_mmu_test_age_hva(_ kvm: UnsafeMutablePointer<kvm>?, _ hva: UInt64) -> Bool {
    guard let entry = Contract.kvm_tdp_mmu_test_age_hva.enter(kvm), entry.isHostAddress(hva) else { return false }
    return entry.vm.isHostPageAccessed(hva)
}

@c @implementation
public func kvm_tdp_mmu_set_spte_hva(
    _ kvm: UnsafeMutablePointer<kvm>?, _ hva: UInt64, _ pfn: kvm_pfn_t, _ writable: Bool
) -> Bool {
    guard let entry = Contract.kvm_tdp_mmu_set_spte_hva.enter(kvm), entry.isHostAddress(hva),
          entry.isHostPage(pfn) else { return false }
    var changed = false
    entry.begins(.pays)
    entry.vm.forEachGFNRange(hostStart: hva, hostEnd: hva &+ 1) { space, first, last in
        if entry.vm.setPage(addressSpace: space, start: first, end: last, PFN(pfn), writable: writable, entry.proof) {
            changed = true
        }
    }
    entry.ends(.pays)
    return changed
}

@c @implementation
public func kvm_mmu_invalidate_begin(_ kvm: UnsafeMutablePointer<kvm>?) {
    guard let entry = Contract.kvm_mmu_invalidate_begin.enter(kvm) else { return }
    entry.vm.beginInvalidation(entry.proof)
}

@c @implementation
public func kvm_mmu_invalidate_range_add(_ kvm: UnsafeMutablePointer<kvm>?, _ start: gfn_t, _ end: gfn_t) {
    guard let entry = Contract.kvm_mmu_invalidate_range_add.enter(kvm), entry.isRange(start, end) else { return }
    guard entry.vm.isInvalidating else { return entry.refuse("no invalidation is under way") }
    entry.vm.addInvalidation(start: GFN(start), end: GFN(end), entry.proof)
}

@c @implementation
public func kvm_mmu_invalidate_end(_ kvm: UnsafeMutablePointer<kvm>?) {
    guard let entry = Contract.kvm_mmu_invalidate_end.enter(kvm) else { return }
    switch entry.vm.endInvalidation(entry.proof) {
    case .done: break
    case .unnamed: entry.refuse("no range was added since the beginning")
    case .noneUnderWay: entry.refuse("no invalidation is under way")
    }
}

@c @implementation
public func kvm_mmu_notifier_invalidate_range_start(
    _ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64, _ may_block: Bool
) {
    guard let entry = Contract.kvm_mmu_notifier_invalidate_range_start.enter(kvm), entry.isHostRange(start, end)
    else { return }
    entry.begins(.invalidates)
    entry.vm.invalidateHostRange(start, end, mayBlock: may_block)
    entry.ends(.invalidates)
}

@c @implementation
public func kvm_mmu_notifier_invalidate_range_end(_ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64) {
    guard let entry = Contract.kvm_mmu_notifier_invalidate_range_end.enter(kvm), entry.isHostRange(start, end)
    else { return }
    if !entry.vm.endHostInvalidation(start, end) { entry.refuse("no invalidation is under way (start, end)", start, end) }
}

@c @implementation
public func kvm_mmu_notifier_clear_flush_young(
    _ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64
) -> Bool {
    guard let entry = Contract.kvm_mmu_notifier_clear_flush_young.enter(kvm), entry.isHostRange(start, end)
    else { return false }
    entry.begins()
    let young = entry.vm.ageHostRange(start, end)
    if young { entry.vm.flushAll() }
    entry.ends()
    return young
}

@c @implementation
public func kvm_mmu_notifier_clear_young(_ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ end: UInt64) -> Bool {
    guard let entry = Contract.kvm_mmu_notifier_clear_young.enter(kvm), entry.isHostRange(start, end)
    else { return false }
    entry.begins()
    let young = entry.vm.ageHostRange(start, end)
    entry.ends()
    return young
}

@c @implementation
public func kvm_mmu_notifier_test_young(_ kvm: UnsafeMutablePointer<kvm>?, _ hva: UInt64) -> Bool {
    guard let entry = Contract.kvm_mmu_notifier_test_young.enter(kvm), entry.isHostAddress(hva) else { return false }
    return entry.vm.isHostPageAccessed(hva)
}
