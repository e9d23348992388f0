// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// A slot as a caller wants it, arguments checked for themselves.
package struct SlotRequest {
    package var id: UInt16
    package var addressSpace: Int32
    package var base: GFN
    /// 0 deletes.
    package var pages: UInt64
    package var userspaceAddress: UInt64
    package var flags: UInt32

    package init(id: UInt16, addressSpace: Int32, base: GFN, pages: UInt64, userspaceAddress: UInt64, flags: UInt32) {
        self.id = id
        self.addressSpace = addressSpace
        self.base = base
        self.pages = pages
        self.userspaceAddress = userspaceAddress
        self.flags = flags
    }

    var slot: kvm_memory_slot {
        kvm_memory_slot(
            base_gfn: base.raw, npages: pages, userspace_addr: userspaceAddress,
            flags: flags, id: id, as_id: UInt16(addressSpace))
    }
}

package enum SlotError {
    case none
    case invalid
    case overlap
    case noMemory
}

extension VM {
    /// Adds, deletes, moves or re-flags a slot.  No lock, not in RCU.
    @inline(never)
    package func setSlot(_ request: SlotRequest) -> SlotError {
        withSlotsLocked { held in changeSlot(request, held) }
    }

    /// The order of the checks is the kernel's.
    private func changeSlot(_ request: SlotRequest, _ held: borrowing SlotsLocked) -> SlotError {
        let table = slots(request.addressSpace, held)
        let index = table.index(ofID: request.id)
        if request.pages == 0 {
            return index < 0 ? .invalid : replaceSlot(at: index, by: nil, request.addressSpace, flushing: true, held)
        }
        let fits = request.base.raw &+ request.pages <= gfnLimit.raw
        guard index >= 0 else {
            if table.overlaps(start: request.base, pages: request.pages, except: -1) { return .overlap }
            return fits ? addSlot(request, held) : .invalid
        }
        let old = table[index].slot.pointee
        let readOnly = UInt32(KVM_MEM_READONLY)
        guard old.userspace_addr == request.userspaceAddress, old.npages == request.pages,
              (old.flags ^ request.flags) & readOnly == 0 else { return .invalid }
        if old.base_gfn != request.base.raw {
            if table.overlaps(start: request.base, pages: request.pages, except: index) { return .overlap }
            guard fits else { return invalidateAndRestore(at: index, request.addressSpace, held) }
            return replaceSlot(at: index, by: request.slot, request.addressSpace, flushing: true, held)
        }
        if old.flags == request.flags { return .none }
        return replaceSlot(at: index, by: request.slot, request.addressSpace, flushing: false, held)
    }

    private func addSlot(_ request: SlotRequest, _ held: borrowing SlotsLocked) -> SlotError {
        var bitmap: DirtyBitmap?
        guard bitmapFor(request.slot, old: nil, &bitmap) else { return .noMemory }
        guard let record = SlotRecord.make(request.slot, sequence: nextSlotSequence(), bitmap) else {
            cp_free_zeroed(bitmap?.words)
            return .noMemory
        }
        guard let next = successor(of: slots(request.addressSpace, held), without: -1, adding: record) else {
            cp_free_zeroed(bitmap?.words)
            cp_free_zeroed(record)
            return .noMemory
        }
        swap(to: next, request.addressSpace, adding: request.slot, held)
        if isLogged(request.slot) { countLogged(1) }
        return .none
    }

    /// Under VMLock.slots.
    fileprivate func nextSlotSequence() -> UInt64 {
        memory.pointee.slots.recordsMade &+= 1
        return memory.pointee.slots.recordsMade
    }

    private func isLogged(_ slot: kvm_memory_slot?) -> Bool {
        (slot?.flags ?? 0) & UInt32(KVM_MEM_LOG_DIRTY_PAGES) != 0
    }

    /// The bitmap a slot needs: the one it had, a new one, or none.  False: no memory.
    private func bitmapFor(_ slot: kvm_memory_slot, old: DirtyBitmap?, _ bitmap: inout DirtyBitmap?) -> Bool {
        // With rings each vCPU remembers for itself.
        guard isLogged(slot), ringSize == 0 else { return true }
        let switches = switches
        bitmap = old ?? DirtyBitmap.make(
            pages: slot.npages, allDirty: switches.manualProtect && switches.initiallySet)
        return bitmap != nil
    }

