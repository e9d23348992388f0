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
    Contract.kvm_mmu_uninit_tdp_mmu.enter(kvm)?.vm.tearDown()
}

// Roots -------------------------------------------------------------------

@c @implementation
public func kvm_tdp_mmu_get_vcpu_root_hpa(_ vcpu: OpaquePointer?) -> hpa_t {
    Contract.kvm_tdp_mmu_get_vcpu_root_hpa.enter(vcpu)?.vcpu.acquireRoot()?.address ?? .max
}

@c @implementation
public func kvm_tdp_mmu_get_root(_ root: UnsafeMutablePointer<kvm_mmu_page>?) -> Bool {
    let contract = Contract.kvm_tdp_mmu_get_root
    guard let root, let table = Table(checkedHeader: root), table.isRoot else {
        contract.refuse("root is NULL or no root (root)", nil, UInt64(root))
        return false
    }
    // Outside RCU and mmu_lock the root may be gone before its count is looked at.
    return contract.enter(table) != nil && table.get()
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
    guard let (vcpu, _) = Contract.kvm_mmu_load.enter(vcpu) else { return .invalid }
    return vcpu.load() ? 0 : -ENOMEM
}

@c @implementation
public func kvm_mmu_unload(_ vcpu: OpaquePointer?) {
    Contract.kvm_mmu_unload.enter(vcpu)?.vcpu.unload()
}

@c @implementation
public func tdpmmu_vcpu_root(_ vcpu: OpaquePointer?) -> UnsafeMutablePointer<kvm_mmu_page>? {
    Contract.tdpmmu_vcpu_root.enter(vcpu)?.vcpu.root?.header
}

@c @implementation
public func kvm_tdp_mmu_invalidate_all_roots(_ kvm: UnsafeMutablePointer<kvm>?) {
    Contract.kvm_tdp_mmu_invalidate_all_roots.enter(kvm)?.vm.invalidateAllRoots()
}

@c @implementation
public func kvm_tdp_mmu_zap_invalidated_roots(_ kvm: UnsafeMutablePointer<kvm>?) {
    Contract.kvm_tdp_mmu_zap_invalidated_roots.enter(kvm)?.vm.zapInvalidatedRoots()
}

@c @implementation
public func kvm_mmu_zap_all_fast(_ kvm: UnsafeMutablePointer<kvm>?) {
    Contract.kvm_mmu_zap_all_fast.enter(kvm)?.vm.zapAllFast()
}

@c @implementation
public func kvm_tdp_mmu_zap_all(_ kvm: UnsafeMutablePointer<kvm>?) {
    Contract.kvm_tdp_mmu_zap_all.enter(kvm)?.vm.zapAll()
}

// Faults --------------------------------------------------------------------

@c @implementation
public func kvm_tdp_mmu_map(
    _ vcpu: OpaquePointer?, _ gpa: gpa_t, _ error_code: UInt64, _ map_writable: Bool, _ max_level: Int32,
    _ pfn: kvm_pfn_t, _ prefault: Bool
) -> Int32 {
    guard let (vcpu, entry) = Contract.kvm_tdp_mmu_map.enter(vcpu), entry.isAddress(gpa),
          entry.isLevel(max_level, upTo: 3, "max_level is not 1 to 3 (max_level)") else { return .invalid }
    let page = PFN(pfn)
    if page != .noSlot {
        if page.isError { return FaultResult(answer: page).code }
        guard entry.isHostPage(pfn) else { return .invalid }
    }
    return Fault(
        vcpu: vcpu, FaultAccess(gpa, errorCode: error_code), pfn: page, hostWritable: map_writable,
        hostLevel: Level(max_level), prefetch: prefault).handle().code
}

