// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// The steps of operations that callers of the library write themselves.  Nothing that they say is trusted: where
/// a step stands and what it wants is judged before the entry is touched, beside what holds for all changes.

/// Where a caller's walk stands.
extension VM {
    /// The table that it stands in, on an entry of which it says the truth; else nil.
    @inline(__always)
    private func tableOf(_ iter: UnsafeMutablePointer<tdp_iter>) -> Table? {
        let iter = iter.pointee, address = UInt(bitPattern: iter.sptep)
        guard !iter.yielded, address & 7 == 0, let table = Table.found(at: address),
              table.ownerAddress == UInt(bitPattern: kvm) else { return nil }
        let role = table.role, index = UInt64(truncatingIfNeeded: (address & 4095) &>> 3)
        // No walk of the MMU's own would ever come to what is beyond MAXPHYADDR.
        guard iter.level == role.level.raw, iter.as_id == role.addressSpace,
              iter.gfn == table.gfn.raw &+ index &* role.level.pages, iter.gfn < gfnLimit.raw else { return nil }
        return table
    }

    /// False, with a warning, if it stands on none.
    @inline(__always)
    fileprivate func isPlace(_ iter: UnsafeMutablePointer<tdp_iter>, _ function: StaticString) -> Bool {
        if tableOf(iter) != nil { return true }
        refusePlace(function, iter.pointee.yielded, UInt64(UInt(bitPattern: iter.pointee.sptep)), iter.pointee.gfn)
        return false
    }

    @inline(never)
    private func refusePlace(_ function: StaticString, _ yielded: Bool, _ sptep: UInt64, _ gfn: UInt64) {
        let address = UInt(truncatingIfNeeded: sptep), table = address & 7 == 0 ? Table(checkedAddress: address) : nil
        let reason: StaticString =
            if yielded { "iter has yielded (sptep, gfn)" }
            else if table?.ownerAddress != UInt(bitPattern: kvm) { "iter stands on no entry of a table of this VM (sptep, gfn)" }
            else if gfn >= gfnLimit.raw { "iter stands beyond MAXPHYADDR (sptep, gfn)" }
            else { "iter has another gfn, level or as_id than the entry (sptep, gfn)" }
        warn(.argument, function, reason, sptep, gfn)
    }
}

/// What an entry may hold.
extension VM {
    @inline(never)
    fileprivate func refuseLock(_ function: StaticString, _ how: UInt32) {
        warn(.lock, function, "mmu_lock is not held as this way wants (how)", UInt64(how))
    }

    /// Why no leaf of this VM is so, or nil.  (What is wrong with any leaf the change's own judge knows.)
    fileprivate func wrongLeaf(_ leaf: SPTE, at level: Level) -> StaticString? {
        if level > .maxHuge { return "a leaf above 1G" }
        if leaf.pfn.raw > pfnMask || leaf.pfn.raw & (level.pages &- 1) != 0 {
            return "a pfn beyond MAXPHYADDR, or not aligned"
        }
        // Whether it may be executed is the caller's.
        switch masks.flaw(ofLeaf: leaf, at: level, noExecuteHuge: false) {
        case nil, .execution: return nil
        case .size: return "a leaf that has not its level's size"
        case .writable: return "writable bits that contradict each other"
        case .tracking, .reserved: return "a leaf without the bits of this VM's leaves, or with others"
        }
    }

    /// Might a fault have put it there?
    fileprivate func isMMIO(_ spte: SPTE, _ gfn: GFN, _ level: Level, _ addressSpace: Int32) -> Bool {
        level == .page4K && masks.isMMIO(spte, of: gfn, upTo: slotGeneration(addressSpace) & mmioGenerationMask)
    }

    /// Why a caller may not put this in the place of what is there, or nil.
    @inline(__always)
    fileprivate func wrongValue(_ new: SPTE, _ iter: inout tdp_iter) -> StaticString? {
        let old = iter.old, level = iter.atLevel
        if old.isFrozen || new.isFrozen { return "FROZEN_SPTE is not for callers" }
        if !new.isPresent {
            return new == .nonPresent || isMMIO(new, iter.atGFN, level, iter.addressSpace)
                ? nil : "a non-present value that is no MMIO SPTE, or another gfn's"
        }
        if new.isLast(at: level) { return wrongLeaf(new, at: level) }
        guard old.isTable(at: level), old.address == new.address else { return "a table that is not linked there" }
        return masks.isTableEntry(new) ? nil : "a table's entry with other bits"
    }
}

