// SPDX-License-Identifier: GPL-2.0-only
// rig_ledger.h
import CPlatform
import CTDPMMU
import MMU
import PageTable
import Rig

@c @implementation
public func tdpmmu_ledger_attach(
    _ kvm: UnsafeMutablePointer<kvm>?, _ report: tdpmmu_ledger_report_fn?, _ ctx: UnsafeMutableRawPointer?
) -> Int32 {
    guard let entry = Contract.tdpmmu_ledger_attach.enter(kvm) else { return .invalid }
    switch LedgerWatch.attach(to: entry.vm, report, ctx) {
    case .done: return 0
    case .exists:
        entry.refuse("the VM has a ledger already")
        return -EBUSY
    case .noMemory: return -ENOMEM
    }
}

@c @implementation
public func tdpmmu_ledger_detach(_ kvm: UnsafeMutablePointer<kvm>?) -> Int32 {
    guard let entry = Contract.tdpmmu_ledger_detach.enter(kvm) else { return .invalid }
    return LedgerWatch.detach(from: entry.vm) ? 0 : -ENOENT
}

@c @implementation
public func tdpmmu_ledger_owes(
    _ kvm: UnsafeMutablePointer<kvm>?, _ as_id: Int32, _ start: gfn_t, _ end: gfn_t
) -> Bool {
    guard let entry = Contract.tdpmmu_ledger_owes.enter(kvm), entry.isAddressSpace(as_id) else { return false }
    return LedgerWatch.of(entry.vm)?.ledger.isOwed(as_id, start, end) ?? false
}

@c @implementation
public func tdpmmu_cpus_check(_ kvm: UnsafeMutablePointer<kvm>?) -> Int32 {
    guard let entry = Contract.tdpmmu_cpus_check.enter(kvm) else { return .invalid }
    guard let set = CPUSet.of(entry.vm) else { return -ENOENT }
    return set.checkAll(entry.vm) ?? -EAGAIN
}

@c @implementation
public func tdpmmu_page_is_dirty(_ kvm: UnsafeMutablePointer<kvm>?, _ as_id: Int32, _ gfn: gfn_t) -> Int32 {
    guard let entry = Contract.tdpmmu_page_is_dirty.enter(kvm), entry.isAddressSpace(as_id), entry.isPage(gfn) else {
        return .invalid
    }
    guard let isDirty = entry.vm.isDirty(GFN(gfn), addressSpace: as_id) else { return -ENOENT }
    return isDirty ? 1 : 0
}
