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
    checkedVM(kvm, "is_mmio_spte")?.masks.isMMIO(SPTE(spte)) ?? false
}

@c @implementation
public func is_accessed_spte(_ kvm: UnsafeMutablePointer<kvm>?, _ spte: UInt64) -> Bool {
    checkedVM(kvm, "is_accessed_spte")?.masks.isAccessed(SPTE(spte)) ?? false
}

@c @implementation
public func is_dirty_spte(_ kvm: UnsafeMutablePointer<kvm>?, _ spte: UInt64) -> Bool {
    checkedVM(kvm, "is_dirty_spte")?.masks.isDirty(SPTE(spte)) ?? false
}

@c @implementation
public func is_executable_pte(_ kvm: UnsafeMutablePointer<kvm>?, _ spte: UInt64) -> Bool {
    checkedVM(kvm, "is_executable_pte")?.masks.isExecutable(SPTE(spte)) ?? false
}

@c @implementation
public func get_mmio_spte_generation(_ spte: UInt64) -> UInt64 { SPTE(spte).mmioGeneration }

@c @implementation
public func get_mmio_spte_gfn(_ kvm: UnsafeMutablePointer<kvm>?, _ spte: UInt64) -> gfn_t {
    checkedVM(kvm, "get_mmio_spte_gfn")?.masks.mmioGFN(SPTE(spte)).raw ?? 0
}

@c @implementation
public func spte_to_child_pt(_ spte: UInt64, _ level: Int32) -> tdp_ptep_t? {
    let entry = SPTE(spte)
    guard (1...5).contains(level), entry.isTable(at: Level(level)) else { return nil }
    return Table(checkedAddress: Table.entries(of: entry.address)).flatMap { tdp_ptep_t(bitPattern: $0.entries) }
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

/// The root table a walk is asked to begin at, if all about it is right.
private func checkedWalk(
    _ root_pt: UnsafeMutablePointer<UInt64>?, _ root_level: Int32, _ min_level: Int32, _ gfn: gfn_t
) -> Table? {
    let name: StaticString = "tdp_iter_start"
    guard let root_pt, UInt(bitPattern: root_pt) & 4095 == 0,
          let table = Table(checkedAddress: UInt(bitPattern: root_pt)) else {
        complain(.argument, name, "root_pt is no table", nil, UInt64(UInt(bitPattern: root_pt)))
        return nil
    }
    let vm = VM(UnsafeMutablePointer(bitPattern: table.ownerAddress).unsafelyUnwrapped)
    guard root_level == table.level.raw, (1...root_level).contains(min_level) else {
        complain(.argument, name, "levels that do not fit the table (root_level, min_level)", vm.kvm,
                 UInt64(bitPattern: Int64(root_level)), UInt64(bitPattern: Int64(min_level)))
        return nil
    }
    guard vm.isRange(gfn, .max, name) else { return nil }
    return table
}

@c @implementation
public func tdp_iter_start(
    _ iter: UnsafeMutablePointer<tdp_iter>?, _ root_pt: UnsafeMutablePointer<UInt64>?, _ root_level: Int32,
    _ min_level: Int32, _ next_last_level_gfn: gfn_t
) {
    guard let iter else {
        complain(.argument, "tdp_iter_start", "iter is NULL")
        return
    }
    iter.initialize(to: tdp_iter())
    let name: StaticString = "tdp_iter_start"
    guard let root = checkedWalk(root_pt, root_level, min_level, next_last_level_gfn) else { return }
    guard let kept = tablesKept(root) else {
        return complain(.lock, name, "called outside an RCU reader", owner(of: root)?.kvm)
    }
    iter.initialize(to: tdp_iter(root: root, minLevel: Level(min_level), from: GFN(next_last_level_gfn), kept))
}

/// A walk that has begun; one that is over or never was steps nowhere.
private func checkedIterator(
    _ iter: UnsafeMutablePointer<tdp_iter>?, _ function: StaticString
) -> UnsafeMutablePointer<tdp_iter>? {
    guard let iter, (1...5).contains(iter.pointee.root_level),
          (1...iter.pointee.root_level).contains(iter.pointee.level) else {
        complain(.argument, function, "iter is NULL or no walk has begun")
        return nil
    }
    return iter
}

private func owner(of table: Table) -> VM? {
    UnsafeMutablePointer(bitPattern: table.ownerAddress).map { VM($0) }
}

/// The caller's RCU reader, or mmu_lock that he holds for write.
@inline(__always)
private func tablesKept(_ root: @autoclosure () -> Table?) -> TablesKept? {
    if let rcu = callersRCU() { return TablesKept(rcu) }
    if let hold = root().flatMap({ owner(of: $0) })?.lock.callersWriteHold { return TablesKept(hold) }
    return nil
}

private func rootTable(_ iter: UnsafeMutablePointer<tdp_iter>) -> Table? {
    Table(checkedAddress: UInt(bitPattern: iter.pointee.rootTable))
}

/// Outside an RCU reader the table could be gone, unless nobody can remove one: the walk ends
/// here.
@inline(never)
private func end(_ iter: UnsafeMutablePointer<tdp_iter>, _ function: StaticString) {
    complain(.rcu, function, "an SPTE would be touched outside an RCU reader", rootTable(iter).flatMap { owner(of: $0) }?.kvm)
    iter.pointee.valid = false
}

@c @implementation
public func tdp_iter_next(_ iter: UnsafeMutablePointer<tdp_iter>?) {
    let name: StaticString = "tdp_iter_next"
    guard let iter = checkedIterator(iter, name), iter.pointee.valid else { return }
    guard let kept = tablesKept(rootTable(iter)) else { return end(iter, name) }
    iter.pointee.next(kept)
}

@c @implementation
public func tdp_iter_restart(_ iter: UnsafeMutablePointer<tdp_iter>?) {
    let name: StaticString = "tdp_iter_restart"
    guard let iter = checkedIterator(iter, name) else { return }
    guard let kept = tablesKept(rootTable(iter)) else { return end(iter, name) }
    iter.pointee.restart(kept)
}

@c @implementation
public func tdp_iter_root_pt(_ iter: UnsafeMutablePointer<tdp_iter>?) -> tdp_ptep_t? {
    checkedIterator(iter, "tdp_iter_root_pt")?.pointee.rootTable
}
