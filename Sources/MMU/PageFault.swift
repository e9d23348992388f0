// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

extension VCPU {
    /// The guest's fault, while nobody wants to hear of it; else the same one out of line.
    @inline(__always)
    package func guestFault(_ access: FaultAccess) -> FaultResult {
        vm.tellsAny ? watchedFault(access) : pageFault(access, prefetch: false, watched: false)
    }

    @inline(never)
    private func watchedFault(_ access: FaultAccess) -> FaultResult {
        vm.see(.begins, "kvm_tdp_mmu_page_fault", .faults, by: pointer)
        let result = pageFaultAtLength(access, prefetch: false)
        vm.see(.ends, "kvm_tdp_mmu_page_fault", .faults, by: pointer)
        return result
    }

    @inline(never)
    func pageFaultAtLength(_ access: FaultAccess, prefetch: Bool) -> FaultResult {
        pageFault(access, prefetch: prefetch, watched: true)
    }

    /// The whole fault path: out of the guest, MMIO, slot, lockless fix, host page, lock, map.  `prefetch`: the guest
    /// is out already, and the gfn below the limit.  `watched`: somebody may want to hear of it.
    @inline(__always)
    package func pageFault(_ access: FaultAccess, prefetch: Bool, watched: Bool) -> FaultResult {
        if !prefetch {
            exitGuest()
            if watched && vm.traces(TDPMMU_TRACE_PAGE_FAULT) { traceFault(access) }
            guard access.gfn < vm.gfnLimit else { return .emulate }
        }
        guard hasRoot else { return faultWithoutRoot }
        if hasRing || access.isOfEntry || vm.masks.accessed == 0 {
            let result = repairedFault(access)
            if result != .invalid { return result }
        }
        let result = mappedFault(access, prefetch: prefetch, watched: watched)
        if watched { vm.traceReturn(TDPMMU_TRACE_PF_RET, result.code) }
        return result
    }

    /// What needs no page of the host: the ring must be emptied first, MMIO, or the entry that is there can be
    /// changed.  .invalid: it needs one.
    @inline(never)
    private func repairedFault(_ access: FaultAccess) -> FaultResult {
        if ringIsNearlyFull { return .ringFull }
        if access.isReserved {
            let result = emulatedFault(access)
            if result != .invalid { return result }
        }
        let result = fastPageFault(access)
        if result != .invalid { vm.traceReturn(TDPMMU_TRACE_PF_RET, result.code) }
        return result
    }

    /// The CPU met reserved bits, which only MMIO SPTEs have.  .invalid: the SPTE is older
    /// than the slots, and the address may be memory by now.
    @inline(never)
    private func emulatedFault(_ access: FaultAccess) -> FaultResult {
        let last = insideRCU { rcu in root(rcu)?.lastEntry(for: access.gfn, rcu).spte }
        // It was zapped meanwhile, or the root is gone.
        guard let spte = last, vm.masks.isMMIO(spte) else { return .retry }
        let generation = vm.slotGeneration(addressSpace) & mmioGenerationMask
        vm.trace(TDPMMU_TRACE_CHECK_MMIO_SPTE) {
            $0.mmio_check = tdpmmu_trace_mmio_check(
                spte: spte.raw, kvm_gen: UInt32(generation), spte_gen: UInt32(spte.mmioGeneration))
        }
        guard spte.mmioGeneration == generation else { return .invalid }
        vm.trace(TDPMMU_TRACE_HANDLE_MMIO) {
            $0.mmio.gfn = vm.masks.mmioGFN(spte).raw
            // EPT's MMIO SPTEs keep no access: what looks like it makes them misconfigured.
            $0.mmio.access = UInt32(spte.raw & vm.masks.mmioAccess)
        }
        return .emulate
    }

    /// In this order the kernel looks: what needs no root is answered whatever root there is, and
    /// whether it is obsolete is only asked under mmu_lock, in way() or Fault.handleAtLength().
    @inline(__always)
    private func mappedFault(_ access: FaultAccess, prefetch: Bool, watched: Bool) -> FaultResult {
        let sequence = vm.invalidateSequence
        // The host may sleep over its answer, and the slot must outlive that.
        return vm.srcu.inside { srcu in
            let seen = SeenSlot(holding: access.gfn, in: vm.slots(addressSpace, srcu), for: self)
            guard let slot = seen.slot else { return faultOutsideSlots(access, prefetch: prefetch, seen) }
            if vm.isProbablyStale(access.gfn, sequence) { return .retry }
            if slot.isInvalidOrReadOnly {
                if slot.isInvalid { return .retry }
                if access.isWrite { return .emulate }
            }
            let page = vm.rig.hostPage(of: access.gfn, in: slot, isWrite: access.isWrite, watched: watched)
            if !page.isPage, page.pfn.isError { return FaultResult(answer: page.pfn) }
            // Linux looks for invalidations here as well, to spare mmu_lock a reader; here that disturbs nobody.
            return vm.lock.read { hold in
                // What the host said may be over: a notifier ran, or runs, for this page.
                if vm.isStale(access.gfn, sequence, hold) { return .retry }
                // As in Linux the slot is the one that was seen: who changes it waits for us, and then looks here.
                let result = page.isPage && !prefetch
                    ? insideRCU { rcu in fillAtOnce(access.gfn, page, in: slot, hold, rcu) } : .invalid
                if result != .invalid { return result }
                return Fault(vcpu: self, access, page, prefetch: prefetch, seen: seen).handleAtLength(hold)
            } ?? .noMemory
        } ?? .noMemory
    }

    @inline(never)
    private func faultOutsideSlots(_ access: FaultAccess, prefetch: Bool, _ seen: SeenSlot) -> FaultResult {
        guard vm.masks.cachesMMIO else { return .emulate }
        return vm.lock.read { hold in
            Fault(vcpu: self, access, .none, prefetch: prefetch, seen: seen).handleAtLength(hold)
        } ?? .noMemory
    }
}