/// Whether a caller may make tables or pages come or go.
extension VM {
    /// Has a pass all below an invalid root to itself?  From here on none begins to, without a look at what callers do.
    fileprivate var isSomebodyAlone: Bool {
        let tables = UnsafePointer(place(of: &memory.pointee.tables))
        // Sequentially consistent, both: pairs with beginAlone(), so that of the two one sees the other.
        if tables.pointee.callersChange.load(ordering: .relaxed) == 0 {
            tables.pointee.callersChange.store(1, ordering: .sequentiallyConsistent)
        }
        return tables.pointee.alone.load(ordering: .sequentiallyConsistent) != 0
    }
}

extension SPTEWriter {
    /// Below an invalid root pages and tables only go, and not while a pass has them to itself: to who asks then, all is
    /// frozen.  (A pass that gives way reads everything again, so it is not in the way of who has Lock W.)
    private func mayChange(_ iter: inout tdp_iter, to new: SPTE) -> Bool {
        let isSomebodyAlone = vm.isSomebodyAlone, appears = !iter.old.isPresent && new.isPresent
        if !appears && !(isSomebodyAlone && mode == .shared) { return true }
        var table = Table(of: iter.slot)
        while let parent = table.parent { table = Table(of: parent) }
        if !table.role.isInvalid { return true }
        iter.old = .frozen
        return false
    }
}

/// One entry.
extension VM {
    /// The change that tdpmmu_set_spte() makes, by the lock that the calling thread has.  Two that operations make by the
    /// million, and that are always legal, have short ways: nothing but Accessed, Dirty or W of a leaf that stays, and
    /// a leaf that goes.  Each is a function, since the compiler inlines nothing more into one that has become large.
    @inline(never)
    package func setForCaller(
        _ iter: UnsafeMutablePointer<tdp_iter>, _ new: SPTE, _ how: tdpmmu_set, _ kept: borrowing TablesKept,
        _ function: StaticString
    ) -> SetResult {
        guard isPlace(iter, function) else { return .refused }
        let old = iter.pointee.old
        if old.isLeaf(at: iter.pointee.atLevel) {
            if new == .nonPresent && mayEmpty(iter.pointee.slot, old, how, kept) {
                return emptyForCaller(iter, how, function)
            }
            if how == TDPMMU_SET_BITS || how == TDPMMU_SET_SHARED, new != old,
               SPTEChange(iter.pointee, to: new).isOfBits(masks) {
                return setBitsOutOfLine(iter, new, how, kept, function)
            }
        }
        return setAtLength(iter, new, how, kept, function)
    }

    /// The same of bits of a leaf, for who has looked where the iterator stands.
    @inline(__always)
    package func setBitsForCaller(
        at iter: UnsafeMutablePointer<tdp_iter>, _ new: SPTE, _ kept: borrowing TablesKept, _ function: StaticString
    ) -> SetResult {
        guard iter.pointee.isAtLeaf, new != iter.pointee.old, SPTEChange(iter.pointee, to: new).isOfBits(masks) else {
            return setAtLength(iter, new, TDPMMU_SET_BITS, kept, function)
        }
        return setBitsForCaller(iter, new, TDPMMU_SET_BITS, kept, function)
    }

    @inline(never)
    private func setAtLength(
        _ iter: UnsafeMutablePointer<tdp_iter>, _ new: SPTE, _ how: tdpmmu_set, _ kept: borrowing TablesKept,
        _ function: StaticString
    ) -> SetResult {
        guard let writer = SPTEWriter(forCaller: self, how, function) else { return .refused }
        return writer.setOtherForCaller(&iter.pointee, new, how, kept, function)
    }

    @inline(__always)
    private func mayEmpty(_ slot: SPTESlot, _ leaf: SPTE, _ how: tdpmmu_set, _ kept: borrowing TablesKept) -> Bool {
        how == TDPMMU_SET_ALONE ? slot.load(kept) == leaf : how == TDPMMU_SET_SHARED && !isSomebodyAlone
    }

    @inline(never)
    private func setBitsOutOfLine(
        _ iter: UnsafeMutablePointer<tdp_iter>, _ new: SPTE, _ how: tdpmmu_set, _ kept: borrowing TablesKept,
        _ function: StaticString
    ) -> SetResult {
        setBitsForCaller(iter, new, how, kept, function)
    }

    @inline(__always)
    private func setBitsForCaller(
        _ iter: UnsafeMutablePointer<tdp_iter>, _ new: SPTE, _ how: tdpmmu_set, _ kept: borrowing TablesKept,
        _ function: StaticString
    ) -> SetResult {
        guard let writer = SPTEWriter(forCaller: self, how, function) else { return .refused }
        // Alone no comparison comes with the write.
        if writer.mode == .exclusive {
            let seen = iter.pointee.slot.load(kept)
            if seen != iter.pointee.old {
                iter.pointee.old = seen
                return .lost
            }
        }
        var flush = OwedFlush()
        let result = writer.setOnlyBits(&iter.pointee, new, owing: &flush)
        flush.forgo(because: "the caller knows what it takes away, and owes the flush")
        return result
    }

