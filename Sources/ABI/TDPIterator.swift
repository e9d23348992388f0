// SPDX-License-Identifier: GPL-2.0-only
// tdp_iter.h
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

@c @implementation
public func is_shadow_present_pte(_ spte: UInt64) -> Bool { SPTE(spte).isPresent }

@c @implementation
public func is_large_pte(_ spte: UInt64) -> Bool { SPTE(spte).isLarge }

@c @implementation
public func is_last_spte(_ spte: UInt64, _ level: Int32) -> Bool { SPTE(spte).isLast(at: Level(level)) }

@c @implementation
public func is_frozen_spte(_ spte: UInt64) -> Bool { SPTE(spte).isFrozen }

@c @implementation
public func is_writable_pte(_ spte: UInt64) -> Bool { SPTE(spte).isWritable }

@c @implementation
public func spte_to_pfn(_ spte: UInt64) -> kvm_pfn_t { SPTE(spte).pfn.raw }

@c @implementation
public func is_mmio_spte(_ kvm: UnsafeMutablePointer<kvm>?, _ spte: UInt64) -> Bool {
    guard let entry = Contract.is_mmio_spte.enter(kvm) else { return false }
    return entry.vm.masks.isMMIO(SPTE(spte))
}

@c @implementation
public func is_accessed_spte(_ kvm: UnsafeMutablePointer<kvm>?, _ spte: UInt64) -> Bool {
    guard let entry = Contract.is_accessed_spte.enter(kvm) else { return false }
    return entry.vm.masks.isAccessed(SPTE(spte))
}

@c @implementation
public func is_dirty_spte(_ kvm: UnsafeMutablePointer<kvm>?, _ spte: UInt64) -> Bool {
    guard let entry = Contract.is_dirty_spte.enter(kvm) else { return false }
    return entry.vm.masks.isDirty(SPTE(spte))
}

@c @implementation
public func is_executable_pte(_ kvm: UnsafeMutablePointer<kvm>?, _ spte: UInt64) -> Bool {
    guard let entry = Contract.is_executable_pte.enter(kvm) else { return false }
    return entry.vm.masks.isExecutable(SPTE(spte))
}

@c @implementation
public func get_mmio_spte_generation(_ spte: UInt64) -> UInt64 { SPTE(spte).mmioGeneration }

@c @implementation
public func get_mmio_spte_gfn(_ kvm: UnsafeMutablePointer<kvm>?, _ spte: UInt64) -> gfn_t {
    guard let entry = Contract.get_mmio_spte_gfn.enter(kvm) else { return 0 }
    return entry.vm.masks.mmioGFN(SPTE(spte)).raw
}

@c @implementation
public func spte_to_child_pt(_ spte: UInt64, _ level: Int32) -> tdp_ptep_t? {
    let entry = SPTE(spte)
    guard (1...5).contains(level), entry.isTable(at: Level(level)),
          let table = Table(checkedAddress: Table.entries(of: entry.address)),
          Contract.spte_to_child_pt.enter(table) != nil else { return nil }
    return tdp_ptep_t(bitPattern: table.entries)
}

@c @implementation
public func sptep_to_sp(_ sptep: UnsafePointer<UInt64>?) -> UnsafeMutablePointer<kvm_mmu_page>? {
    Table(checkedAddress: UInt(bitPattern: sptep))?.page
}

@c @implementation
public func to_shadow_page(_ hpa: hpa_t) -> UnsafeMutablePointer<kvm_mmu_page>? {
    guard hpa & 4095 == 0 else { return nil }
    return Table(checkedAddress: Table.entries(of: hpa))?.page
}

@c @implementation
public func tdpmmu_table_hpa(_ sp: UnsafePointer<kvm_mmu_page>?) -> hpa_t {
    guard let sp, let table = Table(checkedHeader: UnsafeMutablePointer(mutating: sp)) else { return .max }
    return table.address
}

