// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import Synchronization

/// struct kvm_mmu_page as the library writes it: the same fields at the same places, those
/// atomic that are looked at without a lock.  (PageTableTests hold the two against each other.)
/// Who writes what under which lock: docs/LOCKING.md.
struct TableHeader: ~Copyable {
    /// Next root of the list (a header's address), or next free page; 0 at the end.
    let next: Atomic<UInt>
    var spt: UnsafeMutablePointer<UInt64>?
    var gfn: UInt64
    /// Address of the struct kvm that owns it; 0 while the page is free.
    let owner: Atomic<UInt>
    /// The entry that points here; nil for a root.
    var ptep: UnsafeMutablePointer<UInt64>?
    var rcuHead: rcu_head
    let role: Atomic<UInt32>
    /// References to a root.
    let references: Atomic<Int32>
    var isTable: Bool
    /// Stands in for a huge page that must not be executed.
    let isNXSplit: Atomic<Bool>
    /// Invalidated, and the MMU's own reference not yet dropped.
    var isScheduledToZap: Bool
    /// A caller of the library has the table, which is linked nowhere; who takes it back or links it clears this first.
    let isHandedOut: Atomic<Bool>
    /// Keeps what follows at its place.
    var unused32: UInt32
    /// Chain of pages that one owner has (strays of a removal, a cache); 0 at the end.
    var nextStray: UInt
    /// Neighbours in the list of tables that NX recovery may zap; 0 at the ends.
    var nxNext: UInt
    var nxPrevious: UInt
    /// In that list.
    var isNXListed: Bool

    /// Headers are this far apart, and aligned to it.
    static var stride: UInt { 128 }
}
