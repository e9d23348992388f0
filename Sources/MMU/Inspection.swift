// SPDX-License-Identifier: GPL-2.0-only
// What the checker (Rig) looks at of a VM: state that is nobody else's business outside this module.
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// Where a VM's tables and pages are by its own counts.
package struct TableBalance {
    /// Tables that exist, and of these those that wait for a grace period.
    package var alive: UInt64
    package var strays: Int64
    /// And those that callers have, linked nowhere.
    package var handedOut: UInt64
    /// Tables that listed NX splits are by their count.
    package var nxSplits: Int64
    /// Free pages at the vCPUs' hands.
    package var cached = 0
}

extension VM {
    package func withPagesLocked(_ body: () -> Void) { locked(.pages, body) }
    package func withVCPUsLocked(_ body: () -> Void) { locked(.vcpus, body) }

    /// The list of tables that NX recovery may zap.  Under VMLock.pages.
    package var firstNXSplit: Table? { memory.pointee.pages.firstNXSplit }
    package var lastNXSplit: Table? { memory.pointee.pages.lastNXSplit }

    /// What `look` finds while no table is on its way back to the arena: nil if one was, again and again.
    /// Under VMLock.vcpus and .pages, and nobody takes a table: mmu_lock is held for write.
    @_optimize(size)
    package func whileNoTableMoves(_ look: (TableBalance) -> TableBalance) -> TableBalance? {
        for _ in 0..<tries {
            // Acquire, both: pairs with the releases of tableMoves() and tableMoved().
            let before = memory.pointee.tables.moves.load(ordering: .acquiring)
            guard UInt32(truncatingIfNeeded: before) == 0 else { continue }
            var balance = TableBalance(alive: tablesAlive, strays: listedTotal(.strays),
                                       handedOut: memory.pointee.tables.handedOut.load(ordering: .relaxed),
                                       nxSplits: listedTotal(.nxSplits))
            forEachListedVCPU { balance.cached &+= $0.cache.freeCount }
            let result = look(balance)
            atomicMemoryFence(ordering: .acquiring)
            if memory.pointee.tables.moves.load(ordering: .acquiring) == before { return result }
        }
        return nil
    }

    private var tries: Int { 64 }

    /// Under VMLock.vcpus.
    @inline(never)
    package func listedTotal(_ counter: Counter) -> Int64 {
        var sum = counters.read(counter) &+ exclusiveCounters.read(counter)
        forEachListedVCPU { sum &+= $0.counters.read(counter) }
        return sum
    }

    /// Is anything taken back by the host at this moment?
    package var hasTakenRanges: Bool { memory.pointee.taken.count != 0 }

    /// Has the host taken back the page that gfn's slot has there?  Under mmu_lock.
    @inline(never) @_optimize(size)
    package func isTakenBack(_ gfn: GFN, _ space: Int32, _ rcu: borrowing InsideRCU) -> Bool {
        guard hasTakenRanges, let slot = slot(holding: gfn, addressSpace: space, rcu)?.pointee else { return false }
        let start = slot.userspace_addr &+ (gfn.raw &- slot.base_gfn) &<< 12
        return memory.pointee.taken.touches(start, start &+ 4096)
    }

    /// Is this the only VM of the process?
    package var isAlone: Bool { VM.alive.load(ordering: .relaxed) == 1 }
}

extension VCPU {
    /// Its root's header, and what it remembers of tables (LastTable), read until it stood still.
    package struct Memory: Equatable {
        package var root: UInt
        package var space: Int32
        /// Root above, entries of the table, its name's gfn and level; 0 levels: nothing is remembered.
        package var lastRoot: UInt
        package var entries: UInt
        package var gfn: GFN
        package var level: Level
    }

    /// nil: its thread is just writing it.  `above`: of the table above the one that was last.
    package func remembered(above: Bool) -> Memory? {
        let first = look(above), second = look(above)
        return first == second ? first : nil
    }

    @inline(never) @_optimize(size)
    private func look(_ above: Bool) -> Memory {
        // Acquire: pairs with the releases of remember(), which takes the names away first.
        let last = place(of: &memory.pointee.lastTable)
        let name = above ? last.pointee.parentName.load(ordering: .acquiring) : last.pointee.name.load(ordering: .acquiring)
        let isGood = name != .max && last.pointee.cutOff.load(ordering: .acquiring) == vm.tablesCutOff
        let level = isGood ? Int32(truncatingIfNeeded: name &>> 56) : 0
        return Memory(
            root: state.pointee.root.load(ordering: .acquiring), space: addressSpace,
            lastRoot: last.pointee.root.load(ordering: .acquiring), 
            entries: above ? last.pointee.parentEntries.load(ordering: .acquiring) : last.pointee.entries.load(ordering: .acquiring),
            gfn: GFN((name & (1 &<< 56 &- 1)) &<< (9 &* UInt64(UInt32(bitPattern: level)))), level: Level(level))
    }

    /// Of its root's header, or 0.
    package var rootAddress: UInt { state.pointee.root.load(ordering: .relaxed) }

    /// Is the slot there that it remembers, if it goes by that still?
    package func lastSlotIsSound(_ held: borrowing SlotsLocked) -> Bool {
        let last = place(of: &memory.pointee.lastSlot), table = vm.slots(addressSpace, held)
        // Acquire: pairs with the releases of lookForSlot(), which takes the generation away first.
        guard last.pointee.generation.load(ordering: .acquiring) == table.generation else { return true }
        let base = last.pointee.base.load(ordering: .acquiring), pages = last.pointee.pages.load(ordering: .acquiring)
        guard let slot = SlotPointer(bitPattern: last.pointee.slot.load(ordering: .acquiring)) else { return false }
        return table.contains(slot) && slot.pointee.base_gfn == base && slot.pointee.npages == pages
            || last.pointee.generation.load(ordering: .acquiring) != table.generation
    }

