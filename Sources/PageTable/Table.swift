// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import Sync
import Synchronization

/// One table: a page of 512 SPTEs and its header.  It may be named anywhere; its entries
/// are read only with a proof that it stays (Protection.swift).
package struct Table: Equatable {
    let header: UnsafeMutablePointer<TableHeader>

    @inline(__always) init(_ header: UnsafeMutablePointer<TableHeader>) { self.header = header }

    /// A table that is remembered by the address of its header; nil for 0.
    @inline(__always)
    package init?(word: UInt) {
        guard let header = UnsafeMutablePointer<TableHeader>(bitPattern: word) else { return nil }
        self.header = header
    }

    /// Address of its header.
    @inline(__always) package var word: UInt { UInt(bitPattern: header) }

    /// As C has it.
    @inline(__always)
    package var page: UnsafeMutablePointer<kvm_mmu_page> {
        UnsafeMutableRawPointer(header).assumingMemoryBound(to: kvm_mmu_page.self)
    }

    /// The table whose page holds this address, which must be inside one.
    @inline(__always) package init(containing address: UInt) {
        let block = address & ~(TableArena.blockBytes &- 1)
        let page = (address &>> 12) & (TableArena.pagesPerBlock &- 1)
        header = UnsafeMutablePointer(bitPattern: block &+ page &* TableHeader.stride).unsafelyUnwrapped
    }

    /// The table that an entry stands in.
    @inline(__always)
    package init(of slot: SPTESlot) { self.init(containing: slot.address) }

    /// The table that a table entry points to.  Trusts the entry.
    @inline(__always)
    package init(child entry: SPTE, _ protection: borrowing some KeepsTables & ~Copyable) {
        self.init(containing: Self.entries(of: entry.address))
    }

    /// For addresses that a caller made up: nil unless a page of the arena is in use there.
    package init?(checkedAddress address: UInt) {
        guard let table = Self.found(at: address) else { return nil }
        self = table
    }

    /// The same for who has to look at every change of an entry.
    @inline(__always)
    package static func found(at address: UInt) -> Table? {
        guard TableArena.covers(address) else { return nil }
        let table = Table(containing: address)
        return table.isTable ? table : nil
    }

    /// For a header that a caller made up.
    package init?(checkedHeader page: UnsafeMutablePointer<kvm_mmu_page>) {
        self.init(headerInArena: page)
        guard isTable else { return nil }
    }

    /// Likewise, of a page that was handed out, and has not been linked or given back since.
    package init?(handedOutHeader page: UnsafeMutablePointer<kvm_mmu_page>) {
        self.init(headerInArena: page)
        guard header.pointee.isHandedOut.load(ordering: .relaxed) else { return nil }
    }

    /// nil unless there is a page with this header, in use or not.
    private init?(headerInArena page: UnsafeMutablePointer<kvm_mmu_page>) {
        let address = UInt(bitPattern: page)
        let block = address & ~(TableArena.blockBytes &- 1), offset = address &- block
        let index = offset / TableHeader.stride
        guard offset % TableHeader.stride == 0, index < TableArena.pagesPerBlock,
              TableArena.covers(block &+ index &* UInt(tableBytes)) else { return nil }
        self.init(UnsafeMutableRawPointer(page).assumingMemoryBound(to: TableHeader.self))
    }

    /// Virtual address of the table at a host-physical address.
    @inline(__always) package static func entries(of physical: UInt64) -> UInt {
        UInt(truncatingIfNeeded: physical) &+ TableArena.offset
    }

    @inline(__always) var entryPointer: tdp_ptep_t { header.pointee.spt.unsafelyUnwrapped }

    /// Address of the first entry, for C; nothing is read or written by it.
    @inline(__always) package var entries: UInt { UInt(bitPattern: entryPointer) }

    @inline(__always) package subscript(index: Int) -> SPTESlot { SPTESlot(entryPointer + index) }

    /// Host-physical address, as it stands in the parent's entry.
    @inline(__always) package var address: UInt64 {
        UInt64(entries &- TableArena.offset)
    }

    @inline(__always) package var gfn: GFN { GFN(header.pointee.gfn) }
    @inline(__always) package var level: Level { role.level }

    /// Relaxed: a fault decides under mmu_lock, where a root's validity stands still.
    @inline(__always)
    package var role: Role { Role(raw: header.pointee.role.load(ordering: .relaxed)) }

    /// The entry that points here; nil for a root.
    @inline(__always) package var parent: SPTESlot? { header.pointee.ptep.map { SPTESlot($0) } }
    package var isRoot: Bool { header.pointee.ptep == nil }

    /// Address of the struct kvm that owns it; 0 while the page is free.
    /// Acquire: pairs with the release in becomeTable().
    @inline(__always) package var ownerAddress: UInt { header.pointee.owner.load(ordering: .acquiring) }
    @inline(__always) package var isInUse: Bool { ownerAddress != 0 }

    /// Neither free nor handed out.
    @inline(__always) private var isTable: Bool { isInUse && header.pointee.isTable }

    /// Is each entry the one before it, with the next pfn of this level?  Of a table that only its maker reads and writes.
    package func isOneLeafInPieces(at level: Level) -> Bool {
        let entries = UnsafePointer(entryPointer), step = level.pages &<< 12
        var next = entries[0], difference: UInt64 = 0
        for index in 0..<entriesPerTable {
            difference |= entries[index] ^ next
            next &+= step
        }
        return difference == 0 && entries[0] & SPTE.mmuPresent != 0
    }

    // MARK: Life

    /// Takes a free page into use; its entries are filled already.
    @inline(__always)
    func becomeTable(owner: UInt, role: Role, gfn: GFN, parent: SPTESlot?) {
        header.pointee.gfn = gfn.raw
        header.pointee.ptep = parent.flatMap { tdp_ptep_t(bitPattern: $0.address) }
        header.pointee.isTable = true
        header.pointee.isNXSplit.store(false, ordering: .relaxed)
        header.pointee.isNXListed = false
        header.pointee.isScheduledToZap = false
        header.pointee.role.store(role.raw, ordering: .relaxed)
        header.pointee.references.store(0, ordering: .relaxed)
        // Release: pairs with ownerAddress, for pointers that a caller of the library made up.
        header.pointee.owner.store(owner, ordering: .releasing)
    }

    /// A caller of the library has it from here on: nobody else is to take it for a table.
    func handOut() {
        header.pointee.isTable = false
        // Release: pairs with claim(); who takes it back sees what was done with it before.
        header.pointee.isHandedOut.store(true, ordering: .releasing)
    }

    /// Takes it back from a caller; false: another thread just did.  Acquire: pairs with handOut().
    func claim() -> Bool {
        let won = header.pointee.isHandedOut.compareExchange(
            expected: true, desired: false, successOrdering: .acquiring, failureOrdering: .relaxed).exchanged
        if won { header.pointee.isTable = true }
        return won
    }

    /// Out of use: the last step before the page goes back to where it came from.
    package func retire() {
        header.pointee.owner.store(0, ordering: .relaxed)
        header.pointee.isTable = false
        header.pointee.ptep = nil
    }

    @inline(__always) package var rcuHead: UnsafeMutablePointer<rcu_head> {
        place(of: &header.pointee.rcuHead)
    }

    /// The table around an rcu_head: headers are aligned to their size.
    @inline(__always) package init(rcuHead: UnsafeMutablePointer<rcu_head>) {
        let address = UInt(bitPattern: rcuHead) & ~(TableHeader.stride &- 1)
        header = UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
    }

    /// Chain of pages that one owner has: strays of a removal, or a cache of free ones.
    @inline(__always) package var nextStray: Table? {
        get { Table(word: header.pointee.nextStray) }
        nonmutating set { header.pointee.nextStray = newValue?.word ?? 0 }
    }
}

