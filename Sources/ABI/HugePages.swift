// SPDX-License-Identifier: GPL-2.0-only
// huge_pages.h
import CPlatform
import CTDPMMU
import MMU
import PageTable

@c @implementation
public func kvm_tdp_mmu_try_split_huge_pages(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ start: gfn_t, _ end: gfn_t,
    _ target_level: Int32, _ shared: Bool
) -> Int32 {
    guard let entry = Contract.kvm_tdp_mmu_try_split_huge_pages(shared: shared).enter(kvm),
          entry.isLevel(target_level, upTo: 2, "target_level is not 1 or 2 (target_level)"),
          entry.isRange(start, end), let slot = entry.slot(slot) else { return .invalid }
    let vm = entry.vm
    return vm.splitHugePages(
        addressSpace: Int32(slot.as_id), start: GFN(start), end: GFN(min(end, vm.gfnLimit.raw)),
        target: Level(target_level), shared ? .shared : .exclusive) ? 0 : -ENOMEM
}

@c @implementation
public func kvm_tdp_mmu_zap_collapsible_sptes(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?
) {
    guard let entry = Contract.kvm_tdp_mmu_zap_collapsible_sptes.enter(kvm), let slot = entry.slot(slot)
    else { return }
    entry.vm.zapCollapsible(slot)
}

@c @implementation
public func kvm_tdp_mmu_recover_huge_pages(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?
) {
    guard let entry = Contract.kvm_tdp_mmu_recover_huge_pages.enter(kvm), let slot = entry.slot(slot)
    else { return }
    entry.vm.recoverHugePages(slot)
}

@c @implementation
public func kvm_tdp_mmu_zap_sp(
    _ kvm: UnsafeMutablePointer<kvm>?, _ sp: UnsafeMutablePointer<kvm_mmu_page>?
) -> Bool {
    guard let entry = Contract.kvm_tdp_mmu_zap_sp.enter(kvm) else { return false }
    guard let sp, let table = Table(checkedHeader: sp), table.isOwned(by: entry.vm), !table.isRoot else {
        entry.refuse("sp is no table of this VM, or a root (sp)", UInt64(sp))
        return false
    }
    return entry.vm.zapTableAndFlush(table)
}

@c @implementation
public func tdpmmu_set_nx_huge_pages(_ kvm: UnsafeMutablePointer<kvm>?, _ on: Bool) -> Int32 {
    guard let entry = Contract.tdpmmu_set_nx_huge_pages.enter(kvm) else { return .invalid }
    entry.vm.setNXHugePages(on)
    return 0
}

@c @implementation
public func tdpmmu_nx_recover(_ kvm: UnsafeMutablePointer<kvm>?, _ ratio: UInt32) -> Int32 {
    guard let entry = Contract.tdpmmu_nx_recover.enter(kvm) else { return .invalid }
    guard ratio > 0 else {
        entry.refuse("ratio is 0")
        return .invalid
    }
    return entry.vm.recoverNXSplits(ratio: Int64(ratio))
}

@c @implementation
public func tdpmmu_set_nx_recovery(_ kvm: UnsafeMutablePointer<kvm>?, _ ratio: UInt32, _ period_ms: UInt32) -> Int32 {
    guard let entry = Contract.tdpmmu_set_nx_recovery.enter(kvm) else { return .invalid }
    return 0 &- entry.vm.setNXRecovery(NXRecoverySettings(ratio: ratio, periodMS: period_ms))
}
