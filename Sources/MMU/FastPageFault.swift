// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

extension VCPU {
    /// A few tries: each lost one means that the thread that changed the entry made progress.
    private static var tries: Int { 5 }

    /// Lets an access through that only write-protection or access tracking stops.
    /// .invalid: it takes mmu_lock.
    @inline(__always)
    package func fastPageFault(_ access: FaultAccess) -> FaultResult {
        // A present fault that is no write, and an absent one with A/D bits, have other causes.
        guard access.isPresent ? access.isWrite : vm.masks.accessed == 0, !access.isReserved else { return .invalid }
        guard !ringIsFull else { return .invalid }
        return insideRCU { rcu in
            guard let root = root(rcu) else { return .invalid }
            let last = lastEntryByMemory(for: access.gfn, under: root, rcu)
            let result = tryToRepair(last, access, rcu)
            let isOver = result != .retry && !vm.traces(TDPMMU_TRACE_FAST_PAGE_FAULT)
            return isOver ? result : tryOn(access, last, result, under: root, rcu)
        }
    }

    /// After a first try.
    @inline(never)
    private func tryOn(
        _ access: FaultAccess, _ first: LastEntry, _ firstResult: FaultResult, under root: Table,
        _ rcu: borrowing InsideRCU
    ) -> FaultResult {
        var last = first, result = firstResult
        for _ in 1..<Self.tries where result == .retry {
            last = root.lastEntry(for: access.gfn, rcu)
            result = tryToRepair(last, access, rcu)
        }
        if result == .retry { result = .invalid }
        if vm.traces(TDPMMU_TRACE_FAST_PAGE_FAULT) { traceFastFault(access, last, result, rcu) }
        return result
    }

    /// .retry: another thread, or a CPU, changed the entry.
    @inline(__always)
    private func tryToRepair(
        _ last: LastEntry, _ access: FaultAccess, _ rcu: borrowing InsideRCU
    ) -> FaultResult {
        guard last.spte.isLeaf(at: last.level) else { return .invalid }
        if access.isAllowed(by: last.spte, vm.masks) { return .spurious }
        guard let new = repaired(last, access, rcu) else { return .invalid }
        let place = (addressSpace: addressSpace, gfn: access.gfn.rounded(to: last.level), level: last.level)
        let result = last.slot.permit(new, over: last.spte, place, in: FastFaultBook(vm: vm))
            ?? restore(new, last, place.gfn)
        switch result {
        case .lost: return .retry
        case .refused: return .invalid
        case .made: break
        }
        if new.isWritable && !last.spte.isWritable {
            slot(holding: access.gfn, in: vm.slots(addressSpace, rcu))?.markDirty(access.gfn, by: self)
        }
        counters.add(.fastFaults, 1, exclusive: true)
        return .fixed
    }

    /// Where an access-tracked entry gets its bits back.
    @inline(never)
    private func restore(_ new: SPTE, _ last: LastEntry, _ gfn: GFN) -> ChangeResult {
        let wish = SPTEChange(addressSpace: addressSpace, gfn: gfn, level: last.level, old: last.spte, new: new)
        var flush = OwedFlush()
        let result = last.slot.changeAmongOthers(wish, in: FastFaultBook(vm: vm), owing: &flush)
        flush.forgo(because: "rights are given back, none is taken away")
        return result
    }

    /// The value that permits the access, if that is all it takes.
    @inline(__always)
    private func repaired(_ last: LastEntry, _ access: FaultAccess, _ rcu: borrowing InsideRCU) -> SPTE? {
        let old = last.spte
        var new = vm.masks.tracksAccess ? vm.masks.restoredIfTracked(old) : old
        if access.isWrite && vm.masks.isMMUWritable(old) {
            new = SPTE(new.raw | SPTE.writable)
            // A logged slot counts single pages: a huge one must be split first.
            if last.level > .page4K && vm.isLogged(access.gfn, addressSpace, rcu) { return nil }
        }
        return new != old && access.isAllowed(by: new, vm.masks) ? new : nil
    }
}

extension VM {
    package func isLogged(_ gfn: GFN, _ addressSpace: Int32, _ rcu: borrowing InsideRCU) -> Bool {
        slot(holding: gfn, addressSpace: addressSpace, rcu)?.isDirtyLogged ?? false
    }
}

/// A fast fault gives rights back to a leaf that stays: nothing is counted or told but the
/// fault itself, as in the kernel, which has no hook there.
private struct FastFaultBook: FillBook {
    let vm: VM

    @inline(__always) var mode: LockMode { .shared }
    @inline(__always) func violation(of wish: SPTEChange) -> StaticString? { wish.violation(vm.masks) }
    @inline(__always) func hasVolatileBits(_ spte: SPTE) -> Bool { vm.masks.hasVolatileBits(spte) }
    @inline(__always) func isPlainLeaf(_ wish: SPTEChange) -> Bool { vm.masks.isPlainLeaf(wish.new, at: wish.level) }
    @inline(__always) func takesAway(_ change: SPTEChange) -> Bool { false }
    @inline(__always) func showFrozen(_ change: SPTEChange, at slot: SPTESlot) {}
    @inline(__always)
    func tell(_ change: SPTEChange, at slot: SPTESlot, wasFrozen: Bool) { vm.seeChange(change, at: slot, .shared) }
    @inline(__always) func tellBits(_ change: SPTEChange, at slot: SPTESlot) { vm.seeChange(change, at: slot, .shared) }
    @inline(__always) func isOfBits(_ wish: SPTEChange) -> Bool { false }
    @inline(__always) func tableIsCutOff() {}
    @inline(__always) func removeTable(_ change: SPTEChange) {}

    @inline(__always)
    func refuse(_ wish: SPTEChange, because reason: StaticString) {
        vm.refuseChange("fast_page_fault", reason, wish.old, wish.new)
    }
}

extension VCPU {
    @inline(never)
    func traceFastFault(
        _ access: FaultAccess, _ last: LastEntry, _ result: FaultResult, _ rcu: borrowing InsideRCU
    ) {
        let now = last.slot.load(rcu)
        vm.trace(TDPMMU_TRACE_FAST_PAGE_FAULT) {
            $0.fast_page_fault = tdpmmu_trace_fast_page_fault(
                cr2_or_gpa: access.address, error_code: access.errorCode, sptep: vm.address(of: last.slot),
                old_spte: last.spte.raw, new_spte: now.raw, vcpu_id: state.pointee.id, ret: result.code)
        }
    }
}
