// SPDX-License-Identifier: GPL-2.0-only
// huge_pages.h
import CPlatform
import CTDPMMU
import MMU
import PageTable
import Sync

@c @implementation
public func kvm_tdp_mmu_try_split_huge_pages(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ start: gfn_t, _ end: gfn_t,
    _ target_level: Int32, _ shared: Bool
) -> Int32 {
    shared
        ? split(Contract.kvm_tdp_mmu_try_split_huge_pages(.lockR).enter(kvm), slot, start, end, target_level)
        : split(Contract.kvm_tdp_mmu_try_split_huge_pages(.lockW).enter(kvm), slot, start, end, target_level)
}

private func split<Hold: LockHold & CallersProof & ~Copyable>(
    _ entry: consuming Entry<Hold>?, _ slot: SlotPointer?, _ start: gfn_t, _ end: gfn_t, _ target: Int32
) -> Int32 {
    guard var entry, entry.isLevel(target, upTo: 2, "target_level is not 1 or 2 (target_level)"),
          entry.isRange(start, end), let slot = entry.slot(slot) else { return .invalid }
    let vm = entry.vm
    entry.begins(.pays)
    let isWhole = entry.proof.eitherWay { hold in
        vm.splitHugePages(
            addressSpace: Int32(slot.as_id), start: GFN(start), end: GFN(min(end, vm.gfnLimit.raw)),
            target: Level(target), &hold)
    }
    entry.ends(.pays)
    return isWhole ? 0 : -ENOMEM
}

@c @implementation
public func kvm_tdp_mmu_zap_collapsible_sptes(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?
) {
    guard var entry = Contract.kvm_tdp_mmu_zap_collapsible_sptes.enter(kvm), let slot = entry.slot(slot)
    else { return }
    entry.begins(.pays)
    entry.proof.eitherWay { entry.vm.zapCollapsible(slot, &$0) }
    entry.ends(.pays)
}

@c @implementation
public func kvm_tdp_mmu_recover_huge_pages(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?
) {
    guard var entry = Contract.kvm_tdp_mmu_recover_huge_pages.enter(kvm), let slot = entry.slot(slot)
    else { return }
    entry.begins(.pays)
    entry.proof.eitherWay { entry.vm.recoverHugePages(slot, &$0) }
    entry.ends(.pays)
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
    entry.begins(.pays)
    let isZapped = entry.vm.zapTableAndFlush(table, entry.proof)
    entry.ends(.pays)
    return isZapped
}

@c @implementation
public func tdpmmu_set_nx_huge_pages(_ kvm: UnsafeMutablePointer<kvm>?, _ on: Bool) -> Int32 {
    guard let entry = Contract.tdpmmu_set_nx_huge_pages.enter(kvm) else { return .invalid }
    entry.begins(.pays)
    entry.vm.setNXHugePages(on)
    entry.ends(.pays)
    return 0
}

@c @implementation
public func tdpmmu_nx_recover(_ kvm: UnsafeMutablePointer<kvm>?, _ ratio: UInt32) -> Int32 {
    guard let entry = Contract.tdpmmu_nx_recover.enter(kvm) else { return .invalid }
    guard ratio > 0 else {
        entry.refuse("ratio is 0")
        return .invalid
    }
    entry.begins(.pays)
    let zapped = entry.vm.recoverNXSplits(oneIn: Int64(ratio))
    entry.ends(.pays)
    return zapped
}

@c @implementation
public func tdpmmu_set_nx_recovery(_ kvm: UnsafeMutablePointer<kvm>?, _ ratio: UInt32, _ period_ms: UInt32) -> Int32 {
    guard let entry = Contract.tdpmmu_set_nx_recovery.enter(kvm) else { return .invalid }
    return 0 &- entry.vm.setNXRecovery(NXRecoverySettings(ratio: ratio, periodMS: period_ms))
}