@c @implementation
public func kvm_tdp_mmu_page_fault(_ vcpu: OpaquePointer?, _ gpa: gpa_t, _ error_code: UInt64) -> Int32 {
    guard let (vcpu, entry) = Contract.kvm_tdp_mmu_page_fault.enter(vcpu) else { return .invalid }
    let access = FaultAccess(gpa, errorCode: error_code)
    vcpu.traceFault(access)
    guard gpa >> 12 < entry.vm.gfnLimit.raw else { return FaultResult.emulate.code }
    return vcpu.pageFault(access).code
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
    guard let (vcpu, entry) = Contract.kvm_vcpu_pre_fault_memory.enter(vcpu) else { return .invalid }
    guard let range else {
        entry.refuse("range is NULL")
        return .invalid
    }
    guard isPrefaultRange(range.pointee) else { return .invalid }
    var done = false
    while range.pointee.size > 0 {
        guard range.pointee.gpa >> 12 < entry.vm.gfnLimit.raw else { return done ? 0 : -ENOENT }
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
    guard let (vcpu, entry) = Contract.kvm_tdp_mmu_get_walk.enter(vcpu) else { return .invalid }
    guard let sptes, let root_level else {
        entry.refuse("sptes or root_level is NULL")
        return .invalid
    }
    guard entry.isAddress(addr, "addr is beyond MAXPHYADDR (addr)") else { return .invalid }
    guard let root = vcpu.root else {
        entry.refuse("the vCPU has no root")
        return .invalid
    }
    root_level.pointee = root.level.raw
    return vcpu.walk(to: GFN(addr >> 12), from: root, sptes).raw
}

@c @implementation
public func kvm_tdp_mmu_fast_pf_get_last_sptep(
    _ vcpu: OpaquePointer?, _ gfn: gfn_t, _ spte: UnsafeMutablePointer<UInt64>?
) -> tdp_ptep_t? {
    guard let (vcpu, entry) = Contract.kvm_tdp_mmu_fast_pf_get_last_sptep.enter(vcpu) else { return nil }
    guard let spte else {
        entry.refuse("spte is NULL")
        return nil
    }
    guard entry.isPage(gfn) else { return nil }
    guard let root = vcpu.root else {
        entry.refuse("the vCPU has no root")
        return nil
    }
    let last = vcpu.lastEntry(for: GFN(gfn), from: root)
    spte.pointee = last.spte.raw
    return last.slot.pointer
}

@c @implementation
public func tdpmmu_fast_page_fault(_ vcpu: OpaquePointer?, _ gpa: gpa_t, _ error_code: UInt64) -> Int32 {
    guard let (vcpu, entry) = Contract.tdpmmu_fast_page_fault.enter(vcpu), entry.isAddress(gpa)
    else { return .invalid }
    guard let root = vcpu.root else {
        entry.refuse("the vCPU has no root")
        return .invalid
    }
    return vcpu.fastPageFault(FaultAccess(gpa, errorCode: error_code), from: root).code
}

// Zapping -------------------------------------------------------------------

@c @implementation
public func zap_gfn_range(
    _ kvm: UnsafeMutablePointer<kvm>?, _ root: UnsafeMutablePointer<kvm_mmu_page>?, _ start: gfn_t,
    _ end: gfn_t, _ can_yield: Bool
) -> Bool {
    guard let entry = Contract.zap_gfn_range.enter(kvm), let table = entry.root(root),
          entry.isRange(start, end) else { return false }
    // Others may drop the root while the lock is yielded.
    guard table.get() else {
        entry.refuse("root is dying (root)", UInt64(root))
        return false
    }
    var flush = false
    entry.vm.zapRange(table, start: GFN(start), end: GFN(end), canYield: can_yield, flush: &flush)
    entry.vm.putRoot(table)
    return flush
}

@c @implementation
public func kvm_tdp_mmu_zap_gfn_range(_ kvm: UnsafeMutablePointer<kvm>?, _ start: gfn_t, _ end: gfn_t) -> Bool {
    guard let entry = Contract.kvm_tdp_mmu_zap_gfn_range.enter(kvm), entry.isRange(start, end)
    else { return false }
    return entry.vm.zapRange(start: GFN(start), end: GFN(end))
}

@c @implementation
public func kvm_tdp_mmu_zap_leafs(
    _ kvm: UnsafeMutablePointer<kvm>?, _ start: gfn_t, _ end: gfn_t, _ flush: Bool
) -> Bool {
    guard let entry = Contract.kvm_tdp_mmu_zap_leafs.enter(kvm), entry.isRange(start, end)
    else { return flush }
    return entry.vm.zapLeafs(start: GFN(start), end: GFN(end), flush: flush)
}

@c @implementation
public func kvm_tdp_mmu_unmap_gfn_range(
    _ kvm: UnsafeMutablePointer<kvm>?, _ range: UnsafePointer<kvm_gfn_range>?, _ flush: Bool
) -> Bool {
    guard let entry = Contract.kvm_tdp_mmu_unmap_gfn_range.enter(kvm), let (range, space) = entry.range(range)
    else { return flush }
    return entry.vm.unmapRange(
        addressSpace: space, start: GFN(range.start), end: GFN(range.end),
        mayBlock: range.may_block, flush: flush)
}
