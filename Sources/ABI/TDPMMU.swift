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
    guard let vm = checkedVM(kvm, "kvm_mmu_init_tdp_mmu") else { return .invalid }
    return vm.setUp() ? 0 : -EBUSY
}

@c @implementation
public func kvm_mmu_uninit_tdp_mmu(_ kvm: UnsafeMutablePointer<kvm>?) {
    let name: StaticString = "kvm_mmu_uninit_tdp_mmu"
    guard let vm = checkedVM(kvm, name), vm.isReady(name), vm.mayGo(name) else { return }
    vm.tearDown()
}

// Roots -------------------------------------------------------------------

@c @implementation
public func kvm_tdp_mmu_get_vcpu_root_hpa(_ vcpu: OpaquePointer?) -> hpa_t {
    let name: StaticString = "kvm_tdp_mmu_get_vcpu_root_hpa"
    guard let vcpu = checkedVCPU(vcpu, name), vcpu.vm.isReady(name) else { return .max }
    return vcpu.acquireRoot()?.keep().address ?? .max
}

@c @implementation
public func kvm_tdp_mmu_get_root(_ root: UnsafeMutablePointer<kvm_mmu_page>?) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_get_root"
    guard let root, let table = Table(checkedHeader: root), table.isRoot else {
        complain(.argument, name, "root is NULL or no root")
        return false
    }
    let vm = VM(UnsafeMutablePointer(bitPattern: table.ownerAddress).unsafelyUnwrapped)
    // Without either the root may be gone before the count is looked at.
    guard rcuReadLockHeld() || vm.hold(name) != nil else { return false }
    return RootReference.take(table)?.keep() != nil
}

@c @implementation
public func kvm_tdp_mmu_put_root(_ kvm: UnsafeMutablePointer<kvm>?, _ root: UnsafeMutablePointer<kvm_mmu_page>?) {
    let name: StaticString = "kvm_tdp_mmu_put_root"
    guard let vm = checkedVM(kvm, name), let table = checkedRoot(root, of: vm, name) else { return }
    if !vm.putRoot(table) {
        complain(.argument, name, "there is no reference to drop but the MMU's own", kvm,
                 UInt64(UInt(bitPattern: root)))
    }
}

@c @implementation
public func kvm_mmu_load(_ vcpu: OpaquePointer?) -> Int32 {
    let name: StaticString = "kvm_mmu_load"
    guard let vcpu = checkedVCPU(vcpu, name), vcpu.vm.isReady(name), vcpu.vm.mayWait(name) else { return .invalid }
    switch vcpu.load() {
    case .done: return 0
    case .noMemory: return -ENOMEM
    case .notSetUp: return .invalid
    }
}

@c @implementation
public func kvm_mmu_unload(_ vcpu: OpaquePointer?) {
    checkedVCPU(vcpu, "kvm_mmu_unload")?.unload()
}

@c @implementation
public func tdpmmu_vcpu_root(_ vcpu: OpaquePointer?) -> UnsafeMutablePointer<kvm_mmu_page>? {
    guard let vcpu = checkedVCPU(vcpu, "tdpmmu_vcpu_root") else { return nil }
    return insideRCU { rcu in vcpu.root(rcu)?.page }
}

@c @implementation
public func kvm_tdp_mmu_invalidate_all_roots(_ kvm: UnsafeMutablePointer<kvm>?) {
    let name: StaticString = "kvm_tdp_mmu_invalidate_all_roots"
    guard let vm = checkedVM(kvm, name), let hold = vm.writeHold(name) else { return }
    vm.invalidateAllRoots(hold)
}

@c @implementation
public func kvm_tdp_mmu_zap_invalidated_roots(_ kvm: UnsafeMutablePointer<kvm>?) {
    let name: StaticString = "kvm_tdp_mmu_zap_invalidated_roots"
    guard let vm = checkedVM(kvm, name), vm.mayWait(name) else { return }
    vm.zapInvalidatedRoots()
}

@c @implementation
public func kvm_mmu_zap_all_fast(_ kvm: UnsafeMutablePointer<kvm>?) {
    let name: StaticString = "kvm_mmu_zap_all_fast"
    guard let vm = checkedVM(kvm, name), vm.mayTakeSlotsLock(name) else { return }
    vm.zapAllFast()
}

