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
        let record = table.record(ofID: request.id)
        let fits = request.base.raw &+ request.pages <= gfnLimit.raw
        guard let record else {
            if request.pages == 0 { return .invalid }
            if table.overlaps(start: request.base, pages: request.pages, except: nil) { return .overlap }
            return fits ? addSlot(request, held) : .invalid
        }
        if request.pages == 0 { return replaceSlot(record, by: nil, request.addressSpace, flushing: true, held) }
        let old = record.pointee.slot
        let readOnly = UInt32(KVM_MEM_READONLY)
        guard old.userspace_addr == request.userspaceAddress, old.npages == request.pages,
              (old.flags ^ request.flags) & readOnly == 0 else { return .invalid }
        if old.base_gfn != request.base.raw {
            if table.overlaps(start: request.base, pages: request.pages, except: record) { return .overlap }
            guard fits else { return invalidateAndRestore(record, request.addressSpace, held) }
            return replaceSlot(record, by: request.slot, request.addressSpace, flushing: true, held)
        }
        if old.flags == request.flags { return .none }
        return replaceSlot(record, by: request.slot, request.addressSpace, flushing: false, held)
    }

    private func addSlot(_ request: SlotRequest, _ held: borrowing SlotsLocked) -> SlotError {
        var bitmap: DirtyBitmap?
        guard bitmapFor(request.slot, old: nil, &bitmap) else { return .noMemory }
        guard let record = SlotRecord.make(request.slot, sequence: nextSlotSequence(), bitmap) else {
            cp_free_zeroed(bitmap?.words)
            return .noMemory
        }
        guard let next = slots(request.addressSpace, held).successor(without: nil, adding: record) else {
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
        _ oldRecord: UnsafeMutablePointer<SlotRecord>, by new: kvm_memory_slot?, _ space: Int32, flushing: Bool,
        _ held: borrowing SlotsLocked
    ) -> SlotError {
        let old = slots(space, held)
        var dying = oldRecord.slot.pointee
        dying.flags |= slotInvalidFlag
        // All memory first: a change that began must not fail half-way.
        let oldBitmap = oldRecord.pointee.bitmap
        var newBitmap: DirtyBitmap?
        if let new, !bitmapFor(new, old: oldBitmap, &newBitmap) { return .noMemory }
        var plan = ReplacementPlan(oldBitmap: oldBitmap, newBitmap: newBitmap)
        guard plan.prepare(self, old, oldRecord, new, dying: flushing ? dying : nil) else {
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
    private func invalidateAndRestore(
        _ record: UnsafeMutablePointer<SlotRecord>, _ space: Int32, _ held: borrowing SlotsLocked
    ) -> SlotError {
        var dying = record.slot.pointee
        dying.flags |= slotInvalidFlag
        guard let dyingRecord = SlotRecord.make(dying, sequence: nextSlotSequence(), record.pointee.bitmap) else {
            return .noMemory
        }
        guard let transitional = slots(space, held).successor(without: record, adding: dyingRecord) else {
            cp_free_zeroed(dyingRecord)
            return .noMemory
        }
        guard let restored = transitional.successor(without: dyingRecord, adding: record) else {
            transitional.discard()
            cp_free_zeroed(dyingRecord)
            return .noMemory
        }
        swap(to: transitional, space, adding: nil, held)
        zapForSlot(dying, held)
        // It comes back behind those with the same host address.  No reader has it now.
        record.pointee.sequence = nextSlotSequence()
        swap(to: restored, space, adding: record.slot.pointee, held)
        cp_free_zeroed(dyingRecord)
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
            _ vm: VM, _ old: SlotTable, _ record: UnsafeMutablePointer<SlotRecord>, _ new: kvm_memory_slot?,
            dying: kvm_memory_slot?
        ) -> Bool {
            if let dying { dyingRecord = SlotRecord.make(dying, sequence: vm.nextSlotSequence(), oldBitmap) }
            if let new { newRecord = SlotRecord.make(new, sequence: vm.nextSlotSequence(), newBitmap) }
            if let dyingRecord { transitional = old.successor(without: record, adding: dyingRecord) }
            let complete = (new == nil || newRecord != nil) && (dying == nil || transitional != nil)
            if complete { final = (transitional ?? old).successor(without: dyingRecord ?? record, adding: newRecord) }
            if final != nil { return true }
            transitional?.discard()
            cp_free_zeroed(newRecord)
            cp_free_zeroed(dyingRecord)
            (newRecord, dyingRecord, transitional) = (nil, nil, nil)
            return false
        }
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
        old.free(droppedBy: next)
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
