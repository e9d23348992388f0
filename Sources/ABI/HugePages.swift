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
    let name: StaticString = "kvm_tdp_mmu_try_split_huge_pages"
    guard let vm = checkedVM(kvm, name) else { return .invalid }
    if shared {
        guard var hold = vm.readHold(name) else { return .invalid }
        return split(vm, slot, start, end, target_level, name, &hold)
    }
    guard var hold = vm.writeHold(name) else { return .invalid }
    return split(vm, slot, start, end, target_level, name, &hold)
}

private func split<Hold: LockHold & ~Copyable>(
    _ vm: VM, _ slot: SlotPointer?, _ start: gfn_t, _ end: gfn_t, _ target: Int32, _ name: StaticString,
    _ hold: inout Hold
) -> Int32 {
    guard isLevel(target, 1...2, vm, name), vm.isRange(start, end, name),
          let slot = checkedSlot(slot, of: vm, name) else { return .invalid }
    return vm.splitHugePages(
        addressSpace: Int32(slot.as_id), start: GFN(start), end: GFN(min(end, vm.gfnLimit.raw)),
        target: Level(target), &hold) ? 0 : -ENOMEM
}

@c @implementation
public func kvm_tdp_mmu_zap_collapsible_sptes(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?
) {
    let name: StaticString = "kvm_tdp_mmu_zap_collapsible_sptes"
    guard let vm = checkedVM(kvm, name), var hold = vm.readHold(name),
          let slot = checkedSlot(slot, of: vm, name) else { return }
    vm.zapCollapsible(slot, &hold)
}

@c @implementation
public func kvm_tdp_mmu_recover_huge_pages(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?
) {
    let name: StaticString = "kvm_tdp_mmu_recover_huge_pages"
    guard let vm = checkedVM(kvm, name), var hold = vm.readHold(name),
          let slot = checkedSlot(slot, of: vm, name) else { return }
    vm.recoverHugePages(slot, &hold)
}

@c @implementation
public func kvm_tdp_mmu_zap_sp(
    _ kvm: UnsafeMutablePointer<kvm>?, _ sp: UnsafeMutablePointer<kvm_mmu_page>?
) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_zap_sp"
    guard let vm = checkedVM(kvm, name), let hold = vm.writeHold(name) else { return false }
    guard let sp, let table = Table(checkedHeader: sp), table.isOwned(by: vm), !table.isRoot else {
        complain(.argument, name, "sp is no table of this VM, or a root", kvm, UInt64(UInt(bitPattern: sp)))
        return false
    }
    return vm.zapTableAndFlush(table, hold)
}

@c @implementation
public func tdpmmu_set_nx_huge_pages(_ kvm: UnsafeMutablePointer<kvm>?, _ on: Bool) -> Int32 {
    let name: StaticString = "tdpmmu_set_nx_huge_pages"
    guard let vm = checkedVM(kvm, name), vm.mayTakeSlotsLock(name) else { return .invalid }
    vm.setNXHugePages(on)
    return 0
}

@c @implementation
public func tdpmmu_nx_recover(_ kvm: UnsafeMutablePointer<kvm>?, _ ratio: UInt32) -> Int32 {
    let name: StaticString = "tdpmmu_nx_recover"
    guard let vm = checkedVM(kvm, name), vm.mayWait(name) else { return .invalid }
    guard ratio > 0 else {
        complain(.argument, name, "ratio is 0", kvm)
        return .invalid
    }
    return vm.recoverNXSplits(ratio: Int64(ratio))
}

@c @implementation
public func tdpmmu_set_nx_recovery(_ kvm: UnsafeMutablePointer<kvm>?, _ ratio: UInt32, _ period_ms: UInt32) -> Int32 {
    guard let vm = checkedVM(kvm, "tdpmmu_set_nx_recovery") else { return .invalid }
    return -vm.setNXRecovery(NXRecoverySettings(ratio: ratio, periodMS: period_ms))
}