    /// Deleting and moving first make the slot invalid and zap all that was
    /// mapped through it, so that no fault finds the old place again.
    private func replaceSlot(
        at index: Int, by new: kvm_memory_slot?, _ space: Int32, flushing: Bool, _ held: borrowing SlotsLocked
    ) -> SlotError {
        let old = slots(space, held)
        let oldRecord = old[index]
        var dying = oldRecord.slot.pointee
        dying.flags |= slotInvalidFlag
        // All memory first: a change that began must not fail half-way.
        let oldBitmap = oldRecord.pointee.bitmap
        var newBitmap: DirtyBitmap?
        if let new, !bitmapFor(new, old: oldBitmap, &newBitmap) { return .noMemory }
        var plan = ReplacementPlan(oldBitmap: oldBitmap, newBitmap: newBitmap)
        guard plan.prepare(self, old, index, new, dying: flushing ? dying : nil) else {
            if oldBitmap == nil { cp_free_zeroed(newBitmap?.words) }
            return .noMemory
        }
        if let transitional = plan.transitional {
            swap(to: transitional, space, adding: nil, held)
            zapForSlot(dying, held)
        }
        swap(to: plan.final.unsafelyUnwrapped, space, adding: flushing ? new : nil, held)
        cp_free_zeroed(oldRecord)
        if let record = plan.dyingRecord {
            cp_free_zeroed(record)
        }
        finishLogging(from: dying, to: new, toggles: !flushing, held)
        if let oldBitmap, newBitmap == nil {
            cp_free_zeroed(oldBitmap.words)
        }
        return .none
    }

    /// A move is refused late, as in the kernel: the slot was invalid and zapped by then, and
    /// comes back as it was.
    private func invalidateAndRestore(at index: Int, _ space: Int32, _ held: borrowing SlotsLocked) -> SlotError {
        let old = slots(space, held), record = old[index]
        var dying = record.slot.pointee
        dying.flags |= slotInvalidFlag
        var plan = ReplacementPlan(oldBitmap: record.pointee.bitmap, newBitmap: nil)
        guard plan.prepare(self, old, index, nil, dying: dying),
              let restored = successor(of: old, without: index, adding: record) else {
            cp_free_zeroed(plan.dyingRecord)
            cp_free_zeroed(plan.transitional?.header)
            cp_free_zeroed(plan.final?.header)
            return .noMemory
        }
        cp_free_zeroed(plan.final?.header)
        let transitional = plan.transitional.unsafelyUnwrapped
        restored.header.pointee.generation = transitional.generation + 2
        swap(to: transitional, space, adding: nil, held)
        zapForSlot(dying, held)
        swap(to: restored, space, adding: record.slot.pointee, held)
        cp_free_zeroed(plan.dyingRecord)
        return .invalid
    }

    /// Nothing may be mapped through a slot that goes or moves.
    private func zapForSlot(_ slot: kvm_memory_slot, _ held: borrowing SlotsLocked) {
        guard switches.zapSlotOnly else { return zapAllFast(held) }
        lock.write { hold in
            var flush = OwedFlush()
            unmapRange(
                addressSpace: Int32(slot.as_id), start: GFN(slot.base_gfn),
                end: GFN(slot.base_gfn + slot.npages), mayBlock: true, &hold, owing: &flush)
            // A notifier that gave way in another slot may have zapped here already, and owe the flush still.
            // (The kernel's slots change only when no invalidation runs.)
            if isInvalidating { flush.owe() }
            flush.pay { flushAll() }
        }
        // The flush makes the kernel's vCPUs exit, and the slot's log is still there.
        forEachVCPU { _ = $0.exitGuest() }
    }

    /// What a change of a slot means for its dirty log, once it is published.
    private func finishLogging(from old: kvm_memory_slot, to slot: kvm_memory_slot?, toggles: Bool, _ held: borrowing SlotsLocked) {
        let isOn = isLogged(slot)
        guard isLogged(old) != isOn else { return }
        countLogged(isOn ? 1 : -1)
        guard let slot, toggles, slot.flags & UInt32(KVM_MEM_READONLY) == 0 else { return }
        rig.committing(self.slot(id: slot.id, addressSpace: Int32(slot.as_id), held))
        applyLogging(slot, on: isOn)
    }

