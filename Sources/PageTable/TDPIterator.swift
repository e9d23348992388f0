// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

/// The pre-order walk over a paging structure, on the C struct itself: what a C
/// caller steps through is what the MMU's own operations step through.
extension tdp_iter {
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
    @inline(__always) package var isAtLeaf: Bool { old.isLeaf(at: atLevel) }
    @inline(__always) package var isAtTable: Bool { old.isTable(at: atLevel) }

    /// The root table of the walk.
    @inline(__always)
    package var rootTable: UnsafeMutablePointer<UInt64> {
        mutating get { table(at: Level(root_level)) }
    }

    /// Starts at the root entry that covers `gfn`.  Trusts its arguments.
    @inline(__always)
    package init(root: Table, minLevel: Level, from gfn: GFN) {
        self.init()
        min_level = minLevel.raw
        begin(root: root.entries, level: root.level, addressSpace: root.role.addressSpace, from: gfn)
    }

    @inline(__always)
    package mutating func begin(
        root: UnsafeMutablePointer<UInt64>, level: Level, addressSpace: Int32, from gfn: GFN
    ) {
        root_level = level.raw
        as_id = addressSpace
        next_last_level_gfn = gfn.raw
        setTable(root, at: level)
        restart()
    }

    /// Again from the root to where the walk wanted to go.
    @inline(__always)
    package mutating func restart() {
        yielded = false
        yielded_gfn = next_last_level_gfn
        level = root_level
        moveToEntry(covering: GFN(next_last_level_gfn))
        valid = true
    }

    @inline(__always) private mutating func moveToEntry(covering target: GFN) {
        let here = atLevel
        gfn = target.rounded(to: here).raw
        sptep = table(at: here) + target.index(at: here)
        reload()
    }

    /// Reads the current entry again.
    @inline(__always) package mutating func reload() { old = slot.load() }

    @inline(__always) private mutating func tryStepDown() -> Bool {
        guard level > min_level else { return false }
        // Again, because the entry may have changed since it was last read: going
        // by the old value could enter a table that is on its way out.
        reload()
        guard isAtTable else { return false }
        let child = UnsafeMutablePointer<UInt64>(bitPattern: Table.entries(of: old.address)).unsafelyUnwrapped
        level &-= 1
        setTable(child, at: atLevel)
        moveToEntry(covering: GFN(next_last_level_gfn))
        return true
    }

    @inline(__always) private mutating func tryStepSide() -> Bool {
        guard atGFN.index(at: atLevel) != entriesPerTable &- 1 else { return false }
        gfn = gfn &+ atLevel.pages
        next_last_level_gfn = gfn
        sptep = sptep.unsafelyUnwrapped + 1
        reload()
        return true
    }

    @inline(__always) private mutating func tryStepUp() -> Bool {
        guard level < root_level else { return false }
        level &+= 1
        moveToEntry(covering: atGFN)
        return true
    }

    /// Down if a table is there, else aside, else up until aside works.
    @inline(__always)
    package mutating func next() {
        if yielded {
            restart()
            return
        }
        if tryStepDown() { return }
        repeat {
            if tryStepSide() { return }
        } while tryStepUp()
        valid = false
    }
}
