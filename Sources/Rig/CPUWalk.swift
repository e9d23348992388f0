// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

/// What a CPU's page walker writes: the rig is not told, and nothing is counted, since no kernel
/// hears of it either; but it is held to what a CPU can do.
private struct HardwareBook: ChangeBook {
    let vm: VM

    var mode: LockMode { .shared }
    func violation(of wish: SPTEChange) -> StaticString? { wish.violationByCPU(vm.masks) }
    func hasVolatileBits(_ spte: SPTE) -> Bool { true }
    func takesAway(_ change: SPTEChange) -> Bool { false }
    func showFrozen(_ change: SPTEChange, at slot: SPTESlot) {}
    func tell(_ change: SPTEChange, at slot: SPTESlot, wasFrozen: Bool) { vm.seeChange(change, at: slot, .byCPU) }
    func tellBits(_ change: SPTEChange, at slot: SPTESlot) { vm.seeChange(change, at: slot, .byCPU) }
    func isOfBits(_ wish: SPTEChange) -> Bool { false }
    func tableIsCutOff() {}
    func removeTable(_ change: SPTEChange) {}

    func refuse(_ wish: SPTEChange, because reason: StaticString) {
        vm.warn(.spte, "tdpmmu_cpu_access", reason, wish.old.raw, wish.new.raw)
    }
}

extension SPTE {
    /// All entries of a table that was freed while CPUs that cache look on.  Nobody takes it for anything.
    static var poison: SPTE { SPTE(0xdead_dead_dead_0000) }
}

/// How one level of a walk ended.
package enum StepEnd {
    /// It stands in front of the next table.
    case down
    /// At a leaf that allows what is wanted.
    case leaf
    case notPresent, reserved, denied
    /// The address is no table's, or no more: a CPU would read whatever is there.
    case outside
    /// The entry changed under the walker, who starts again.
    case lost
    /// Nothing was set: the CPU's log, or the vCPU's ring, has no room.
    case logFull, ringFull
}

/// A page walk, as the CPU makes it.
package struct HardwareWalk {
    package let gfn: GFN
    /// Host-physical, and its level; the rights so far.
    package var table: UInt64
    package var level: Level
    package var rights = Rights.all
    /// The last entry that was read, and where.
    package var spte = SPTE(0)

    package init(_ gfn: GFN, from table: UInt64, at level: Level) {
        self.gfn = gfn
        self.table = table
        self.level = level
    }

    /// One level: a single load; if the entry allows `wish`, Accessed is set and for a write Dirty, on the leaf.  nil: no
    /// access, but a walk ahead of one.
    @inline(never)
    package mutating func step(
        _ vcpu: VCPU, _ wish: Rights, isSpeculative: Bool = false, _ bits: HardwareBits, _ rcu: borrowing InsideRCU
    ) -> StepEnd {
        let address = Table.entries(of: table)
        // Walks ahead may begin in what was a table once; the others come from the root.
        guard TableArena.covers(address), !isSpeculative || Table(containing: address).isInUse else { return .outside }
        let slot = Table(containing: address)[gfn.index(at: level)]
        spte = slot.load(rcu)
        let isLeaf: Bool
        switch bits.read(spte, at: level) {
        case .notPresent:
            rights = []
            return spte == .poison ? .outside : .notPresent
        case .reserved:
            rights = []
            return .reserved
        case .table(let own):
            rights.formIntersection(own)
            isLeaf = false
        case .leaf(let own):
            rights.formIntersection(own)
            isLeaf = true
        }
        guard isSpeculative ? !rights.isEmpty : rights.isSuperset(of: wish) else { return .denied }
        let dirties = isLeaf && !isSpeculative && wish.contains(.write)
        let marked = SPTE(spte.raw | bits.accessed | (dirties ? bits.dirty : 0))
        if marked != spte {
            switch vcpu.mark(slot, spte, marked, gfn, level) {
            case .made: spte = marked
            case .lost: return .lost
            case .logFull: return .logFull
            case .ringFull: return .ringFull
            }
        }
        if isLeaf { return .leaf }
        table = spte.address
        level = level.below
        return .down
    }

    /// False if the entry is no longer what the walker saw.
    static func set(_ slot: SPTESlot, _ change: SPTEChange, _ vm: VM) -> Bool {
        var flush = OwedFlush()
        let result = slot.changeAmongOthers(change, in: HardwareBook(vm: vm), owing: &flush)
        flush.forgo(because: "a CPU takes nothing away")
        if case .made = result { return true }
        return false
    }

    /// The page of gfn, in front of a leaf.
    package var pfn: UInt64 {
        let inside = level.pages &- 1
        return spte.pfn.raw & ~inside | gfn.raw & inside
    }
}
