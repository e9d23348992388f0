// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

/// Who changes SPTEs: for which VM, under which lock, counting where.  It keeps the book
/// of every change (SPTESlot.swift).
package struct SPTEWriter {
    package let vm: VM
    package let mode: LockMode
    let counters: Counters
    /// No other thread writes `counters` meanwhile: the vCPU's own, a walk's, or under Lock W the VM's.
    let countsAlone: Bool
    /// `counters` are a walk's own, to be added to those that anybody may count in.
    private let isSumming: Bool
    /// mmu_lock is held for read, and yet nobody else is at the tables in question: what is done is the
    /// reader's part, in plain stores.
    let isAlone: Bool
    /// Where tables wait whose entries are taken all at once (batchingRemovals()), or nil.
    let strays: UnsafeMutablePointer<StrayBatch>?

    @inline(__always)
    private init(
        _ vm: VM, _ mode: LockMode, _ counters: Counters, countsAlone: Bool, isSumming: Bool = false,
        isAlone: Bool = false, strays: UnsafeMutablePointer<StrayBatch>? = nil
    ) {
        self.vm = vm
        self.mode = mode
        self.counters = counters
        self.countsAlone = countsAlone
        self.isSumming = isSumming
        self.isAlone = isAlone
        self.strays = strays
    }

    /// An operation on the whole VM.
    @inline(__always)
    package init<Hold: LockHold & ~Copyable>(_ vm: VM, _ hold: borrowing Hold) {
        let isExclusive = hold.mode == .exclusive
        self.init(vm, hold.mode, isExclusive ? vm.exclusiveCounters : vm.counters, countsAlone: isExclusive)
    }

    /// The one operation that makes pages and tables go under an invalid root, with mmu_lock held for read: no
    /// fault ends there, nobody rebuilds there, and nobody is told of single changes.  Others clear or set
    /// bits of leaves, which are on their way out.
    init(underInvalidRoot vm: VM) {
        self.init(vm, .exclusive, vm.counters, countsAlone: false, isAlone: true)
    }

    /// An operation without mmu_lock: RCU keeps the tables, compare-and-exchange the
    /// entries honest.
    @inline(__always)
    init(lockless vm: VM, _ rcu: borrowing InsideRCU) {
        self.init(vm, .shared, vm.counters, countsAlone: false)
    }

    /// A vCPU's fault.
    @inline(__always)
    package init(_ vcpu: VCPU, _ hold: borrowing HeldForRead) {
        self.init(vcpu.vm, .shared, vcpu.counters, countsAlone: true)
    }

    private init(_ writer: SPTEWriter, summingIn counters: Counters) {
        self.init(writer.vm, writer.mode, counters, countsAlone: true, isSumming: true,
                  isAlone: writer.isAlone, strays: writer.strays)
    }

    private init(_ writer: SPTEWriter, batching strays: UnsafeMutablePointer<StrayBatch>) {
        self.init(writer.vm, writer.mode, writer.counters, countsAlone: writer.countsAlone,
                  isSumming: writer.isSumming, isAlone: writer.isAlone, strays: strays)
    }

    /// Runs `body`, which cuts off tables among others by the dozen: the entries of those of 4K leaves are
    /// taken at its end, and before it gives way, after one look whether anybody is left inside.
    @inline(__always)
    func batchingRemovals(_ body: (SPTEWriter) -> Void) {
        var batch = StrayBatch()
        withUnsafeMutablePointer(to: &batch) {
            let writer = mode == .shared && worksByRow ? SPTEWriter(self, batching: $0) : self
            // Once in the code: it is a whole walk.
            body(writer)
            writer.takeStrays()
        }
    }

    /// Runs `body`, whose changes are counted without locked operations and added once, at its end and
    /// whenever it gives way.  Inside RCU: what waits for a grace period is counted before it is over.
    @inline(__always)
    func summing<T>(_ body: (SPTEWriter) -> T) -> T {
        Counters.withOwn { sums in
            let writer = countsAlone ? self : SPTEWriter(self, summingIn: sums)
            let result = body(writer)
            if !countsAlone { writer.handInSums() }
            return result
        }
    }

    /// What others see from here on is counted.
    @inline(__always)
    func handInSums() {
        if isSumming { vm.counters.absorb(counters) }
    }

    @inline(__always) func count(_ counter: Counter, _ n: Int64 = 1) {
        counters.add(counter, n, exclusive: countsAlone)
    }

    @inline(__always) func countLeaves(at level: Level, _ n: Int64) {
        guard level <= .maxHuge else { return }
        counters.addPages(n, at: level, exclusive: countsAlone)
    }
}

extension SPTEWriter: ChangeBook {
    @inline(__always)
    package func violation(of wish: SPTEChange) -> StaticString? { wish.violation(vm.masks) }

    @inline(__always)
    package func hasVolatileBits(_ spte: SPTE) -> Bool { vm.masks.hasVolatileBits(spte) }

    @inline(__always)
    package func isOfBits(_ wish: SPTEChange) -> Bool { wish.isOfBits(vm.masks) }

    @inline(__always)
    package func takesAway(_ change: SPTEChange) -> Bool { change.takesAway(vm.masks) }

    @inline(__always)
    package func showFrozen(_ change: SPTEChange, at slot: SPTESlot) { vm.seeFreezing(change, at: slot, mode) }

    @inline(__always)
    package func tell(_ change: SPTEChange, at slot: SPTESlot, wasFrozen: Bool) {
        tell(change, slot, wasFrozen)
        let wasLeaf = change.old.isLeaf(at: change.level), isLeaf = change.new.isLeaf(at: change.level)
        if wasLeaf != isLeaf { countLeaves(at: change.level, isLeaf ? 1 : -1) }
    }

