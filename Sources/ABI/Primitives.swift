// SPDX-License-Identifier: GPL-2.0-only
// primitives.h
import CPlatform
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

/// As a caller's step ended.  Who was refused and tries again finds an entry that is not his.
private func status(_ result: SetResult, _ iter: UnsafeMutablePointer<tdp_iter>) -> Int32 {
    switch result {
    case .done: return 0
    case .lost: return .busy
    case .refused:
        iter.pointee.old_spte = SPTE.frozen.raw
        return .invalid
    }
}

/// The VM that an entry is of; the iterator gets what else is known of the entry.  nil: it is no table's, or the walk has yielded.
@inline(__always)
private func owner(of iter: UnsafeMutablePointer<tdp_iter>) -> KVMPointer? {
    let address = UInt(bitPattern: iter.pointee.sptep)
    guard !iter.pointee.yielded, address & 7 == 0, let table = Table.found(at: address) else { return nil }
    let role = table.role
    guard iter.pointee.level == role.level.raw else { return nil }
    iter.pointee.gfn = table.gfn.raw &+ UInt64((address & 4095) &>> 3) &* role.level.pages
    iter.pointee.as_id = role.addressSpace
    return KVMPointer(bitPattern: table.ownerAddress)
}

@c @implementation @_optimize(speed)
public func tdpmmu_set_spte(
    _ kvm: UnsafeMutablePointer<kvm>?, _ iter: UnsafeMutablePointer<tdp_iter>?, _ new_spte: UInt64, _ how: tdpmmu_set
) -> Int32 {
    let contract = Contract.tdpmmu_set_spte
    guard let iter else {
        contract.refuse("iter is NULL", in: kvm)
        return .invalid
    }
    if how == TDPMMU_SET_BITS_AT { return setBits(iter, SPTE(new_spte), contract) }
    guard let entry = contract.enter(kvm) else { return status(.refused, iter) }
    return status(entry.vm.setForCaller(iter, SPTE(new_spte), how, entry.proof, contract.function), iter)
}

/// TDPMMU_SET_BITS_AT.
@inline(__always)
private func setBits(
    _ iter: UnsafeMutablePointer<tdp_iter>, _ new: SPTE, _ contract: ContractFor<TablesKept>
) -> Int32 {
    guard let kvm = owner(of: iter) else {
        contract.refuse("iter has yielded, or stands on no entry of a table at its level (sptep)", nil, UInt64(iter.pointee.sptep))
        return status(.refused, iter)
    }
    guard let entry = contract.enter(kvm) else { return status(.refused, iter) }
    return status(entry.vm.setBitsForCaller(at: iter, new, entry.proof, contract.function), iter)
}

/// Who changes SPTEs by the lock that a function wants: Lock R if shared, else W.  By the function's name alone, so
/// that the rules are constants here.
@inline(never)
private func enter(_ kvm: UnsafeMutablePointer<kvm>?, shared: Bool, _ function: StaticString) -> SPTEWriter? {
    if shared {
        guard let entry = ContractFor<HeldForRead>(.lockR, function).enter(kvm) else { return nil }
        return SPTEWriter(entry.vm, entry.proof)
    }
    guard let entry = ContractFor<HeldForWrite>(.lockW, function).enter(kvm) else { return nil }
    return SPTEWriter(entry.vm, entry.proof)
}

@c @implementation
public func tdpmmu_iter_yield(
    _ kvm: UnsafeMutablePointer<kvm>?, _ iter: UnsafeMutablePointer<tdp_iter>?, _ flush: Bool, _ shared: Bool
) -> Bool {
    let contract = Contract.tdpmmu_iter_yield(.lockR)
    guard let writer = enter(kvm, shared: shared, contract.function) else { return false }
    guard let iter, !iter.pointee.yielded, var rcu = callersRCU() else {
        contract.refuse("iter is NULL or has yielded already, or called outside an RCU reader (iter)", kvm, UInt64(iter))
        return false
    }
    return writer.vm.yieldForCaller(&iter.pointee, flush: flush, shared: shared, &rcu)
}

@c @implementation
public func tdpmmu_alloc_sp(_ kvm: UnsafeMutablePointer<kvm>?) -> UnsafeMutablePointer<kvm_mmu_page>? {
    guard let entry = Contract.tdpmmu_alloc_sp.enter(kvm) else { return nil }
    return entry.vm.handOutTable()?.page
}

private func refuseTable<Proof: ~Copyable>(_ contract: ContractFor<Proof>, _ kvm: KVMPointer?, _ sp: PagePointer?) {
    contract.refuse("sp is no table that was handed out by this VM, or called outside RCU (sp)", kvm, UInt64(sp))
}

@c @implementation
public func tdpmmu_link_sp(
    _ kvm: UnsafeMutablePointer<kvm>?, _ iter: UnsafeMutablePointer<tdp_iter>?, _ sp: UnsafeMutablePointer<kvm_mmu_page>?,
    _ shared: Bool
) -> Int32 {
    let contract = Contract.tdpmmu_link_sp(.lockR)
    guard let iter else {
        contract.refuse("iter is NULL", in: kvm)
        return .invalid
    }
    guard let writer = enter(kvm, shared: shared, contract.function) else { return status(.refused, iter) }
    guard let rcu = callersRCU(), let sp, let table = Table(handedOutHeader: sp), table.isOwned(by: writer.vm) else {
        refuseTable(contract, kvm, sp)
        return status(.refused, iter)
    }
    return status(writer.linkForCaller(table, &iter.pointee, rcu, contract.function), iter)
}

@c @implementation
public func tdpmmu_free_sp(_ sp: UnsafeMutablePointer<kvm_mmu_page>?) {
    let contract = Contract.tdpmmu_free_sp
    guard let sp, let table = Table(handedOutHeader: sp), let entry = contract.enter(table),
          entry.vm.takeBackTable(table) else { return refuseTable(contract, nil, sp) }
}

@c @implementation
public func kvm_mmu_max_mapping_level(
    _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ gfn: gfn_t, _ max_level: Int32
) -> Int32 {
    guard let entry = Contract.kvm_mmu_max_mapping_level.enter(kvm), let slot = entry.slot(slot) else { return 1 }
    guard max_level > 1, gfn >= slot.base_gfn, gfn &- slot.base_gfn < slot.npages else { return 1 }
    return entry.vm.mappingLevel(
        of: GFN(gfn), addressSpace: Int32(slot.as_id), atMost: Level(max_level), entry.proof).raw
}
