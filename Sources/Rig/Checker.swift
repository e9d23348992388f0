// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync
import Synchronization

/// One look at a VM.  mmu_lock is held for write, so that what is being changed at the moment is changed without it:
/// by fast faults, aging, CPUs, who drops a root or loads one.  What these leave half-done for a moment is a suspect, and
/// looked at again when all that were inside have gone.
struct Checker {
    let vm: VM
    /// Nobody changes slots or reads a dirty log: what slots say can be looked at.
    let slotsAreStill: Bool
    /// The rig is asked how wide the host maps.
    let asksHost: Bool
    private let noExecuteHuge: Bool
    private let logsByDirtyBits: Bool
    private var generation: UInt64 = 0
    private(set) var found: Int32 = 0

    // Where it looks.
    var place = Place()
    private var rootIsValid = false
    private var slot: InspectedSlot?
    /// The last leaf that was found to have the right bits: those besides the address, and its level.
    private var goodBits: UInt64 = 0
    private var goodLevel = Level(0)

    // What it has met; roots are not among the tables, as they come and go without mmu_lock.
    private var tables: UInt64 = 0
    private var listedSplits: Int64 = 0
    private var leaves = InlineArray<3, Int64>(repeating: 0)
    private var suspects = InlineArray<16, Place>(repeating: Place())
    private var suspectCount = 0

    /// An entry of a table.
    struct Place {
        var role = Role(raw: 0)
        var entries: UInt = 0
        var gfn = GFN(0)
        var spte = SPTE(0)
    }

    @_optimize(size)
    init(_ vm: VM, slotsAreStill: Bool, asksHost: Bool) {
        self.vm = vm
        self.slotsAreStill = slotsAreStill
        self.asksHost = asksHost
        noExecuteHuge = vm.nxHugePages
        logsByDirtyBits = vm.usesPML && vm.masks.dirty != 0
    }

    // What is told -------------------------------------------------------------

    /// So many of one look.
    private static var mostTold: Int32 { 64 }

    @inline(never) @_optimize(size)
    mutating func report(_ fault: CheckFault, found what: UInt64, expected: UInt64) {
        found &+= 1
        vm.checks.pointee.faults.wrappingAdd(1, ordering: .relaxed)
        guard found <= Self.mostTold else { return }
        let text = fault.text
        vm.warnOfCheck(text, what, expected)
        guard let report = vm.checks.pointee.report else { return }
        var told = tdpmmu_check_fault(
            text: text, role: place.role.raw, level: place.role.level.raw, gfn: place.gfn.raw, spte: place.spte.raw,
            table: UnsafeMutablePointer(bitPattern: place.entries), expected: expected, found: what)
        report(vm.checks.pointee.context, vm.kvm, &told)
    }

    /// About the entry where it looks.
    @inline(never) @_optimize(size)
    private mutating func report(_ fault: CheckFault) { report(fault, found: place.spte.raw, expected: place.gfn.raw) }

    // Tables ---------------------------------------------------------------------

    /// All that hangs below the roots.
    mutating func walkRoots(_ hold: borrowing HeldForWrite) {
        insideRCU { rcu in
            var root = vm.firstRoot
            while let here = root {
                root = here.nextRoot
                // One that was given up has nothing below it.
                guard here.referenceCount > 0 else { continue }
                rootIsValid = !here.role.isInvalid
                slot = nil
                generation = vm.slotGeneration(here.role.addressSpace) & mmioGenerationMask
                walk(here, rcu)
            }
        }
        lookAgain()
    }

    @_optimize(size)
    private mutating func walk(_ table: Table, _ rcu: borrowing InsideRCU) {
        let role = table.role, level = role.level, first = table.gfn
        for index in 0..<entriesPerTable {
            let spte = table[index].load(rcu)
            if spte == .nonPresent { continue }
            place = Place(
                role: role, entries: table.entries, gfn: first + UInt64(truncatingIfNeeded: index) &* level.pages, spte: spte)
            if place.gfn >= vm.gfnLimit { report(.beyond) }
            if !spte.isPresent {
                checkNonPresent(spte, rcu)
            } else if spte.isTable(at: level) {
                checkChild(spte, table[index], rcu)
            } else {
                checkLeaf(spte, level, rcu)
            }
        }
    }

    /// Each table has one entry that points to it, which it names: so none is reached twice.
    @inline(never) @_optimize(size)
    private mutating func checkChild(_ spte: SPTE, _ entry: SPTESlot, _ rcu: borrowing InsideRCU) {
        let role = place.role
        if !vm.masks.isTableEntry(spte) { report(.tableBits) }
        guard let child = Table(checkedAddress: Table.entries(of: spte.address)), child.address == spte.address,
              child.ownerAddress == UInt(bitPattern: vm.kvm) else { return report(.child) }
        guard child.parent == entry else { return report(.parent) }
        // One that is older than the end of its root's validity does not know of that.
        guard child.role == role.child || child.role.invalidated == role.child else { return report(.childRole) }
        guard child.gfn == place.gfn else { return report(.childGFN) }
        tables &+= 1
        if child.isNXListed {
            listedSplits &+= 1
            if !child.isNXSplit { report(.nxList) }
        }
        walk(child, rcu)
    }

    @inline(never) @_optimize(size)
    private mutating func checkNonPresent(_ spte: SPTE, _ rcu: borrowing InsideRCU) {
        if spte.isFrozen { return report(.frozen) }
        let masks = vm.masks
        guard masks.isMMIO(spte), place.role.level == .page4K else { return report(.nonPresent) }
        guard masks.isMMIO(spte, of: place.gfn, upTo: generation) else { return report(.mmio) }
        if slotsAreStill, spte.mmioGeneration == generation, rootIsValid, findSlot(rcu) != nil { report(.mmioInSlot) }
    }