    @inline(__always)
    package func tellBits(_ change: SPTEChange, at slot: SPTESlot) { tell(change, slot, false) }

    @inline(__always)
    private func tell(_ change: SPTEChange, _ slot: SPTESlot, _ wasFrozen: Bool) {
        if vm.tellsChanges {
            vm.tellChange(change.addressSpace, change.gfn, change.level, change.old, change.new, slot,
                          mode == .shared ? wasFrozen ? .sharedFromFrozen : .shared : wasFrozen ? .frozen : .exclusive)
        }
        count(.spteChanges)
    }

    @inline(__always)
    package func refuse(_ wish: SPTEChange, because reason: StaticString) {
        vm.refuseChange("spte_change", reason, wish.old, wish.new)
    }
}

extension SPTEWriter: FillBook {
    @inline(__always)
    package func isPlainLeaf(_ wish: SPTEChange) -> Bool { vm.masks.isPlainLeaf(wish.new, at: wish.level) }
}

// What is told of a change goes by words: a struct would have to stand in memory, in each function that changes
// anything, for something that hardly ever happens.
extension VM {
    @inline(never)
    func refuseChange(_ function: StaticString, _ reason: StaticString, _ old: SPTE, _ new: SPTE) {
        warn(.spte, function, reason, old.raw, new.raw)
    }
}

extension SPTEWriter: RowBook {
    @inline(__always)
    package func tellRow(_ count: Int, gone: Int) {
        self.count(.spteChanges, Int64(count))
        if gone != 0 { countLeaves(at: .page4K, Int64(truncatingIfNeeded: 0 &- gone)) }
    }

    /// May changes be made by the row?  Not where the rig, a trace or a recording has to hear of each, or is to
    /// say at each entry whether to give way; nor in a debug build, which goes by the entry, so that its checks
    /// see every change.
    @inline(__always)
    var worksByRow: Bool {
        !_isDebugAssertConfiguration() && !vm.rig.areAskedToYield && !vm.rig.isToldOfChanges && !vm.tracesAny
    }
}

extension SPTEChange {
    /// The change of the entry a walk stands on.
    @inline(__always)
    package init(_ place: some StandsOnEntry, to new: SPTE) {
        self.init(addressSpace: place.addressSpace, gfn: place.atGFN, level: place.atLevel, old: place.old, new: new)
    }
}

package enum SetResult {
    /// The new value is in place, told and counted.
    case done
    /// Another thread, or a CPU, changed the entry first; the iterator has the value seen.
    case lost
    /// The change is illegal: warned, not made.
    case refused
}

extension SPTEWriter {
    /// Changes the entry that a walk stands on, as the lock demands.
    @inline(__always)
    package func set(_ iter: inout some StandsOnEntry, _ new: SPTE, owing flush: inout OwedFlush) -> SetResult {
        iter.withPlace { set(at: &$0, new, &flush) }
    }

    @inline(never)
    private func set(at place: inout EntryPlace, _ new: SPTE, _ flush: inout OwedFlush) -> SetResult {
        note(place.slot.change(SPTEChange(place, to: new), in: self, owing: &flush), &place)
    }

    /// The same of who knows that others are there: a fault holds the lock for read.
    @inline(__always)
    func setAmongOthers(_ iter: inout some StandsOnEntry, _ new: SPTE, owing flush: inout OwedFlush) -> SetResult {
        note(iter.slot.changeAmongOthers(SPTEChange(iter, to: new), in: self, owing: &flush), &iter)
    }

    /// Empties the entry of the leaf that a walk stands on.
    @inline(__always)
    func empty(_ iter: inout some StandsOnEntry, owing flush: inout OwedFlush) -> SetResult {
        note(iter.slot.empty(
            leaf: iter.old, (iter.addressSpace, iter.atGFN, iter.atLevel), in: self, owing: &flush), &iter)
    }

    /// Changes bits of the leaf that a walk stands on.  Whatever the lock, CPUs, fast faults and
    /// aging may be at them at the same time.
    @inline(__always)
    func setBits(_ iter: inout tdp_iter, _ new: SPTE, owing flush: inout OwedFlush) -> SetResult {
        note(iter.slot.changeBits(SPTEChange(iter, to: new), in: self, owing: &flush), &iter)
    }

    /// The same where nothing but bits is known to change.
    @inline(__always)
    func setOnlyBits(_ iter: inout some StandsOnEntry, _ new: SPTE, owing flush: inout OwedFlush) -> SetResult {
        note(iter.slot.changeOnlyBits(SPTEChange(iter, to: new), in: self, owing: &flush), &iter)
    }

    /// Empties an entry under the read lock: frozen keeps faults off until the CPUs
    /// have forgotten what it mapped.  Pays its flush itself.
    @inline(__always)
    func zapAtomically(_ iter: inout some StandsOnEntry, _ rcu: borrowing InsideRCU) -> SetResult {
        iter.withPlace { zapAtomically(at: &$0) }
    }

    @inline(never)
    private func zapAtomically(at iter: inout EntryPlace) -> SetResult {
        let gfn = iter.atGFN, level = iter.atLevel
        let result = note(
            iter.slot.emptyThroughFrozen(SPTEChange(iter, to: .nonPresent), in: self) {
                vm.flush(gfn, pages: level.pages)
            }, &iter)
        if result == .done { iter.old = .nonPresent }
        return result
    }

    /// The iterator has what was there before, or what is there now.
    @inline(__always)
    private func note(_ result: ChangeResult, _ iter: inout some StandsOnEntry) -> SetResult {
        switch result {
        case .made(let old):
            iter.old = old
            return .done
        case .lost(let seen):
            iter.old = seen
            return .lost
        case .refused: return .refused
        }
    }
}