@c @implementation
public func kvm_tdp_mmu_zap_all(_ kvm: UnsafeMutablePointer<kvm>?) {
    let name: StaticString = "kvm_tdp_mmu_zap_all"
    guard let vm = checkedVM(kvm, name), var hold = vm.writeHold(name) else { return }
    vm.zapAll(&hold)
}

// Faults --------------------------------------------------------------------

@c @implementation
public func kvm_tdp_mmu_map(
    _ vcpu: OpaquePointer?, _ gpa: gpa_t, _ error_code: UInt64, _ map_writable: Bool, _ max_level: Int32,
    _ pfn: kvm_pfn_t, _ prefault: Bool
) -> Int32 {
    let name: StaticString = "kvm_tdp_mmu_map"
    guard let vcpu = checkedVCPU(vcpu, name) else { return .invalid }
    let vm = vcpu.vm, page = PFN(pfn)
    guard let hold = vm.hold(name), vm.isReady(name), vm.isAddress(gpa, name) else { return .invalid }
    guard (1...3).contains(max_level) else {
        complain(.argument, name, "max_level is not 1 to 3 (max_level)", vm.kvm,
                 UInt64(bitPattern: Int64(max_level)))
        return .invalid
    }
    if page != .noSlot && page.isError { return FaultResult(answer: page).code }
    guard page == .noSlot || pfn <= vm.pfnMask else {
        complain(.argument, name, "pfn beyond MAXPHYADDR (pfn)", vm.kvm, pfn)
        return .invalid
    }
    return Fault(
        vcpu: vcpu, FaultAccess(gpa, errorCode: error_code), pfn: page, hostWritable: map_writable,
        hostLevel: Level(max_level), prefetch: prefault).handle(hold).code
}

