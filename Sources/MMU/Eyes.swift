// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// What eyes are told of.  The rest of a sight says what is known of it.
package enum Sight: UInt8 {
    /// An SPTE has another value: addressSpace, gfn, level, old, new, address (of the entry), mode, byCPU.  A frozen value
    /// is one like any other.  Before the rig is told.
    case changed
    /// The CPUs are to forget gfns [gfn, gfn + pages), of both address spaces: before and after the rig's flush_tlb.
    case flushBegins, flushEnds
    /// vcpu has `table` as its root from here on, or no more; is asked to leave the one it has, and has left the guest.
    case loads, leaves, mustLeave
    /// `table` is handed to call_rcu() at once; its page is free from here on (flag: it was linked once).
    case handedToRCU, freed
    /// A walk lets go of mmu_lock in its middle, at once; has it again.
    case givesWay, isBack
    /// The thread's caller lets go of mmu_lock for good, at once (mode: how it was held); has done so.
    case unlocks, unlocked
    /// An operation of this name and duty; flag at its end: it returned that a flush is owed.  mode: how mmu_lock is held,
    /// nil without.  vcpu: of a page fault.
    case begins, ends
    /// The host is asked for gfn's page (vcpu unknown).
    case asksHost
    /// A slot's dirty logging is switched: its flags are published, and nothing is protected yet.
    case slotCommitting
    /// gfn of a logged slot is dirty: bitmap or ring.
    case dirtied
    /// The VM's memory goes: its last sight.
    case destroyed
}

/// What an operation promises of flushes.
package enum Duty: UInt8 {
    case none
    /// Nothing is owed when it returns.
    case pays
    /// As .pays, but for other SPTEs of the same page that it puts in a leaf's place.
    case faults
    /// As .pays.  It goes through one slot after the other, and gives way in one with what it owes in others: nobody maps
    /// there before the invalidation ends.
    case invalidates
    /// It returns whether its caller owes one.
    case tells
    /// As .pays, and it takes dirty bits: between its begin and end they say little.
    case harvests
    /// The caller owes one, whatever it returns.
    case leaves
}

/// One thing that eyes are told of.
package struct Seen {
    package let sight: Sight
    package var byCPU = false
    package var flag = false
    package var duty = Duty.none
    package var mode: LockMode?
    package var addressSpace: Int32 = -1
    package var level = Level(0)
    package let vm: VM
    package var gfn = GFN(0)
    package var pages: UInt64 = 0
    package var old = SPTE(0)
    package var new = SPTE(0)
    package var address: UInt = 0
    package var table: Table?
    /// As C has it.
    package var vcpu: OpaquePointer?
    package var slot: SlotPointer?
    package var name: StaticString = ""

    fileprivate init(_ sight: Sight, _ vm: VM) {
        self.sight = sight
        self.vm = vm
    }
}

/// Who looks at a VM: at most one such table, which Rig shares among those who want to see (EyesTable.swift).
package struct Eyes {
    package let context: UnsafeMutableRawPointer
    /// Called by the thread that does what is seen, with the locks that it has.  The second is a Seen.
    package let see: @convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer) -> Void

    package init(
        context: UnsafeMutableRawPointer, see: @convention(c) (UnsafeMutableRawPointer, UnsafeRawPointer) -> Void
    ) {
        self.context = context
        self.see = see
    }
}

/// How a change was made, for who is told of it.
package enum WayOfChange: UInt8 {
    case shared, exclusive, sharedFromFrozen, frozen
    case byCPU

    fileprivate var isShared: Bool { self != .exclusive && self != .frozen }
    fileprivate var wasFrozen: Bool { self == .sharedFromFrozen || self == .frozen }
}

/// The word of events has a bit for eyes.  So what is short because nobody looks on (whole rows, short ways of faults) is
/// not taken while they look, and costs nothing more.
private let eyesBit: UInt64 = 1 &<< 61

extension VM {
    /// Is anybody looking?  One load and one branch.
    @inline(__always)
    package var hasEyes: Bool { state.pointee.tracedEvents.load(ordering: .relaxed) & eyesBit != 0 }

    /// The VM's eyes, which stay until it is destroyed.  Acquire: pairs with attach().
    package var eyes: UnsafeMutablePointer<Eyes>? {
        UnsafeMutablePointer(bitPattern: state.pointee.eyes.load(ordering: .acquiring))
    }

    /// False: there are some already.  They see nothing before openEyes().
    package func attach(_ eyes: UnsafeMutablePointer<Eyes>) -> Bool {
        // Release: pairs with `eyes`.
        state.pointee.eyes.compareExchange(
            expected: 0, desired: UInt(bitPattern: eyes), ordering: .acquiringAndReleasing).exchanged
    }

    /// They see, or see nothing, from here on.  A thread in the middle of something may miss its end, or see no more than that.
    package func openEyes(_ open: Bool) {
        if open {
            state.pointee.tracedEvents.bitwiseOr(eyesBit, ordering: .releasing)
        } else {
            state.pointee.tracedEvents.bitwiseAnd(~eyesBit, ordering: .relaxed)
        }
        lock.setWatched(isWatched)
    }

    /// Does anybody look on, or does the checker wait for the end of operations?
    @inline(__always)
    var isWatched: Bool { state.pointee.tracedEvents.load(ordering: .relaxed) & (eyesBit | checkBit) != 0 }

    /// `look` is called when an operation has ended, or mmu_lock was let go for good; nil: no more.  It is told of nothing,
    /// so that nothing goes another way than without it.
    package func afterOperations(_ look: (@convention(c) (UnsafeMutablePointer<kvm>) -> Void)?) {
        if let look {
            checks.pointee.look = look
            // Release: pairs with the acquire in endOfOperation().
            state.pointee.tracedEvents.bitwiseOr(checkBit, ordering: .releasing)
        } else {
            state.pointee.tracedEvents.bitwiseAnd(~checkBit, ordering: .relaxed)
        }
        lock.setWatched(isWatched)
    }

