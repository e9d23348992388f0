// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import Synchronization

/// One table: a page of 512 SPTEs and its header.
package struct Table: Equatable {
    package let header: UnsafeMutablePointer<kvm_mmu_page>

    @inline(__always) package init(_ header: UnsafeMutablePointer<kvm_mmu_page>) { self.header = header }

    /// The table whose page holds this address, which must be inside one.
    @inline(__always) package init(containing address: UInt) {
        let block = address & ~(TableArena.blockBytes &- 1)
        let page = (address &>> 12) & (TableArena.pagesPerBlock &- 1)
        header = UnsafeMutablePointer(bitPattern: block &+ page &* TableArena.headerBytes).unsafelyUnwrapped
    }

    /// The table that a table entry points to.  Trusts the entry.
    @inline(__always) package init(child entry: SPTE) {
        self.init(containing: Self.entries(of: entry.address))
    }

    /// For addresses that a caller made up: nil unless a page of the arena is in use there.
    package init?(checkedAddress address: UInt) {
        guard TableArena.covers(address) else { return nil }
        self.init(containing: address)
        guard isInUse else { return nil }
    }

    /// For a header that a caller made up.
    package init?(checkedHeader header: UnsafeMutablePointer<kvm_mmu_page>) {
        let address = UInt(bitPattern: header)
        let index = (address & (TableArena.blockBytes &- 1)) / TableArena.headerBytes
        let page = (address & ~(TableArena.blockBytes &- 1)) &+ index &* 4096
        guard address % TableArena.headerBytes == 0, index < TableArena.pagesPerBlock,
              TableArena.covers(page) else { return nil }
        self.init(header)
        guard isInUse else { return nil }
    }

    /// Virtual address of the table at a host-physical address.
    @inline(__always) package static func entries(of physical: UInt64) -> UInt {
        UInt(truncatingIfNeeded: physical) &+ TableArena.offset
    }

    @inline(__always) package var entries: UnsafeMutablePointer<UInt64> {
        header.pointee.spt.unsafelyUnwrapped
    }

    @inline(__always) package subscript(index: Int) -> SPTESlot { SPTESlot(entries + index) }

    /// Host-physical address, as it stands in the parent's entry.
    @inline(__always) package var address: UInt64 {
        UInt64(UInt(bitPattern: entries) &- TableArena.offset)
    }

    @inline(__always) package var level: Level { Level(role.level) }
    @inline(__always) package var gfn: GFN { GFN(header.pointee.gfn) }

    // Readers that hold no lock look at the role, the owner and the count.

    @inline(__always) private func field<T: ~Copyable>(_ offset: Int, as type: T.Type) -> UnsafeMutablePointer<T> {
        (UnsafeMutableRawPointer(header) + offset).assumingMemoryBound(to: T.self)
    }

    @inline(__always) package var roleWord: UnsafeMutablePointer<Atomic<UInt32>> {
        field(HeaderOffset.role, as: Atomic<UInt32>.self)
    }

    @inline(__always) package var role: Role {
        Role(raw: roleWord.pointee.load(ordering: .relaxed))
    }

    @inline(__always) private var owner: UnsafeMutablePointer<Atomic<UInt>> {
        field(HeaderOffset.owner, as: Atomic<UInt>.self)
    }

    @inline(__always) package var references: UnsafeMutablePointer<Atomic<Int32>> {
        field(HeaderOffset.references, as: Atomic<Int32>.self)
    }

    /// Next root of the list; meaningful for roots.
    @inline(__always) package var nextRoot: UnsafeMutablePointer<Atomic<UInt>> {
        field(HeaderOffset.next, as: Atomic<UInt>.self)
    }

    /// Stands in for a huge page that must not be executed.
    /// Relaxed: a fault that reads it late maps once more, or retries.
    package var isNXSplit: Bool {
        get { nxSplitByte.pointee.load(ordering: .relaxed) != 0 }
        nonmutating set { nxSplitByte.pointee.store(newValue ? 1 : 0, ordering: .relaxed) }
    }

    private var nxSplitByte: UnsafeMutablePointer<Atomic<UInt8>> {
        field(HeaderOffset.nxSplit, as: Atomic<UInt8>.self)
    }

    /// Neighbours in the list of tables that NX recovery may zap; 0 at the ends.
    package var nxNext: UnsafeMutablePointer<UInt> { field(HeaderOffset.nxNext, as: UInt.self) }
    package var nxPrevious: UnsafeMutablePointer<UInt> { field(HeaderOffset.nxPrevious, as: UInt.self) }
    /// In that list.
    package var isNXListed: UnsafeMutablePointer<UInt> { field(HeaderOffset.nxListed, as: UInt.self) }

    /// Invalidated, and the MMU's own reference not yet dropped; roots only.
    package var isScheduledToZap: UnsafeMutablePointer<Bool> {
        field(HeaderOffset.scheduledToZap, as: Bool.self)
    }

    @inline(__always) package var rcuHead: UnsafeMutablePointer<rcu_head> {
        field(HeaderOffset.rcuHead, as: rcu_head.self)
    }

    /// The table around an rcu_head: headers are aligned to their size.
    @inline(__always) package init(rcuHead: UnsafeMutablePointer<rcu_head>) {
        let address = UInt(bitPattern: rcuHead) & ~(TableArena.headerBytes &- 1)
        header = UnsafeMutablePointer(bitPattern: address).unsafelyUnwrapped
    }

    /// Address of the struct kvm that owns it; 0 while the page is free.
    /// Acquire: pairs with the release in becomeTable().
    package var ownerAddress: UInt { owner.pointee.load(ordering: .acquiring) }
    package var isInUse: Bool { ownerAddress != 0 }
    package var isRoot: Bool { header.pointee.ptep == nil }

    /// Chain of tables that one removal unlinked, until they are handed to RCU.
    @inline(__always) package var nextStray: Table? {
        get { UnsafeMutablePointer(bitPattern: UInt(header.pointee.tdpmmu_private.0)).map { Table($0) } }
        nonmutating set {
            header.pointee.tdpmmu_private.0 = UInt64(newValue.map { UInt(bitPattern: $0.header) } ?? 0)
        }
    }

    /// Takes a free page into use with nothing present.
    @inline(__always)
    package func becomeTable(owner kvm: UInt, role: Role, gfn: GFN, parent: SPTESlot?) {
        entries.update(repeating: SPTE.nonPresent.raw, count: entriesPerTable)
        header.pointee.gfn = gfn.raw
        header.pointee.ptep = parent?.pointer
        header.pointee.tdp_mmu_page = true
        isNXSplit = false
        isNXListed.pointee = 0
        isScheduledToZap.pointee = false
        roleWord.pointee.store(role.raw, ordering: .relaxed)
        references.pointee.store(0, ordering: .relaxed)
        // Release: pairs with isInUse, for callers that made up a pointer.
        owner.pointee.store(kvm, ordering: .releasing)
    }

    /// Out of use: the last step before the page goes back to the arena.
    package func retire() {
        owner.pointee.store(0, ordering: .relaxed)
        header.pointee.tdp_mmu_page = false
        header.pointee.ptep = nil
    }
}