    /// A logged slot more, or one less: the CPUs log as long as there is any.
    private func countLogged(_ change: Int64) {
        // Sequentially consistent, with isLoggedByCPUs and waitUntilOutOfGuest().
        let count = memory.pointee.slots.logged.wrappingAdd(change, ordering: .sequentiallyConsistent).newValue
        let isFirst = change > 0 && count == 1
        if isFirst || count == 0 { drainDirtyLogs() }
    }

    private struct ReplacementPlan {
        let oldBitmap: DirtyBitmap?
        let newBitmap: DirtyBitmap?
        var newRecord: UnsafeMutablePointer<SlotRecord>?
        var dyingRecord: UnsafeMutablePointer<SlotRecord>?
        var transitional: SlotTable?
        var final: SlotTable?

        /// False, with nothing kept, when there is no memory.
        mutating func prepare(
            _ vm: VM, _ old: SlotTable, _ index: Int, _ new: kvm_memory_slot?, dying: kvm_memory_slot?
        ) -> Bool {
            if let dying { dyingRecord = SlotRecord.make(dying, sequence: vm.nextSlotSequence(), oldBitmap) }
            if let new { newRecord = SlotRecord.make(new, sequence: vm.nextSlotSequence(), newBitmap) }
            if let dyingRecord {
                transitional = vm.successor(of: old, without: index, adding: dyingRecord)
            }
            final = vm.successor(of: old, without: index, adding: newRecord)
            if let transitional, let final {
                final.header.pointee.generation = transitional.generation + 2
            }
            let complete = (new == nil || newRecord != nil) && final != nil
                && (dying == nil || transitional != nil)
            if !complete {
                cp_free_zeroed(newRecord)
                cp_free_zeroed(dyingRecord)
                cp_free_zeroed(transitional?.header)
                cp_free_zeroed(final?.header)
                (newRecord, dyingRecord, transitional, final) = (nil, nil, nil, nil)
            }
            return complete
        }
    }

    /// A copy of a slot table with one record left out (index, or -1) and one put in.
    fileprivate func successor(
        of table: SlotTable, without index: Int, adding record: UnsafeMutablePointer<SlotRecord>?
    ) -> SlotTable? {
        let count = table.count - (index < 0 ? 0 : 1) + (record == nil ? 0 : 1)
        guard let next = SlotTable.make(count: count, generation: table.generation + 2) else { return nil }
        next.fill(from: table, without: index < 0 ? nil : table[index], adding: record)
        return next
    }

    /// Publishes a slot table, and frees the one before when its last user is gone.  Its
    /// users are page faults, in SRCU, and those that hold mmu_lock or fix an SPTE
    /// without it, in RCU: from here on all of them see the new flags, before the
    /// caller protects what was mapped by the old ones.
    /// `slot` appears: invalidations that run have not seen it, so its faults wait for them.
    private func swap(
        to next: SlotTable, _ space: Int32, adding slot: kvm_memory_slot?, _ held: borrowing SlotsLocked
    ) {
        let old = slots(space, held)
        locked(.retiredSlots) { memory.pointee.retiredSlots.table = old.header }
        if let slot { publish(next, space, adding: slot) } else { publish(next, space) }
        srcu.synchronize()
        synchronizeRCU()
        locked(.retiredSlots) { memory.pointee.retiredSlots.table = nil }
        cp_free_zeroed(old.header)
        // MMIO SPTEs keep 19 bits: when these wrap, an old one could look fresh.
        if next.generation & mmioGenerationMask <= 1 { zapAllFast(held) }
    }
}

extension VM {
    /// With the lock, an invalidation begins either before this or with the new table.
    fileprivate func publish(_ table: SlotTable, _ space: Int32, adding slot: kvm_memory_slot) {
        lock.write { hold in
            if isInvalidating {
                addInvalidation(start: GFN(slot.base_gfn), end: GFN(slot.base_gfn + slot.npages), hold)
            }
            publish(table, space)
        }
    }
}
