// SPDX-License-Identifier: GPL-2.0-only
// tdp_mmu.h
import CPlatform
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

@c @implementation
public func kvm_mmu_init_tdp_mmu(_ kvm: UnsafeMutablePointer<kvm>?) -> Int32 {
    guard let entry = Contract.kvm_mmu_init_tdp_mmu.enter(kvm) else { return .invalid }
    return entry.vm.setUp() ? 0 : -EBUSY
}

@c @implementation
public func kvm_mmu_uninit_tdp_mmu(_ kvm: UnsafeMutablePointer<kvm>?) {
    guard let entry = Contract.kvm_mmu_uninit_tdp_mmu.enter(kvm) else { return }
    entry.begins(.pays)
    entry.vm.tearDown()
    entry.ends(.pays)
}

// Roots -------------------------------------------------------------------

@c @implementation
public func kvm_tdp_mmu_get_vcpu_root_hpa(_ vcpu: OpaquePointer?) -> hpa_t {
    let contract = Contract.kvm_tdp_mmu_get_vcpu_root_hpa
    guard let vcpu = contract.vcpu(vcpu), contract.enter(vcpu.vm) != nil else { return .max }
    vcpu.exitGuest()
    return vcpu.acquireRoot()?.keep().address ?? .max
}

@c @implementation
public func kvm_tdp_mmu_get_root(_ root: UnsafeMutablePointer<kvm_mmu_page>?) -> Bool {
    let contract = Contract.kvm_tdp_mmu_get_root
    guard let root, let table = Table(checkedHeader: root), table.isRoot else {
        contract.refuse("root is NULL or no root (root)", nil, UInt64(root))
        return false
    }
    // Outside RCU and mmu_lock the root may be gone before its count is looked at.
    return contract.enter(table) != nil && RootReference.take(table)?.keep() != nil
}

@c @implementation
public func kvm_tdp_mmu_put_root(_ kvm: UnsafeMutablePointer<kvm>?, _ root: UnsafeMutablePointer<kvm_mmu_page>?) {
    guard let entry = Contract.kvm_tdp_mmu_put_root.enter(kvm), let table = entry.root(root) else { return }
    if !entry.vm.putRoot(table) {
        entry.refuse("root has no reference to drop but the MMU's own (root)", UInt64(root))
    }
}

@c @implementation
public func kvm_mmu_load(_ vcpu: OpaquePointer?) -> Int32 {
    let contract = Contract.kvm_mmu_load
    guard let vcpu = contract.vcpu(vcpu), contract.enter(vcpu.vm) != nil else { return .invalid }
    vcpu.exitGuest()
    switch vcpu.load() {
    case .done: return 0
    case .noMemory: return -ENOMEM
    case .notSetUp: return .invalid
    }
}

@c @implementation
public func kvm_mmu_unload(_ vcpu: OpaquePointer?) {
    let contract = Contract.kvm_mmu_unload
    guard let vcpu = contract.vcpu(vcpu), contract.enter(vcpu.vm) != nil else { return }
    vcpu.exitGuest()
    vcpu.unload()
}

@c @implementation
public func tdpmmu_vcpu_root(_ vcpu: OpaquePointer?) -> UnsafeMutablePointer<kvm_mmu_page>? {
    guard let vcpu = Contract.tdpmmu_vcpu_root.vcpu(vcpu) else { return nil }
    return insideRCU { rcu in vcpu.root(rcu)?.page }
}

@c @implementation
public func kvm_tdp_mmu_invalidate_all_roots(_ kvm: UnsafeMutablePointer<kvm>?) {
    guard let entry = Contract.kvm_tdp_mmu_invalidate_all_roots.enter(kvm) else { return }
    entry.begins()
    entry.vm.invalidateAllRoots(entry.proof)
    entry.ends()
}

@c @implementation
public func kvm_tdp_mmu_zap_invalidated_roots(_ kvm: UnsafeMutablePointer<kvm>?) {
    guard let entry = Contract.kvm_tdp_mmu_zap_invalidated_roots.enter(kvm) else { return }
    entry.begins(.pays)
    entry.vm.zapInvalidatedRoots()
    entry.ends(.pays)
}

@c @implementation
public func kvm_mmu_zap_all_fast(_ kvm: UnsafeMutablePointer<kvm>?) {
    guard let entry = Contract.kvm_mmu_zap_all_fast.enter(kvm) else { return }
    entry.begins(.pays)
    entry.vm.zapAllFast()
    entry.ends(.pays)
}

