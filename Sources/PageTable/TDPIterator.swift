// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

/// What an SPTE is changed through: a walk, or one way down, which stands on an entry.
package protocol StandsOnEntry {
    var slot: SPTESlot { get }
    /// The entry's value when last read.
    var old: SPTE { get set }
    /// First gfn that it covers.
    var atGFN: GFN { get }
    var atLevel: Level { get }
    var addressSpace: Int32 { get }
}

extension StandsOnEntry {
    @inline(__always) package var isAtLeaf: Bool { old.isLeaf(at: atLevel) }
    @inline(__always) package var isAtTable: Bool { old.isTable(at: atLevel) }

    /// Runs `body` on where this stands: for code that is much, and need not stand once for each who stands on entries.
    @inline(__always)
    package mutating func withPlace<T>(_ body: (inout EntryPlace) -> T) -> T {
        var place = EntryPlace(slot: slot, old: old, atGFN: atGFN, atLevel: atLevel, addressSpace: addressSpace)
        let result = body(&place)
        old = place.old
        return result
    }
}

/// An entry and its place, and nothing more.
package struct EntryPlace: StandsOnEntry {
    package let slot: SPTESlot
    package var old: SPTE
    package let atGFN: GFN
    package let atLevel: Level
    package let addressSpace: Int32
}

/// The pre-order walk over a paging structure, on the C struct itself: what a C
/// caller steps through is what the MMU's own operations step through.
extension tdp_iter: StandsOnEntry {
    /// Table of the walk at a level.
    @inline(__always) private mutating func setTable(_ table: UnsafeMutablePointer<UInt64>, at level: Level) {
        withUnsafeMutablePointer(to: &pt_path) { path in
            UnsafeMutableRawPointer(path).storeBytes(
                of: table, toByteOffset: Int(level.raw &- 1) &* 8, as: UnsafeMutablePointer<UInt64>.self)
        }
    }

    @inline(__always) private mutating func table(at level: Level) -> UnsafeMutablePointer<UInt64> {
        withUnsafeMutablePointer(to: &pt_path) { path in
            UnsafeMutableRawPointer(path).load(
                fromByteOffset: Int(level.raw &- 1) &* 8, as: UnsafeMutablePointer<UInt64>.self)
        }
    }

    // The C names say int, uint64_t and pointer; the walk speaks in types.

    @inline(__always) package var atLevel: Level { Level(level) }
    @inline(__always) package var atGFN: GFN { GFN(gfn) }
    @inline(__always) package var slot: SPTESlot { SPTESlot(sptep.unsafelyUnwrapped) }
    @inline(__always) package var old: SPTE {
        get { SPTE(old_spte) }
        set { old_spte = newValue.raw }
    }
    @inline(__always) package var addressSpace: Int32 { as_id }

    /// The root table of the walk.
    @inline(__always)
    package var rootTable: UnsafeMutablePointer<UInt64> {
        mutating get { table(at: Level(root_level)) }
    }

    /// Starts at the root entry that covers `gfn`.  Trusts its arguments.
    @inline(__always)
    package init(root: Table, minLevel: Level, from gfn: GFN, _ protection: borrowing some KeepsTables & ~Copyable) {
        self.init()
        start(root: root, minLevel: minLevel, from: gfn, protection)
    }

    /// The same in a struct that lies where it will be stepped: what is built and then copied is copied
    /// in wider pieces than it was written in, and each such load waits until the stores have left the CPU.
    @inline(__always)
    package mutating func start(
        root: Table, minLevel: Level, from gfn: GFN, _ protection: borrowing some KeepsTables & ~Copyable
    ) {
        min_level = minLevel.raw
        begin(root: root, from: gfn, protection)
    }

    @inline(__always)
    private mutating func begin(
        root: Table, from gfn: GFN, _ protection: borrowing some KeepsTables & ~Copyable
    ) {
        let role = root.role
        root_level = role.level.raw
        as_id = role.addressSpace
        next_last_level_gfn = gfn.raw
        setTable(root.entryPointer, at: role.level)
        restart(protection)
    }

    /// Again from the root to where the walk wanted to go.
    @inline(__always)
    package mutating func restart(_ protection: borrowing some KeepsTables & ~Copyable) {
        yielded = false
        yielded_gfn = next_last_level_gfn
        level = root_level
        moveToEntry(covering: GFN(next_last_level_gfn), protection)
        valid = true
    }

    @inline(__always)
    private mutating func moveToEntry(
        covering target: GFN, _ protection: borrowing some KeepsTables & ~Copyable
    ) {
        let here = atLevel
        gfn = target.rounded(to: here).raw
        sptep = table(at: here) + target.index(at: here)
        reload(protection)
    }

    /// Reads the current entry again.
    @inline(__always)
    package mutating func reload(_ protection: borrowing some KeepsTables & ~Copyable) {
        old = slot.load(protection)
    }

    @inline(__always)
    private mutating func tryStepDown(_ protection: borrowing some KeepsTables & ~Copyable) -> Bool {
        guard level > min_level else { return false }
        // Again, because the entry may have changed since it was last read: going
        // by the old value could enter a table that is on its way out.
        reload(protection)
        guard isAtTable else { return false }
        let child = UnsafeMutablePointer<UInt64>(bitPattern: Table.entries(of: old.address)).unsafelyUnwrapped
        level &-= 1
        setTable(child, at: atLevel)
        moveToEntry(covering: GFN(next_last_level_gfn), protection)
        return true
    }

    @inline(__always)
    private mutating func tryStepSide(_ protection: borrowing some KeepsTables & ~Copyable) -> Bool {
        guard atGFN.index(at: atLevel) != entriesPerTable &- 1 else { return false }
        gfn = gfn &+ atLevel.pages
        next_last_level_gfn = gfn
        sptep = sptep.unsafelyUnwrapped + 1
        reload(protection)
        return true
    }

    @inline(__always)
    private mutating func tryStepUp(_ protection: borrowing some KeepsTables & ~Copyable) -> Bool {
        guard level < root_level else { return false }
        level &+= 1
        moveToEntry(covering: atGFN, protection)
        return true
    }

    /// What is left of the table of 4K leaves that the walk stands in, up to `end`.
    @inline(__always)
    package func row(until end: GFN) -> SPTERow { SPTERow(from: slot, count: entriesLeft(until: end)) }

    @inline(__always)
    private func entriesLeft(until end: GFN) -> Int {
        Int(truncatingIfNeeded: min(UInt64(entriesPerTable) &- (gfn & 511), end.raw &- gfn))
    }

    /// Onto the row's last entry, whose value is not read.
    @inline(__always)
    package mutating func passRow(until end: GFN) {
        let step = entriesLeft(until: end) &- 1
        gfn = gfn &+ UInt64(truncatingIfNeeded: step)
        next_last_level_gfn = gfn
        sptep = sptep.unsafelyUnwrapped + step
    }

    /// Down if a table is there, else aside, else up until aside works.
    @inline(__always)
    package mutating func next(_ protection: borrowing some KeepsTables & ~Copyable) {
        if yielded {
            restart(protection)
            return
        }
        if tryStepDown(protection) { return }
        repeat {
            if tryStepSide(protection) { return }
        } while tryStepUp(protection)
        valid = false
    }
}
