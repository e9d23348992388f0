// SPDX-License-Identifier: GPL-2.0-only

/// One change of one SPTE.
package struct SPTEChange {
    package let addressSpace: Int32
    package let gfn: GFN
    package let level: Level
    package let old: SPTE
    package let new: SPTE

    @inline(__always)
    package init(addressSpace: Int32, gfn: GFN, level: Level, old: SPTE, new: SPTE) {
        self.addressSpace = addressSpace
        self.gfn = gfn
        self.level = level
        self.old = old
        self.new = new
    }

    /// Does it cut off a table, and all that is below?
    @inline(__always)
    package var removesTable: Bool { old.isTable(at: level) && !new.isTable(at: level) }

    /// Does it take anything away that a CPU may have remembered: a page, a right, or that
    /// a page is dirty already?  (Accessed alone is a hint.)
    @inline(__always)
    package func takesAway(_ masks: SPTEMasks) -> Bool {
        if isOfBits(masks) { return old.raw & ~new.raw & (SPTE.writable | masks.dirty) != 0 }
        guard old.isLeaf(at: level) else { return removesTable }
        return !new.isPresent || old.pfn != new.pfn || masks.loses(old, new)
    }

    /// Nothing but Accessed or Dirty changes, or W goes, in an entry that stays: what aging and
    /// dirty logs do by the million, and what is always legal.
    @inline(__always)
    package func isOfBits(_ masks: SPTEMasks) -> Bool {
        let changed = old.raw ^ new.raw
        return changed & ~masks.logBits == 0 && old.isPresent && changed & new.raw & SPTE.writable == 0
    }

    /// A leaf stays, gets bits and loses none, and its page is the same.
    @inline(__always)
    package var onlyPermits: Bool {
        old.isLeaf(at: level) && old.raw & ~new.raw == 0 && (old.raw ^ new.raw) & SPTE.addressMask == 0
    }

    /// Why this must never happen, or nil.
    @inline(__always)
    package func violation(_ masks: SPTEMasks) -> StaticString? {
        if isOfBits(masks) { return nil }
        if new.isPresent {
            if new.isLast(at: level) {
                if level > .maxHuge { return "a leaf above 1G" }
                if !masks.writableBitsAgree(new) { return "writable bits that contradict each other" }
                if old.isLeaf(at: level) && old.pfn != new.pfn {
                    return "a present leaf may not change its pfn in one step"
                }
            } else if old.isTable(at: level) && old.pfn != new.pfn {
                return "a table may not be replaced by another in one step"
            }
        } else if !old.isPresent && !new.isFrozen && !old.isFrozen
                    && !masks.isMMIO(new) && !masks.isMMIO(old) {
            return "a non-present value that is neither frozen nor MMIO replaces another"
        }
        return nil
    }

    /// Why the CPU, which only ever sets Accessed and Dirty, must not have done this; or nil.
    @inline(__always)
    package func violationByCPU(_ masks: SPTEMasks) -> StaticString? {
        let changed = old.raw ^ new.raw
        guard old.isPresent, old.raw & changed == 0, changed & ~(masks.accessed | masks.dirty) == 0
        else { return "a CPU sets Accessed and Dirty of a present entry, and nothing else" }
        return nil
    }
}