    // Leaves ---------------------------------------------------------------------

    /// The slot that holds the entry's first gfn.
    @inline(never) @_optimize(size)
    private mutating func findSlot(_ rcu: borrowing InsideRCU) -> InspectedSlot? {
        if let slot, slot.holds(place.gfn) { return slot }
        slot = vm.inspectedSlot(place.gfn, place.role.addressSpace, rcu)
        return slot
    }

    @_optimize(size)
    private mutating func checkLeaf(_ spte: SPTE, _ level: Level, _ rcu: borrowing InsideRCU) {
        let bits = spte.raw & ~SPTE.addressMask
        if bits != goodBits || level != goodLevel {
            if let flaw = vm.masks.flaw(ofLeaf: spte, at: level, noExecuteHuge: noExecuteHuge) {
                // Under an invalid root stands what was right before NX was switched; and what callers make is theirs.
                if flaw != .execution || rootIsValid && slotsAreStill && !vm.callersChange { report(CheckFault(flaw)) }
                if flaw == .size { return }
            } else {
                goodBits = bits
                goodLevel = level
            }
        }
        leaves[unchecked: Int(level.raw &- 1)] &+= 1
        if spte.pfn.raw > vm.pfnMask || spte.pfn.raw & (level.pages &- 1) != 0 { report(.leafPage) }
        guard slotsAreStill else { return }
        guard let slot = findSlot(rcu) else { return report(.noSlot) }
        if level > .page4K { checkWidth(level, slot) }
        if slot.isReadOnly && spte.raw & (SPTE.writable | vm.masks.hostWritable | vm.masks.mmuWritable) != 0 { report(.readOnly) }
        if vm.hasTakenRanges && slot.isTaken(place.gfn, pages: level.pages) { report(.taken) }
        if slot.isLogged && rootIsValid && mayBeWritten(spte) && !slot.isMarked(place.gfn, pages: level.pages) { suspect() }
    }

    @inline(never) @_optimize(size)
    private mutating func checkWidth(_ level: Level, _ slot: InspectedSlot) {
        if !slot.allows(level, at: place.gfn) { report(.slotWidth) }
        if asksHost && rootIsValid && slot.hostLevel(of: place.gfn) < level { report(.hostWidth) }
    }

    /// By a CPU, and nobody hears of it.
    private func mayBeWritten(_ spte: SPTE) -> Bool {
        spte.isWritable && (!logsByDirtyBits || vm.masks.isDirty(spte))
    }

    // Suspects -------------------------------------------------------------------

    /// A fast fault marks a page after it has set W, a CPU's log is emptied after Dirty was set; both inside RCU.
    @inline(never) @_optimize(size)
    private mutating func suspect() {
        guard suspectCount < suspects.count else { return }
        suspects[unchecked: suspectCount] = place
        suspectCount &+= 1
    }

    /// Their tables are there still: it takes mmu_lock to cut one off.
    @inline(never) @_optimize(size)
    private mutating func lookAgain() {
        guard suspectCount != 0, tryGracePeriod() else { return }
        while suspectCount != 0 {
            suspectCount &-= 1
            place = suspects[unchecked: suspectCount]
            let level = place.role.level
            let isRight = insideRCU { rcu in
                let entries = UnsafeMutablePointer<UInt64>(bitPattern: place.entries).unsafelyUnwrapped
                let spte = SPTESlot(entries + place.gfn.index(at: level)).load(rcu)
                let slot = vm.inspectedSlot(place.gfn, place.role.addressSpace, rcu)
                return spte != place.spte || slot?.isMarked(place.gfn, pages: level.pages) ?? true
            }
            if !isRight { report(.unmarked) }
        }
    }

    // What is counted ------------------------------------------------------------

    /// After the walk.
    @inline(never) @_optimize(size)
    mutating func compareCounts() {
        place = Place()
        let owner = UInt(bitPattern: vm.kvm)
        var counted = InlineArray<3, Int64>(repeating: 0), splits = listedSplits, alive = tables, lost = 0
        var count: TableArena.Count?
        vm.withVCPUsLocked {
            counted[unchecked: 0] = vm.listedTotal(.pages4K)
            counted[unchecked: 1] = vm.listedTotal(.pages2M)
            counted[unchecked: 2] = vm.listedTotal(.pages1G)
            vm.withPagesLocked {
                var roots: UInt64 = 0, root = vm.firstRoot
                while let here = root {
                    roots &+= 1
                    root = here.nextRoot
                }
                let balance = vm.whileNoTableMoves { balance in
                    count = TableArena.count(ownedBy: owner)
                    return balance
                }
                guard let balance else { return }
                splits = balance.nxSplits
                alive = balance.alive &- UInt64(bitPattern: balance.strays) &- balance.handedOut &- roots
                guard let count else { return report(.freeList, found: 0, expected: 0) }
                let cached = vm.isAlone ? balance.cached : count.unowned &- count.free
                lost = count.unowned &- count.free &- cached &+ count.owned &- Int(truncatingIfNeeded: balance.alive)
            }
        }
        for i in 0..<3 where counted[unchecked: i] != leaves[unchecked: i] {
            place.role = Role(raw: UInt32(truncatingIfNeeded: i &+ 1))
            report(.leafCount, found: UInt64(bitPattern: leaves[unchecked: i]), expected: UInt64(bitPattern: counted[unchecked: i]))
        }
        place = Place()
        if alive != tables { report(.tableCount, found: tables, expected: alive) }
        if splits != listedSplits {
            report(.nxCount, found: UInt64(bitPattern: listedSplits), expected: UInt64(bitPattern: splits))
        }
        if lost != 0 { report(.lostPage, found: UInt64(bitPattern: Int64(lost)), expected: 0) }
    }
}