/// Offsets in struct kvm_mmu_page; a C test pins them.
enum HeaderOffset {
    static let next = 0
    static let owner = 24
    static let rcuHead = 40
    static let role = 56
    static let references = 60
    static let nxSplit = 65
    static let scheduledToZap = 66
    // In tdpmmu_private, behind the chain of strays.
    static let nxNext = 80
    static let nxPrevious = 88
    static let nxListed = 96
}

/// The kernel's role word: what sort of table it is.
package struct Role: Equatable {
    package var raw: UInt32

    @inline(__always) package init(raw: UInt32) { self.raw = raw }

    /// direct, access rwx, efer_nx, cr0_wp: the same for every TDP table.
    private static let constant: UInt32 = (1 &<< 7) | (7 &<< 8) | (1 &<< 12) | (1 &<< 13)
    package static let invalidBit: UInt32 = 1 &<< 11

    package init(rootLevel: Level, addressSpace: Int32, adDisabled: Bool) {
        raw = Self.constant | UInt32(bitPattern: rootLevel.raw) & 0xf
            | (adDisabled ? 1 &<< 16 : 0) | UInt32(bitPattern: addressSpace) &<< 24
    }

    @inline(__always) package var level: Int32 { Int32(bitPattern: raw & 0xf) }
    @inline(__always) package var isInvalid: Bool { raw & Self.invalidBit != 0 }
    @inline(__always) package var addressSpace: Int32 { Int32(bitPattern: raw &>> 24) }

    /// Role of a table one level down.
    @inline(__always) package var child: Role { Role(raw: raw &- 1) }
}