    @inline(never)
    private func emptyForCaller(
        _ iter: UnsafeMutablePointer<tdp_iter>, _ how: tdpmmu_set, _ function: StaticString
    ) -> SetResult {
        guard let writer = SPTEWriter(forCaller: self, how, function) else { return .refused }
        var flush = OwedFlush()
        let result = writer.empty(&iter.pointee, owing: &flush)
        flush.forgo(because: "the caller knows what it takes away, and owes the flush")
        return result
    }
}

extension SPTEWriter {
    /// Who makes a change for the calling thread; nil, with a warning: it has not the lock.  Inline: what comes back in
    /// memory is loaded in wider pieces than it was stored in, and waits for the stores.
    @inline(__always)
    package init?(forCaller vm: VM, _ how: tdpmmu_set, _ function: StaticString) {
        if how == TDPMMU_SET_ALONE || how == TDPMMU_SET_BITS, let hold = vm.lock.callersWriteHold {
            self.init(vm, hold)
        } else if how == TDPMMU_SET_BITS, let rcu = callersRCU() {
            self.init(lockless: vm, rcu)
        } else if how == TDPMMU_SET_SHARED || how == TDPMMU_SET_ZAP, let hold = vm.lock.callersReadHold {
            self.init(vm, hold)
        } else {
            vm.refuseLock(function, how.rawValue)
            return nil
        }
    }

    /// A change that has no short way.
    @inline(never)
    fileprivate func setOtherForCaller(
        _ iter: inout tdp_iter, _ new: SPTE, _ how: tdpmmu_set, _ kept: borrowing TablesKept, _ function: StaticString
    ) -> SetResult {
        if mode == .shared && iter.old.isFrozen {
            iter.reload(kept)
            return .lost
        }
        if let reason = wrong(&iter, new, how, kept) {
            vm.refuseChange(function, reason, iter.old, new)
            return .refused
        }
        if new == iter.old {
            iter.reload(kept)
            return new == iter.old ? .done : .lost
        }
        guard how == TDPMMU_SET_BITS || mayChange(&iter, to: new) else { return .lost }
        return write(&iter, new, how)
    }

    /// Why the change may not be, or nil.
    @inline(__always)
    private func wrong(
        _ iter: inout tdp_iter, _ new: SPTE, _ how: tdpmmu_set, _ kept: borrowing TablesKept
    ) -> StaticString? {
        let old = iter.old, level = iter.atLevel, slot = iter.slot
        if let reason = vm.wrongValue(new, &iter) { return reason }
        if how == TDPMMU_SET_ZAP && new != .nonPresent { return "TDPMMU_SET_ZAP to more than nothing" }
        if how == TDPMMU_SET_BITS && !(old.isLeaf(at: level) && new.isLeaf(at: level) && old.pfn == new.pfn) {
            return "TDPMMU_SET_BITS of more than bits of a leaf"
        }
        // Alone no comparison comes with the write.  Only CPUs, fast faults and aging change an entry then.
        let isStale = how == TDPMMU_SET_ALONE && !vm.masks.differInBitsOnly(old, slot.load(kept))
        return isStale ? "iter->old_spte is not what the entry holds" : nil
    }

    @inline(never)
    private func write(_ iter: inout tdp_iter, _ new: SPTE, _ how: tdpmmu_set) -> SetResult {
        var flush = OwedFlush()
        let result: SetResult
        if how == TDPMMU_SET_BITS {
            result = setBits(&iter, new, owing: &flush)
        } else if how == TDPMMU_SET_ZAP, let rcu = callersRCU() {
            result = zapAtomically(&iter, rcu)
        } else {
            result = set(&iter, new, owing: &flush)
        }
        flush.forgo(because: "the caller knows what it takes away, and owes the flush")
        return result
    }
}

/// Tables.
extension VM {
    /// One that is linked nowhere.
    package func handOutTable() -> Table? {
        tableMoves()
        defer { tableMoved() }
        guard let table = takeTable(nil, role: Role(raw: 0), gfn: GFN(0), parent: nil) else { return nil }
        memory.pointee.tables.handedOut.wrappingAdd(1, ordering: .relaxed)
        return table.handOut()
    }

    /// False: another thread linked it just now, or gave it back.
    package func takeBackTable(_ table: Table) -> Bool {
        tableMoves()
        defer { tableMoved() }
        guard let page = UnlinkedTable(handedOut: table) else { return false }
        memory.pointee.tables.handedOut.wrappingSubtract(1, ordering: .relaxed)
        returnTable(nil, page)
        return true
    }
}

