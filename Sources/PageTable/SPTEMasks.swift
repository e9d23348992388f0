// SPDX-License-Identifier: GPL-2.0-only
// How one VM encodes its SPTEs: EPT or NPT, with or without A/D bits.
import CTDPMMU

package enum Vendor {
    case ept
    case npt
}

/// What decides the value of a leaf.
package struct LeafRequest {
    package var gfn: GFN
    package var pfn: PFN
    package var level: Level
    /// The value it replaces.
    package var old: SPTE
    /// The host lets the page be written.
    package var hostWritable: Bool
    /// The guest did not touch the page yet.
    package var prefetch: Bool
    /// A huge leaf must not be executed.
    package var noExecuteHuge: Bool

    @inline(__always)
    package init(
        gfn: GFN, pfn: PFN, level: Level, old: SPTE, hostWritable: Bool, prefetch: Bool,
        noExecuteHuge: Bool = false
    ) {
        self.gfn = gfn
        self.pfn = pfn
        self.level = level
        self.old = old
        self.hostWritable = hostWritable
        self.prefetch = prefetch
        self.noExecuteHuge = noExecuteHuge
    }
}

/// What may be wrong with a leaf.
package enum LeafFlaw: UInt8 {
    case size, writable, tracking, reserved, execution
}

package struct SPTEMasks {
    /// Set in every present leaf.
    private let leafBits: UInt64
    /// Set in every table entry.
    private let tableBits: UInt64
    /// Permission to execute: these set, `noExecute` clear.
    private let execute: UInt64
    private let noExecute: UInt64
    /// Zero where hardware has no such bit.
    package let accessed: UInt64
    package let dirty: UInt64
    /// Accessed, Dirty and W: what the dirty log and aging change.
    let logBits: UInt64
    /// Host-writable, MMU-writable and W: what a leaf has that may be written.
    private let writableBits: UInt64
    package let hostWritable: UInt64
    package let mmuWritable: UInt64
    /// RWX of EPT, cleared to track accesses without an Accessed bit.
    private let accessTrack: UInt64
    private let mmioMask: UInt64
    private let mmioValue: UInt64
    package let mmioAccess: UInt64
    /// Address bits that stand inverted in an MMIO SPTE, so that what a leaky CPU
    /// would fetch is not cached; the gfn's own bits move up by `l1tfShift`.
    private let l1tfMask: UInt64
    private static var l1tfShift: UInt64 { 5 }

    package init(vendor: Vendor, maxPhysicalBits: Int, adDisabled: Bool, l1tfCacheBits: Int = 0) {
        l1tfMask = l1tfCacheBits == 0 ? 0 : (0b11111 &<< UInt64(truncatingIfNeeded: l1tfCacheBits &- 5))
        switch vendor {
        case .ept:
            let suppressVE: UInt64 = 1 &<< 63
            let read: UInt64 = 1, exec: UInt64 = 4
            let writeBack: UInt64 = 6 &<< 3, ignorePAT: UInt64 = 1 &<< 6
            let adType = adDisabled ? SPTE.adDisabled : 0
            accessed = adDisabled ? 0 : 1 &<< 8
            dirty = adDisabled ? 0 : 1 &<< 9
            leafBits = SPTE.mmuPresent | suppressVE | read | exec | writeBack | ignorePAT | adType
            tableBits = SPTE.mmuPresent | suppressVE | read | SPTE.writable | exec | adType | accessed
            execute = exec
            noExecute = 0
            hostWritable = 1 &<< 57
            mmuWritable = 1 &<< 58
            accessTrack = 7
            // Writable and executable but not readable: always a misconfiguration.
            mmioMask = 7 | suppressVE
            mmioValue = 6
            mmioAccess = 0
        case .npt:
            let present: UInt64 = 1, user: UInt64 = 4
            accessed = 1 &<< 5
            dirty = 1 &<< 6
            leafBits = SPTE.mmuPresent | present | user
            tableBits = SPTE.mmuPresent | present | SPTE.writable | user | accessed
            execute = 0
            noExecute = 1 &<< 63
            hostWritable = 1 &<< 9
            mmuWritable = 1 &<< 10
            accessTrack = 0
            // Bit 51 faults as reserved only while no physical address reaches it.
            let reserved: UInt64 = maxPhysicalBits < 52 ? (1 &<< 51) | present : 0
            mmioMask = reserved
            mmioValue = reserved
            mmioAccess = 6
        }
        logBits = accessed | dirty | SPTE.writable
        writableBits = hostWritable | mmuWritable | SPTE.writable
        // A bit with two meanings would let one be mistaken for the other.
        assert(hostWritable & mmuWritable == 0 && (hostWritable | mmuWritable) & leafBits == 0)
        assert((accessed | dirty) & (hostWritable | mmuWritable | SPTE.mmuPresent) == 0)
    }

    /// The same for C.
    package func describe(in facts: inout tdpmmu_facts) {
        facts.leaf_bits = leafBits
        facts.table_bits = tableBits
        facts.accessed = accessed
        facts.dirty = dirty
        facts.host_writable = hostWritable
        facts.mmu_writable = mmuWritable
        facts.execute = execute
        facts.no_execute = noExecute
        facts.access_track = accessTrack
        facts.mmio_mask = mmioMask
        facts.mmio_value = mmioValue
        facts.mmio_access = mmioAccess
        facts.l1tf_mask = l1tfMask
    }

    /// Is it one bit, and one of Accessed, Dirty and W?
    @inline(__always) package func isOneOfLog(_ bits: UInt64) -> Bool {
        bits != 0 && bits & (bits &- 1) == 0 && bits & ~logBits == 0
    }

    /// False where an MMIO SPTE could be taken for a real one: then MMIO is not cached.
    @inline(__always) package var cachesMMIO: Bool { mmioValue != 0 }

    @inline(__always) package func table(at address: UInt64) -> SPTE { SPTE(address | tableBits) }

    /// The SPTE that a fault installs.
    @inline(__always) package func leaf(_ r: LeafRequest) -> SPTE {
        r.prefetch ? markForAccessTrack(usedLeaf(r)) : usedLeaf(r)
    }

    /// The same for a guest that did.
    @inline(__always) package func usedLeaf(_ r: LeafRequest) -> SPTE {
        var bits = leafBits | accessed | (r.pfn.raw &<< 12)
        if r.level > .page4K {
            bits |= SPTE.pageSize
            if r.noExecuteHuge { bits = bits & ~execute | noExecute }
        }
        if r.hostWritable {
            bits |= writableBits
            // As Linux 6.12 does: what could be a leaf here and had bit 1 counts as
            // dirtied already, a stale MMIO SPTE included.
            if !(r.old.isWritable && r.old.isLast(at: r.level)) { bits |= dirty }
        }
        return SPTE(bits)
    }

    /// The first of the 512 entries that together map what `huge` maps; the others differ from
    /// it by their addresses.  `executable`: a 4K child may be executed though the huge leaf must not.
    @inline(__always)
    package func splitChild(of huge: SPTE, at level: Level, executable: Bool) -> SPTE {
        guard level.below == .page4K else { return huge }
        let child = SPTE(huge.raw & ~SPTE.pageSize)
        return executable ? permittingExecution(child) : child
    }

    /// The huge leaf at `level` whose first child is `child`.
    package func hugeLeaf(from child: SPTE, at level: Level, executable: Bool) -> SPTE {
        let huge = SPTE(child.raw | SPTE.pageSize)
        return executable ? huge : forbiddingExecution(huge)
    }

    @inline(__always)
    private func permittingExecution(_ spte: SPTE) -> SPTE {
        beneathAccessTrack(spte) { SPTE($0.raw & ~noExecute | execute) }
    }

    private func forbiddingExecution(_ spte: SPTE) -> SPTE {
        beneathAccessTrack(spte) { SPTE($0.raw & ~execute | noExecute) }
    }

    /// Changes the permissions that an entry has or, if it is access-tracked, will have again.
    @inline(__always)
    private func beneathAccessTrack(_ spte: SPTE, _ change: (SPTE) -> SPTE) -> SPTE {
        isAccessTracked(spte) ? markForAccessTrack(change(restoreAccessTrack(spte))) : change(spte)
    }

    /// A leaf like `old`, for another page that the host does not let be written,
    /// and not used yet.
    package func readOnlyLeaf(like old: SPTE, _ pfn: PFN) -> SPTE {
        let kept = old.raw & ~(SPTE.addressMask | SPTE.writable | hostWritable | mmuWritable)
        return markForAccessTrack(SPTE(kept | (pfn.raw &<< 12)))
    }

    /// What makes two leaves interchangeable, but for address, level, A and D.
    package func permissions(_ spte: SPTE) -> UInt64 {
        spte.raw & ~(SPTE.addressMask | SPTE.pageSize | accessed | dirty)
    }

    /// Make the next access visible: clear Accessed, or take RWX away and remember R and X.
    @inline(__always) package func markForAccessTrack(_ spte: SPTE) -> SPTE {
        if accessed != 0 { return SPTE(spte.raw & ~accessed) }
        if isAccessTracked(spte) { return spte }
        let saved = (spte.raw & SPTE.savedMask) &<< SPTE.savedShift
        return SPTE((spte.raw & ~accessTrack) | saved)
    }

    @inline(__always) package func isAccessTracked(_ spte: SPTE) -> Bool {
        accessTrack != 0 && spte.isPresent && spte.raw & SPTE.adTypeMask != 0
            && spte.raw & accessTrack == 0
    }

    /// Do leaves lose their rights to make the next access visible?
    @inline(__always) package var tracksAccess: Bool { accessTrack != 0 }

    @inline(never) package func restoredIfTracked(_ spte: SPTE) -> SPTE {
        isAccessTracked(spte) ? restoreAccessTrack(spte) : spte
    }

    /// Gives an access-tracked entry its permissions back, all but W.
    @inline(__always) package func restoreAccessTrack(_ spte: SPTE) -> SPTE {
        let saved = (spte.raw &>> SPTE.savedShift) & SPTE.savedMask
        return SPTE((spte.raw & ~(SPTE.savedMask &<< SPTE.savedShift)) | saved)
    }

    @inline(__always) package func isMMUWritable(_ spte: SPTE) -> Bool { spte.raw & mmuWritable != 0 }

    @inline(__always) package func isAccessed(_ spte: SPTE) -> Bool {
        accessed != 0 ? spte.raw & accessed != 0 : spte.isPresent && !isAccessTracked(spte)
    }

    /// Without a Dirty bit, being writable is being dirty.
    @inline(__always) package func isDirty(_ spte: SPTE) -> Bool {
        dirty != 0 ? spte.raw & dirty != 0 : spte.isPresent && spte.isWritable
    }

    @inline(__always) package func isExecutable(_ spte: SPTE) -> Bool {
        spte.isPresent && spte.raw & execute == execute && spte.raw & noExecute == 0
    }

    /// May the CPU read through it?  NPT: P.  EPT: R.  Both are bit 0.
    @inline(__always) package func isReadable(_ spte: SPTE) -> Bool {
        spte.isPresent && spte.raw & 1 != 0
    }

    /// U, as the kernel's traces show it: under EPT, which has no such bit, R stands for it.
    package func userBit(_ spte: SPTE) -> Int8 { spte.raw & (noExecute != 0 ? 4 : 1) != 0 ? 1 : 0 }

    /// Could a CPU or a fast fault change it without mmu_lock?  Then it is to be read and
    /// written in one atomic step, or a bit set in between is lost.
    @inline(__always) package func hasVolatileBits(_ spte: SPTE) -> Bool {
        guard spte.isPresent else { return false }
        if !spte.isWritable && spte.raw & mmuWritable != 0 { return true }
        if accessed != 0 && spte.raw & accessed == 0 { return true }
        return accessed == 0 ? isAccessTracked(spte)
            : spte.isWritable && spte.raw & dirty == 0
    }

    /// All bits that hasVolatileBits() looks at.
    package var volatilityBits: UInt64 {
        SPTE.mmuPresent | SPTE.writable | mmuWritable | accessed | dirty | SPTE.adTypeMask | accessTrack
    }

    /// Does `new` lack a right, or the Dirty bit, of `old`?
    @inline(__always) package func loses(_ old: SPTE, _ new: SPTE) -> Bool {
        let lost = old.raw & ~new.raw, gained = new.raw & ~old.raw
        return lost & (1 | SPTE.writable | execute | dirty) != 0 || gained & noExecute != 0
    }

    @inline(__always) package func mmio(_ gfn: GFN, generation: UInt64) -> SPTE {
        let address = gfn.raw &<< 12
        return SPTE(mmioValue | mmioAccess | SPTE.mmioGenerationBits(generation)
            | address | l1tfMask | ((address & l1tfMask) &<< Self.l1tfShift))
    }

    @inline(__always) package func isMMIO(_ spte: SPTE) -> Bool {
        cachesMMIO && spte.raw & mmioMask == mmioValue
    }

    /// Is it the MMIO SPTE of this gfn, made while the slots of its address space had this generation, or before?
    @inline(never)
    package func isMMIO(_ spte: SPTE, of gfn: GFN, upTo generation: UInt64) -> Bool {
        let made = spte.mmioGeneration
        return isMMIO(spte) && mmio(gfn, generation: made) == spte && made <= generation && (made ^ generation) & 1 == 0
    }

    @inline(__always) package func mmioGFN(_ spte: SPTE) -> GFN {
        let kept = spte.raw & SPTE.addressMask & ~mmioMask
        guard l1tfMask != 0 else { return GFN(kept &>> 12) }
        let low = kept & ((l1tfMask & (0 &- l1tfMask)) &- 1)
        return GFN((low | ((kept &>> Self.l1tfShift) & l1tfMask)) &>> 12)
    }

    /// Is it a leaf that a fault makes: one that may be written, or not at all?
    @inline(__always) package func isPlainLeaf(_ spte: SPTE, at level: Level) -> Bool {
        let writable = spte.raw & writableBits
        return spte.isLeaf(at: level) && level <= .maxHuge && (writable == writableBits || writable == 0)
    }

    /// Is it the same leaf, but for what CPUs, fast faults and aging change without mmu_lock?  Or the same at all?
    package func differInBitsOnly(_ one: SPTE, _ other: SPTE) -> Bool {
        let changed = one.raw ^ other.raw
        return changed == 0
            || one.isPresent && changed & ~(logBits | accessTrack | SPTE.savedMask &<< SPTE.savedShift) == 0
    }

    /// What is wrong with the bits of a leaf that stands at a level, or nil.  Its address is not looked at.
    @inline(never)
    package func flaw(ofLeaf spte: SPTE, at level: Level, noExecuteHuge: Bool) -> LeafFlaw? {
        let isHuge = level > .page4K
        guard level <= .maxHuge, spte.isLarge == isHuge else { return .size }
        guard writableBitsAgree(spte) else { return .writable }
        let isTracked = isAccessTracked(spte), used = isTracked ? restoreAccessTrack(spte) : spte
        guard isReadable(used) else { return .tracking }
        let variable = SPTE.addressMask | accessed | dirty | writableBits | SPTE.pageSize | execute | noExecute
        guard (used.raw ^ leafBits) & ~variable == 0 else { return .reserved }
        return isExecutable(used) == (noExecuteHuge && isHuge) ? .execution : nil
    }

    /// Is it the entry of the table that it points to, but for Accessed?
    package func isTableEntry(_ spte: SPTE) -> Bool { spte.raw | accessed == table(at: spte.address).raw }

    /// Host-writable, MMU-writable, writable must be 111, 110, 100 or 000.
    @inline(__always) package func writableBitsAgree(_ spte: SPTE) -> Bool {
        let host = spte.raw & hostWritable != 0, mmu = spte.raw & mmuWritable != 0
        return mmu ? host : !spte.isWritable
    }
}