@c @implementation
public func kvm_tdp_mmu_zap_all(_ kvm: UnsafeMutablePointer<kvm>?) {
    guard var entry = Contract.kvm_tdp_mmu_zap_all.enter(kvm) else { return }
    entry.begins(.pays)
    entry.vm.zapAll(&entry.proof)
    entry.ends(.pays)
}

// Faults --------------------------------------------------------------------

@c @implementation
public func kvm_tdp_mmu_map(
    _ vcpu: OpaquePointer?, _ gpa: gpa_t, _ error_code: UInt64, _ map_writable: Bool, _ max_level: Int32,
    _ pfn: kvm_pfn_t, _ prefault: Bool
) -> Int32 {
    let contract = Contract.kvm_tdp_mmu_map
    guard let vcpu = contract.vcpu(vcpu), let entry = contract.enter(vcpu.vm), entry.isAddress(gpa),
          entry.isLevel(max_level, upTo: 3, "max_level is not 1 to 3 (max_level)") else { return .invalid }
    vcpu.exitGuest()
    let page = PFN(pfn)
    if page != .noSlot {
        if page.isError { return FaultResult(answer: page).code }
        guard entry.isHostPage(pfn) else { return .invalid }
    }
    let fault = Fault(
        vcpu: vcpu, FaultAccess(gpa, errorCode: error_code), pfn: page, hostWritable: map_writable,
        hostLevel: Level(max_level), prefetch: prefault)
    entry.begins(.faults)
    let result = fault.handle(entry.proof).code
    entry.ends(.faults)
    return result
}

@c @implementation @_optimize(speed)
public func kvm_tdp_mmu_page_fault(_ vcpu: OpaquePointer?, _ gpa: gpa_t, _ error_code: UInt64) -> Int32 {
    let contract = Contract.kvm_tdp_mmu_page_fault
    guard let vcpu = contract.vcpu(vcpu), contract.enter(vcpu.vm) != nil else { return .invalid }
    return vcpu.guestFault(FaultAccess(gpa, errorCode: error_code)).code
}

/// What is wrong with a range in itself.
private func isPrefaultRange(_ range: kvm_pre_fault_memory) -> Bool {
    let (end, wraps) = range.gpa.addingReportingOverflow(range.size)
    return (range.gpa | range.size) & 4095 == 0 && !wraps && end > range.gpa && range.flags == 0
}

@c @implementation
public func kvm_vcpu_pre_fault_memory(
    _ vcpu: OpaquePointer?, _ range: UnsafeMutablePointer<kvm_pre_fault_memory>?
) -> Int32 {
    let contract = Contract.kvm_vcpu_pre_fault_memory
    guard let vcpu = contract.vcpu(vcpu), let entry = contract.enter(vcpu.vm) else { return .invalid }
    guard let range else {
        entry.refuse("range is NULL")
        return .invalid
    }
    vcpu.exitGuest()
    guard isPrefaultRange(range.pointee) else { return .invalid }
    entry.begins(.faults)
    let result = prefault(vcpu, range)
    entry.ends(.faults)
    return result
}

private func prefault(_ vcpu: VCPU, _ range: UnsafeMutablePointer<kvm_pre_fault_memory>) -> Int32 {
    var done = false
    while range.pointee.size > 0 {
        guard range.pointee.gpa >> 12 < vcpu.vm.gfnLimit.raw else { return done ? 0 : -ENOENT }
        switch vcpu.prefault(range.pointee.gpa) {
        case .mapped(let end):
            let step = min(range.pointee.size, end.raw &<< 12 &- range.pointee.gpa)
            range.pointee.gpa &+= step
            range.pointee.size &-= step
            done = true
        case .noMemorySlot: return done ? 0 : -ENOENT
        case .failed(.retry): return done ? 0 : -EAGAIN
        case .failed(let result): return done ? 0 : result.code
        }
    }
    return 0
}

@c @implementation
public func kvm_tdp_mmu_get_walk(
    _ vcpu: OpaquePointer?, _ addr: gpa_t, _ sptes: UnsafeMutablePointer<UInt64>?,
    _ root_level: UnsafeMutablePointer<Int32>?
) -> Int32 {
    let contract = Contract.kvm_tdp_mmu_get_walk
    guard let vcpu = contract.vcpu(vcpu), let entry = contract.enter(vcpu.vm) else { return .invalid }
    guard let sptes else {
        entry.refuse("sptes is NULL")
        return .invalid
    }
    guard let root_level else {
        entry.refuse("root_level is NULL")
        return .invalid
    }
    guard entry.isAddress(addr, "addr is beyond MAXPHYADDR (addr)") else { return .invalid }
    guard let root = vcpu.root(entry.proof) else {
        entry.refuse("the vCPU has no root")
        return .invalid
    }
    let levels = root.walk(to: GFN(addr >> 12), sptes, entry.proof)
    root_level.pointee = levels.first.raw
    return levels.last.raw
}