/// What only roots have.  The list of roots and who may change it: MMU's Roots.swift.
extension Table {
    /// Next root of the list.  Acquire: pairs with the release that listed the root.
    package var nextRoot: Table? { Table(word: header.pointee.next.load(ordering: .acquiring)) }

    /// Release: pairs with nextRoot; a walk that finds the root sees it whole.
    package func setNextRoot(_ next: Table?) {
        header.pointee.next.store(next?.word ?? 0, ordering: .releasing)
    }

    package func invalidate() {
        header.pointee.role.store(role.invalidated.raw, ordering: .relaxed)
    }

    /// Invalidated, and the MMU's own reference not yet dropped.
    package var isScheduledToZap: Bool {
        get { header.pointee.isScheduledToZap }
        nonmutating set { header.pointee.isScheduledToZap = newValue }
    }

    /// How many references there are, for events and for tests.
    package var referenceCount: Int32 { header.pointee.references.load(ordering: .relaxed) }

    /// Before the root is listed.
    package func setReferences(_ count: Int32) { header.pointee.references.store(count, ordering: .relaxed) }

    /// Takes a reference unless the count is zero already: a dying root stays dead.
    package func addReference() -> Bool {
        var count = referenceCount
        while count > 0 {
            let (done, seen) = header.pointee.references.weakCompareExchange(
                expected: count, desired: count &+ 1, ordering: .relaxed)
            if done { return true }
            count = seen
        }
        return false
    }

    package enum DropResult {
        case stillUsed
        case last
        case refused
    }

    /// Drops a reference, but never the last one of a valid root.
    package func dropReference() -> DropResult {
        var count = referenceCount
        while true {
            if count <= 0 || (count == 1 && !role.isInvalid) { return .refused }
            // Release: what this user did to the tables comes before their end.  Acquire: pairs with
            // the releases here of all who dropped theirs before.
            let (done, seen) = header.pointee.references.weakCompareExchange(
                expected: count, desired: count &- 1,
                successOrdering: .acquiringAndReleasing, failureOrdering: .relaxed)
            if done { return count == 1 ? .last : .stillUsed }
            count = seen
        }
    }
}

/// What only tables have that stand in for a huge page.
extension Table {
    /// Stands in for a huge page that must not be executed.
    /// Relaxed: a fault that reads it late maps once more, or retries.
    package var isNXSplit: Bool {
        get { header.pointee.isNXSplit.load(ordering: .relaxed) }
        nonmutating set { header.pointee.isNXSplit.store(newValue, ordering: .relaxed) }
    }

    // The list of those that recovery may zap.

    package var isNXListed: Bool {
        get { header.pointee.isNXListed }
        nonmutating set { header.pointee.isNXListed = newValue }
    }

    package var nxNext: Table? {
        get { Table(word: header.pointee.nxNext) }
        nonmutating set { header.pointee.nxNext = newValue?.word ?? 0 }
    }

    package var nxPrevious: Table? {
        get { Table(word: header.pointee.nxPrevious) }
        nonmutating set { header.pointee.nxPrevious = newValue?.word ?? 0 }
    }
}
