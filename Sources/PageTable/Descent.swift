// SPDX-License-Identifier: GPL-2.0-only

/// The way straight down from a root to one gfn.  Four loads: no iterator, no headers of the tables
/// on the way, which are other cache lines.
package struct Descent: StandsOnEntry {
    package let addressSpace: Int32
    private let target: GFN
    package private(set) var slot: SPTESlot
    package private(set) var atLevel: Level
    package var old: SPTE

    /// Begins at the root's entry that covers `target`.
    @inline(__always)
    package init(from root: Table, to target: GFN, _ protection: borrowing some KeepsTables & ~Copyable) {
        let role = root.role
        self.target = target
        addressSpace = role.addressSpace
        atLevel = role.level
        slot = root[target.index(at: role.level)]
        old = slot.load(protection)
    }

    /// At an entry of a table whose entries are known to lie there.
    @inline(__always)
    package init(
        resumedAt target: GFN, _ level: Level, inTable entries: UInt, _ addressSpace: Int32,
        _ protection: borrowing some KeepsTables & ~Copyable
    ) {
        self.target = target
        self.addressSpace = addressSpace
        atLevel = level
        let first = UnsafeMutablePointer<UInt64>(bitPattern: entries).unsafelyUnwrapped
        slot = SPTESlot(first + target.index(at: level))
        old = slot.load(protection)
    }

    @inline(__always) package var atGFN: GFN { target.rounded(to: atLevel) }

    /// Into the table that the value names which was read.
    @inline(__always)
    package mutating func enterTable(_ protection: borrowing some KeepsTables & ~Copyable) {
        let child = UnsafeMutablePointer<UInt64>(bitPattern: Table.entries(of: old.address)).unsafelyUnwrapped
        atLevel = atLevel.below
        slot = SPTESlot(child + target.index(at: atLevel))
        old = slot.load(protection)
    }

    /// Into the table that stands there now; false if none does.  Looks again, because the entry may have
    /// changed since it was read: going by the old value could enter a table that is on its way out.
    @inline(__always)
    package mutating func stepDown(_ protection: borrowing some KeepsTables & ~Copyable) -> Bool {
        old = slot.load(protection)
        guard isAtTable, atLevel > .page4K else { return false }
        enterTable(protection)
        return true
    }
}