@c @implementation
public func kvm_tdp_mmu_fast_pf_get_last_sptep(
    _ vcpu: OpaquePointer?, _ gfn: gfn_t, _ spte: UnsafeMutablePointer<UInt64>?
) -> tdp_ptep_t? {
    let contract = Contract.kvm_tdp_mmu_fast_pf_get_last_sptep
    guard let vcpu = contract.vcpu(vcpu), let entry = contract.enter(vcpu.vm) else { return nil }
    guard let spte else {
        entry.refuse("spte is NULL")
        return nil
    }
    guard entry.isPage(gfn) else { return nil }
    guard let root = vcpu.root(entry.proof) else {
        entry.refuse("the vCPU has no root")
        return nil
    }
    let last = root.lastEntry(for: GFN(gfn), entry.proof)
    spte.pointee = last.spte.raw
    return tdp_ptep_t(bitPattern: last.slot.address)
}

@c @implementation @_optimize(speed)
public func tdpmmu_fast_page_fault(_ vcpu: OpaquePointer?, _ gpa: gpa_t, _ error_code: UInt64) -> Int32 {
    let contract = Contract.tdpmmu_fast_page_fault
    guard let vcpu = contract.vcpu(vcpu), let entry = contract.enter(vcpu.vm), entry.isAddress(gpa)
    else { return .invalid }
    guard vcpu.hasRoot else {
        entry.refuse("the vCPU has no root")
        return .invalid
    }
    vcpu.exitGuest()
    return vcpu.fastPageFault(FaultAccess(gpa, errorCode: error_code)).code
}

// Zapping -------------------------------------------------------------------

@c @implementation
public func zap_gfn_range(
    _ kvm: UnsafeMutablePointer<kvm>?, _ root: UnsafeMutablePointer<kvm_mmu_page>?, _ start: gfn_t,
    _ end: gfn_t, _ can_yield: Bool
) -> Bool {
    guard var entry = Contract.zap_gfn_range.enter(kvm), let table = entry.root(root),
          entry.isRange(start, end) else { return false }
    // Another thread may drop the root while the lock is yielded.
    guard let reference = RootReference.take(table) else {
        entry.refuse("root is dying (root)", UInt64(root))
        return false
    }
    let vm = entry.vm
    var flush = OwedFlush()
    entry.begins(.tells)
    vm.zapRange(reference, start: GFN(start), end: GFN(end), canYield: can_yield, &entry.proof, owing: &flush)
    reference.put(vm)
    return entry.ends(.tells, owing: flush.handOver())
}

@c @implementation
public func kvm_tdp_mmu_zap_gfn_range(_ kvm: UnsafeMutablePointer<kvm>?, _ start: gfn_t, _ end: gfn_t) -> Bool {
    guard var entry = Contract.kvm_tdp_mmu_zap_gfn_range.enter(kvm), entry.isRange(start, end)
    else { return false }
    entry.begins(.tells)
    let isOwed = entry.vm.zapRange(start: GFN(start), end: GFN(end), &entry.proof).handOver()
    return entry.ends(.tells, owing: isOwed)
}

@c @implementation
public func kvm_tdp_mmu_zap_leafs(
    _ kvm: UnsafeMutablePointer<kvm>?, _ start: gfn_t, _ end: gfn_t, _ flush: Bool
) -> Bool {
    guard var entry = Contract.kvm_tdp_mmu_zap_leafs.enter(kvm), entry.isRange(start, end)
    else { return flush }
    var owed = OwedFlush(handedOver: flush)
    entry.begins(.tells)
    entry.vm.zapLeafs(start: GFN(start), end: GFN(end), &entry.proof, owing: &owed)
    return entry.ends(.tells, owing: owed.handOver())
}

@c @implementation
public func kvm_tdp_mmu_unmap_gfn_range(
    _ kvm: UnsafeMutablePointer<kvm>?, _ range: UnsafePointer<kvm_gfn_range>?, _ flush: Bool
) -> Bool {
    guard var entry = Contract.kvm_tdp_mmu_unmap_gfn_range.enter(kvm), let (range, space) = entry.range(range)
    else { return flush }
    var owed = OwedFlush(handedOver: flush)
    entry.begins(.tells)
    entry.vm.unmapRange(
        addressSpace: space, start: GFN(range.start), end: GFN(range.end),
        mayBlock: range.may_block, &entry.proof, owing: &owed)
    return entry.ends(.tells, owing: owed.handOver())
}