@c @implementation
public func kvm_tdp_mmu_page_fault(_ vcpu: OpaquePointer?, _ gpa: gpa_t, _ error_code: UInt64) -> Int32 {
    let name: StaticString = "kvm_tdp_mmu_page_fault"
    guard let vcpu = checkedVCPU(vcpu, name) else { return .invalid }
    let vm = vcpu.vm
    guard vm.isReady(name), vm.mayWait(name) else { return .invalid }
    let access = FaultAccess(gpa, errorCode: error_code)
    vcpu.traceFault(access)
    guard gpa >> 12 < vm.gfnLimit.raw else { return FaultResult.emulate.code }
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
    let name: StaticString = "kvm_vcpu_pre_fault_memory"
    guard let vcpu = checkedVCPU(vcpu, name), vcpu.vm.isReady(name), vcpu.vm.mayWait(name) else { return .invalid }
    guard let range, isPrefaultRange(range.pointee) else {
        complain(.argument, name, "range is NULL, unaligned, empty, wraps or has flags", vcpu.vm.kvm)
        return .invalid
    }
    var done = false
    while range.pointee.size > 0 {
        guard range.pointee.gpa >> 12 < vcpu.vm.gfnLimit.raw else { return done ? 0 : -ENOENT }
        switch vcpu.prefault(range.pointee.gpa) {
        case .mapped(let end):
            let step = min(range.pointee.size, end.raw << 12 - range.pointee.gpa)
            range.pointee.gpa += step
            range.pointee.size -= step
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
    let name: StaticString = "kvm_tdp_mmu_get_walk"
    guard let vcpu = checkedVCPU(vcpu, name) else { return .invalid }
    guard let sptes, let root_level else {
        complain(.argument, name, "sptes or root_level is NULL", vcpu.vm.kvm)
        return .invalid
    }
    guard vcpu.vm.isAddress(addr, name) else { return .invalid }
    guard let rcu = callersRCU() else {
        complain(.lock, name, "called outside an RCU reader", vcpu.vm.kvm)
        return .invalid
    }
    guard let root = vcpu.root(rcu) else {
        complain(.argument, name, "the vCPU has no root", vcpu.vm.kvm)
        return .invalid
    }
    root_level.pointee = root.level.raw
    return root.walk(to: GFN(addr >> 12), sptes, rcu).raw
}

@c @implementation
public func kvm_tdp_mmu_fast_pf_get_last_sptep(
    _ vcpu: OpaquePointer?, _ gfn: gfn_t, _ spte: UnsafeMutablePointer<UInt64>?
) -> tdp_ptep_t? {
    let name: StaticString = "kvm_tdp_mmu_fast_pf_get_last_sptep"
    guard let vcpu = checkedVCPU(vcpu, name) else { return nil }
    guard let rcu = callersRCU() else {
        complain(.lock, name, "called outside an RCU reader", vcpu.vm.kvm)
        return nil
    }
    guard let spte, let root = vcpu.root(rcu), gfn < vcpu.vm.gfnLimit.raw else {
        complain(.argument, name, "spte is NULL, gfn out of range, or the vCPU has no root (gfn)", vcpu.vm.kvm, gfn)
        return nil
    }
    let last = root.lastEntry(for: GFN(gfn), rcu)
    spte.pointee = last.spte.raw
    return tdp_ptep_t(bitPattern: last.slot.address)
}

@c @implementation
public func tdpmmu_fast_page_fault(_ vcpu: OpaquePointer?, _ gpa: gpa_t, _ error_code: UInt64) -> Int32 {
    let name: StaticString = "tdpmmu_fast_page_fault"
    guard let vcpu = checkedVCPU(vcpu, name), vcpu.vm.isAddress(gpa, name) else { return .invalid }
    guard vcpu.hasRoot else {
        complain(.argument, name, "the vCPU has no root", vcpu.vm.kvm)
        return .invalid
    }
    return vcpu.fastPageFault(FaultAccess(gpa, errorCode: error_code)).code
}

// Zapping -------------------------------------------------------------------

@c @implementation
public func zap_gfn_range(
    _ kvm: UnsafeMutablePointer<kvm>?, _ root: UnsafeMutablePointer<kvm_mmu_page>?, _ start: gfn_t,
    _ end: gfn_t, _ can_yield: Bool
) -> Bool {
    let name: StaticString = "zap_gfn_range"
    guard let vm = checkedVM(kvm, name), let table = checkedRoot(root, of: vm, name),
          var hold = vm.writeHold(name), vm.isRange(start, end, name) else { return false }
    // Others may drop the root while the lock is yielded.
    guard let reference = RootReference.take(table) else {
        complain(.argument, name, "the root is dying", kvm)
        return false
    }
    var flush = OwedFlush()
    vm.zapRange(reference, start: GFN(start), end: GFN(end), canYield: can_yield, &hold, owing: &flush)
    reference.put(vm)
    return flush.handOver()
}

@c @implementation
public func kvm_tdp_mmu_zap_gfn_range(_ kvm: UnsafeMutablePointer<kvm>?, _ start: gfn_t, _ end: gfn_t) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_zap_gfn_range"
    guard let vm = checkedVM(kvm, name), var hold = vm.writeHold(name), vm.isRange(start, end, name)
    else { return false }
    return vm.zapRange(start: GFN(start), end: GFN(end), &hold).handOver()
}

@c @implementation
public func kvm_tdp_mmu_zap_leafs(
    _ kvm: UnsafeMutablePointer<kvm>?, _ start: gfn_t, _ end: gfn_t, _ flush: Bool
) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_zap_leafs"
    guard let vm = checkedVM(kvm, name), var hold = vm.writeHold(name), vm.isRange(start, end, name)
    else { return flush }
    var owed = OwedFlush(handedOver: flush)
    vm.zapLeafs(start: GFN(start), end: GFN(end), &hold, owing: &owed)
    return owed.handOver()
}

@c @implementation
public func kvm_tdp_mmu_unmap_gfn_range(
    _ kvm: UnsafeMutablePointer<kvm>?, _ range: UnsafePointer<kvm_gfn_range>?, _ flush: Bool
) -> Bool {
    let name: StaticString = "kvm_tdp_mmu_unmap_gfn_range"
    guard let vm = checkedVM(kvm, name) else { return flush }
    guard var hold = vm.writeHold(name), let (range, space) = checkedRange(range, of: vm, name) else { return flush }
    var owed = OwedFlush(handedOver: flush)
    vm.unmapRange(
        addressSpace: space, start: GFN(range.start), end: GFN(range.end),
        mayBlock: range.may_block, &hold, owing: &owed)
    return owed.handOver()
}