    private func endOfOperation() {
        // Acquire: pairs with afterOperations().
        guard state.pointee.tracedEvents.load(ordering: .acquiring) & checkBit != 0 else { return }
        checks.pointee.look?(kvm)
    }

    /// Do callers of the library make pages or tables come and go (CallersSteps.swift)?
    package var callersChange: Bool { memory.pointee.tables.callersChange.load(ordering: .relaxed) != 0 }

    /// Is a change that is told one that may be made, by whoever made it?
    @inline(never)
    private func judge(_ change: SPTEChange, _ way: WayOfChange) {
        // Callers may do all that is not refused.
        let who: SPTEChangers? = way == .byCPU ? .cpu : callersChange ? nil : way.isShared ? [.shared, .lockless] : .exclusive
        if change.breach(by: who, masks) { warn(.check, "tdpmmu_check", "a change that docs/SPTES.md has not (old, new)", change.old.raw, change.new.raw) }
    }

    /// Events that are traced are others now; the eyes are not.
    func setTracedEvents(_ events: UInt64) {
        var old = state.pointee.tracedEvents.load(ordering: .relaxed)
        while true {
            let (done, seen) = state.pointee.tracedEvents.weakCompareExchange(
                expected: old, desired: old & (eyesBit | rigBit | checkBit) | events, ordering: .relaxed)
            if done { return }
            old = seen
        }
    }

    @inline(never)
    private func show(_ seen: inout Seen) {
        guard let eyes else { return }
        withUnsafePointer(to: &seen) { eyes.pointee.see(eyes.pointee.context, $0) }
    }

    private var modeOfThread: LockMode? {
        lock.isHeldForWrite ? .exclusive : lock.isHeldForRead ? .shared : nil
    }

    // What is seen.  Each looks first whether anybody does.

    /// A change that nobody else is told of has been made.
    @inline(__always)
    package func seeChange(_ change: SPTEChange, at slot: SPTESlot, _ way: WayOfChange) {
        if hasEyes {
            tellChange(change.addressSpace, change.gfn, change.level, change.old, change.new, slot, way, toEyesOnly: true)
        }
    }

    @inline(never)
    func seeFreezing(_ change: SPTEChange, at slot: SPTESlot, _ mode: LockMode) {
        seeChange(
            SPTEChange(addressSpace: change.addressSpace, gfn: change.gfn, level: change.level, old: change.old, new: .frozen),
            at: slot, mode == .shared ? .shared : .exclusive)
    }

    /// Does anybody want to hear of changes: eyes, the rig, a trace?
    @inline(__always)
    var tellsChanges: Bool {
        state.pointee.tracedEvents.load(ordering: .relaxed) & (eyesBit | rigBit | Self.bit(TDPMMU_TRACE_SPTE_CHANGED)) != 0
    }

    /// Eyes first, so that the rig's callback finds them knowing.
    @inline(never)
    func tellChange(
        _ addressSpace: Int32, _ gfn: GFN, _ level: Level, _ old: SPTE, _ new: SPTE, _ slot: SPTESlot, _ way: WayOfChange,
        toEyesOnly: Bool = false
    ) {
        if state.pointee.tracedEvents.load(ordering: .relaxed) & checkBit != 0 {
            judge(SPTEChange(addressSpace: addressSpace, gfn: gfn, level: level, old: way.wasFrozen ? .frozen : old, new: new), way)
        }
        if hasEyes {
            var seen = Seen(.changed, self)
            seen.addressSpace = addressSpace
            seen.gfn = gfn
            seen.pages = level.pages
            seen.level = level
            seen.old = way.wasFrozen ? .frozen : old
            seen.new = new
            seen.address = slot.address
            seen.mode = way.isShared ? .shared : .exclusive
            seen.byCPU = way == .byCPU
            show(&seen)
        }
        if toEyesOnly { return }
        rig.changed(addressSpace, gfn, level, old, new, shared: way.isShared)
        if traces(TDPMMU_TRACE_SPTE_CHANGED) { traceChange(addressSpace, gfn, level, old, new) }
    }

    @inline(never)
    package func see(_ sight: Sight, gfn: GFN = GFN(0), pages: UInt64 = 0, slot: SlotPointer? = nil) {
        guard hasEyes else { return }
        var seen = Seen(sight, self)
        seen.gfn = gfn
        seen.pages = pages
        seen.slot = slot
        if let slot { seen.addressSpace = Int32(slot.pointee.as_id) }
        show(&seen)
    }

    @inline(never)
    package func see(_ sight: Sight, _ table: Table?, _ vcpu: OpaquePointer? = nil, flag: Bool = false) {
        guard hasEyes else { return }
        var seen = Seen(sight, self)
        seen.table = table
        seen.vcpu = vcpu
        seen.flag = flag
        show(&seen)
    }

    /// Of the lock, and of operations.
    @inline(never)
    package func see(
        _ sight: Sight, _ name: StaticString, _ duty: Duty = .none, flag: Bool = false, by vcpu: OpaquePointer? = nil
    ) {
        guard isWatched else { return }
        if hasEyes {
            var seen = Seen(sight, self)
            seen.vcpu = vcpu
            seen.name = name
            seen.duty = duty
            seen.flag = flag
            seen.mode = vcpu == nil ? modeOfThread : nil
            show(&seen)
        }
        if sight == .ends || sight == .unlocked { endOfOperation() }
    }

    /// The last one.
    @inline(never)
    func seeDestruction() {
        var seen = Seen(.destroyed, self)
        show(&seen)
    }
}