/// Begins a walk from the root table, where it will be stepped, if all about it is right.
private func start(
    _ iter: UnsafeMutablePointer<tdp_iter>, _ root_pt: UnsafeMutablePointer<UInt64>?, _ root_level: Int32,
    _ min_level: Int32, _ gfn: gfn_t
) -> Bool {
    let contract = Contract.tdp_iter_start
    guard let root_pt, UInt(bitPattern: root_pt) & 4095 == 0,
          let table = Table.found(at: UInt(bitPattern: root_pt)) else {
        contract.refuse("root_pt is no table (root_pt)", nil, UInt64(root_pt))
        return false
    }
    guard let entry = contract.enter(table) else { return false }
    guard root_level == table.level.raw else {
        entry.refuse("root_level is not the table's (root_level, the table's)", UInt64(signed: root_level),
                     UInt64(signed: table.level.raw))
        return false
    }
    guard entry.isLevel(min_level, upTo: root_level, "min_level is not 1 to root_level (min_level)"),
          entry.isRange(gfn, .max) else { return false }
    iter.pointee.start(root: table, minLevel: Level(min_level), from: GFN(gfn), entry.proof)
    return true
}

@c @implementation @_optimize(speed)
public func tdp_iter_start(
    _ iter: UnsafeMutablePointer<tdp_iter>?, _ root_pt: UnsafeMutablePointer<UInt64>?, _ root_level: Int32,
    _ min_level: Int32, _ next_last_level_gfn: gfn_t
) {
    guard let iter else {
        Contract.tdp_iter_start.refuse("iter is NULL")
        return
    }
    if !start(iter, root_pt, root_level, min_level, next_last_level_gfn) { iter.initialize(to: tdp_iter()) }
}

extension ContractFor where Proof: ~Copyable {
    /// A walk that has begun; one that is over or never was steps nowhere.
    @inline(__always)
    fileprivate func enter(begun iter: UnsafeMutablePointer<tdp_iter>?) -> UnsafeMutablePointer<tdp_iter>? {
        // As unsigned: one compare each.
        guard let iter, UInt32(bitPattern: iter.pointee.root_level &- 1) < 5,
              UInt32(bitPattern: iter.pointee.level &- 1) < UInt32(bitPattern: iter.pointee.root_level) else {
            refuse("iter is NULL or no walk has begun (iter)", nil, UInt64(iter))
            return nil
        }
        return iter
    }
}

extension ContractFor where Proof == TablesKept {
    /// May this thread look at SPTEs?  Outside an RCU reader the table could be gone,
    /// unless this thread holds Lock W, so that no other removes one: else the walk ends here.
    @inline(__always)
    fileprivate func enter(touching iter: UnsafeMutablePointer<tdp_iter>) -> TablesKept? {
        if let rcu = callersRCU() { return TablesKept(rcu) }
        return enterWithoutRCU(iter)
    }

    @inline(never)
    private func enterWithoutRCU(_ iter: UnsafeMutablePointer<tdp_iter>) -> TablesKept? {
        guard let table = Table(checkedAddress: UInt(bitPattern: iter.pointee.rootTable)) else {
            warn(.lock, function, "called outside an RCU reader, and the root table is gone")
            iter.pointee.valid = false
            return nil
        }
        if let entry = enter(table) { return TablesKept(entry.proof) }
        iter.pointee.valid = false
        return nil
    }
}

@c @implementation @_optimize(speed)
public func tdp_iter_next(_ iter: UnsafeMutablePointer<tdp_iter>?) {
    let contract = Contract.tdp_iter_next
    guard let iter = contract.enter(begun: iter), iter.pointee.valid, let kept = contract.enter(touching: iter)
    else { return }
    iter.pointee.next(kept)
}

@c @implementation
public func tdp_iter_restart(_ iter: UnsafeMutablePointer<tdp_iter>?) {
    let contract = Contract.tdp_iter_restart
    guard let iter = contract.enter(begun: iter), let kept = contract.enter(touching: iter) else { return }
    iter.pointee.restart(kept)
}

@c @implementation
public func tdp_iter_root_pt(_ iter: UnsafeMutablePointer<tdp_iter>?) -> tdp_ptep_t? {
    Contract.tdp_iter_root_pt.enter(begun: iter)?.pointee.rootTable
}