extension SPTEWriter {
    /// Puts a table that was handed out where nothing or a huge leaf stands.
    package func linkForCaller(
        _ table: Table, _ iter: inout tdp_iter, _ rcu: borrowing InsideRCU, _ function: StaticString
    ) -> SetResult {
        guard vm.isPlace(&iter, function) else { return .refused }
        let huge = iter.old
        if huge.isFrozen { return .lost }
        guard let new = UnlinkedTable(handedOut: table) else {
            vm.refuseChange(function, "sp was just linked or given back (old_spte, sp)", huge, SPTE(UInt64(table.word)))
            return .refused
        }
        var leaves: Int64 = 0
        let result = link(table, &iter, rcu, &leaves, function)
        guard result == .done else {
            _ = new.handOut()
            return result
        }
        _ = new.linked()
        vm.memory.pointee.tables.handedOut.wrappingSubtract(1, ordering: .relaxed)
        countLeaves(at: iter.atLevel.below, leaves)
        if huge.isPresent {
            if vm.traces(TDPMMU_TRACE_SPLIT_HUGE_PAGE) { vm.traceSplit(iter.atGFN, iter.atLevel, huge) }
            count(.splits)
        }
        return .done
    }

    private func link(
        _ table: Table, _ iter: inout tdp_iter, _ rcu: borrowing InsideRCU, _ leaves: inout Int64, _ function: StaticString
    ) -> SetResult {
        let entry = vm.masks.table(at: table.address)
        if let reason = wrongTable(table, &iter, rcu, &leaves) {
            vm.refuseChange(function, reason, iter.old, SPTE(UInt64(table.word)))
            return .refused
        }
        guard mayChange(&iter, to: entry) else { return .lost }
        return write(&iter, entry, TDPMMU_SET_SHARED)
    }

    /// Why the table may not be put there, or nil; and how many leaves are in it.
    private func wrongTable(
        _ table: Table, _ iter: inout tdp_iter, _ rcu: borrowing InsideRCU, _ leaves: inout Int64
    ) -> StaticString? {
        let level = iter.atLevel.below, huge = iter.old, slot = iter.slot, gfn = iter.atGFN
        guard iter.level > 1, table.role == Table(of: slot).role.child, table.gfn == gfn, table.parent == slot
        else { return "sp has another entry's role, gfn or ptep (old_spte, sp)" }
        if huge.isTable(at: iter.atLevel) { return "a table stands there (old_spte, sp)" }
        if mode == .exclusive && !vm.masks.differInBitsOnly(huge, slot.load(rcu)) {
            return "iter->old_spte is not what the entry holds"
        }
        // Of a huge leaf's pieces, which are alike but for their pfns, one says what all are.
        let count = huge.isPresent && table.isOneLeafInPieces(at: level) ? 1 : entriesPerTable
        for index in 0..<count {
            let child = table[index].load(rcu)
            if child == .nonPresent { continue }
            guard child.isPresent else {
                let gfn = GFN(iter.gfn &+ UInt64(index) &* level.pages)
                if vm.isMMIO(child, gfn, level, iter.addressSpace) && !huge.isPresent { continue }
                return "sp has an entry that may not be there (old_spte, sp)"
            }
            guard child.isLast(at: level), vm.wrongLeaf(child, at: level) == nil,
                  !huge.isPresent || child.pfn == huge.sibling(index, at: level).pfn
            else { return "sp has an entry that may not be there (old_spte, sp)" }
            leaves &+= 1
        }
        if count == 1 { leaves = Int64(entriesPerTable) }
        return nil
    }
}

/// Giving way.
extension VM {
    /// As yieldIfWanted() does for a walk of the MMU's own; with the lock that the calling thread holds.
    package func yieldForCaller(_ iter: inout tdp_iter, flush: Bool, shared: Bool, _ rcu: inout InsideRCU) -> Bool {
        var owed = OwedFlush(handedOver: flush), isGivingWay = false
        if shared, var hold = lock.callersReadHold {
            isGivingWay = SPTEWriter(self, hold).yieldOutside(&iter, &owed, &hold, &rcu)
        } else if !shared, var hold = lock.callersWriteHold {
            isGivingWay = SPTEWriter(self, hold).yieldOutside(&iter, &owed, &hold, &rcu)
        }
        owed.forgo(because: "it has been paid, or is the caller's as before")
        if isGivingWay { traceRestart(GFN(iter.next_last_level_gfn), yielded: GFN(iter.yielded_gfn)) }
        return isGivingWay
    }
}

/// How far one leaf may reach.
extension VM {
    package func mappingLevel(of gfn: GFN, addressSpace: Int32, atMost most: Level, _ rcu: borrowing InsideRCU) -> Level {
        guard let slot = slot(holding: gfn, addressSpace: addressSpace, rcu) else { return .page4K }
        var level = min(most, .maxHuge)
        while level > .page4K && !slot.allows(level, at: gfn) { level = level.below }
        return level > .page4K ? min(level, rig.mappingLevel(of: gfn, in: slot)) : level
    }
}