    /// May its CPU's log, or its ring, have this page of a slot, and the log not yet?
    @inline(never) @_optimize(size)
    func mayHaveLogged(_ gfn: GFN, _ slot: kvm_memory_slot) -> Bool {
        addressSpace == Int32(slot.as_id) && logHas(gfn)
            || ringHas(slot: UInt32(slot.as_id) << 16 | UInt32(slot.id), offset: gfn.raw &- slot.base_gfn)
    }
}

/// A slot as the checker sees it.
package struct InspectedSlot {
    package let slot: kvm_memory_slot
    private let bitmap: DirtyBitmap?
    private let vm: VM

    package var end: GFN { GFN(slot.base_gfn &+ slot.npages) }
    package var isReadOnly: Bool { slot.flags & UInt32(KVM_MEM_READONLY) != 0 }
    package var isLogged: Bool { slot.flags & UInt32(KVM_MEM_LOG_DIRTY_PAGES) != 0 }

    fileprivate init(_ record: SlotRecord, of vm: VM) {
        slot = record.slot
        bitmap = record.bitmap
        self.vm = vm
    }

    /// The largest level at which the host maps gfn now.
    package func hostLevel(of gfn: GFN) -> Level { withUnsafePointer(to: slot) { vm.rig.mappingLevel(of: gfn, in: $0) } }

    /// Has the host taken back what is mapped at [gfn, gfn + pages)?
    @inline(never) @_optimize(size)
    package func isTaken(_ gfn: GFN, pages: UInt64) -> Bool {
        let start = slot.userspace_addr &+ (gfn.raw &- slot.base_gfn) &<< 12
        return vm.memory.pointee.taken.touches(start, start &+ pages &<< 12)
    }

    package func holds(_ gfn: GFN) -> Bool { gfn.raw &- slot.base_gfn < slot.npages }

    /// May one entry at this level map gfn?
    @inline(never) @_optimize(size)
    package func allows(_ level: Level, at gfn: GFN) -> Bool {
        withUnsafePointer(to: slot) { $0.allows(level, at: gfn) }
    }

    /// Does the dirty log, whichever it is, have every page of [first, first + pages), or will it?
    @inline(never) @_optimize(size)
    package func isMarked(_ first: GFN, pages: UInt64) -> Bool {
        var gfn = first
        while gfn < first + pages {
            guard isMarked(gfn) || vm.mayHaveLogged(gfn, slot) || isMarked(gfn) else { return false }
            gfn = gfn + 1
        }
        return true
    }

    private func isMarked(_ gfn: GFN) -> Bool {
        let page = gfn.raw &- slot.base_gfn
        guard let bitmap else { return false }
        return bitmap.word(Int(truncatingIfNeeded: page / 64)).pointee.load(ordering: .relaxed) &>> (page & 63) & 1 != 0
    }

    /// A bitmap where there is to be one, and no bit behind the slot's last page.
    fileprivate var isSound: Bool {
        guard (bitmap != nil) == (isLogged && vm.ringSize == 0) else { return false }
        guard let bitmap, slot.npages & 63 != 0 else { return true }
        return bitmap.word(Int(truncatingIfNeeded: slot.npages / 64)).pointee.load(ordering: .relaxed)
            &>> (slot.npages & 63) == 0
    }
}

extension VM {
    fileprivate func mayHaveLogged(_ gfn: GFN, _ slot: kvm_memory_slot) -> Bool {
        var found = false
        locked(.vcpus) { forEachListedVCPU { found = found || $0.mayHaveLogged(gfn, slot) } }
        return found
    }

    /// In its address space.
    @inline(never) @_optimize(size)
    package func inspectedSlot(_ gfn: GFN, _ space: Int32, _ rcu: borrowing InsideRCU) -> InspectedSlot? {
        guard let slot = slots(space, rcu).slot(holding: gfn) else { return nil }
        let record = UnsafeRawPointer(slot).assumingMemoryBound(to: SlotRecord.self)
        return InspectedSlot(record.pointee, of: self)
    }

    /// The slots of both address spaces: each sorted in every order, apart, with its bitmap, and as many as they
    /// are said to be; and how many are logged.
    @inline(never) @_optimize(size)
    package func slotsAreSound(_ held: borrowing SlotsLocked) -> Bool {
        var logged: Int64 = 0
        for space in Int32(0)..<2 {
            let table = slots(space, held)
            guard table.generation & 1 == UInt64(UInt32(bitPattern: space)) else { return false }
            for order in SlotOrder.allCases {
                var count = 0, last: UInt64 = 0, isSound = true
                table.forEach(order) { pair in
                    let slot = InspectedSlot(pair.item.pointee, of: self)
                    isSound = isSound && pair.key == order.key(pair.item) && pair.key >= last
                    // The next one's must not lie below: in the order of gfns the end.
                    last = order == .gfn ? slot.end.raw : pair.key
                    count &+= 1
                    guard order == .gfn else { return }
                    if slot.isLogged { logged &+= 1 }
                    isSound = isSound && slot.isSound && Int32(slot.slot.as_id) == space
                }
                guard isSound, count == table.count else { return false }
            }
        }
        return logged == memory.pointee.slots.logged.load(ordering: .relaxed)
    }
}
