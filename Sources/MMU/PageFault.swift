// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

extension VCPU {
    /// The whole fault path: MMIO, slot, lockless fix, host page, lock, map.  The gfn is
    /// below the limit.
    @inline(never)
    package func pageFault(_ access: FaultAccess, prefetch: Bool) -> FaultResult {
        guard hasRoot else { return faultWithoutRoot }
        if ringIsNearlyFull { return .ringFull }
        if access.isReserved {
            let result = emulatedFault(access)
            if result != .invalid { return result }
        }
        let result = mappedFault(access, prefetch: prefetch)
        vm.traceReturn(TDPMMU_TRACE_PF_RET, result.code)
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
            $0.mmio.access = UInt32(spte.raw & 6)
        }
        return .emulate
    }

    /// In this order the kernel looks: what needs no root is answered whatever root there is, and
    /// whether it is obsolete is only asked under mmu_lock, in Fault.handle().
    @inline(__always)
    private func mappedFault(_ access: FaultAccess, prefetch: Bool) -> FaultResult {
        let fast = fastPageFault(access)
        if fast != .invalid { return fast }
        let sequence = vm.invalidateSequence
        // The host may sleep over its answer, and the slot must outlive that.
        return vm.srcu.inside { srcu in
            slowFault(access, sequence, prefetch: prefetch, srcu)
        } ?? .refused
    }

    @inline(__always)
    private func slowFault(
        _ access: FaultAccess, _ sequence: UInt64, prefetch: Bool, _ srcu: borrowing InsideSRCU
    ) -> FaultResult {
        let seen = SeenSlot(holding: access.gfn, in: vm.slots(addressSpace, srcu), for: self), slot = seen.slot
        var page = HostPage.none
        if let slot {
            if slot.isInvalid || vm.isProbablyStale(access.gfn, sequence) { return .retry }
            if access.isWrite && slot.isReadOnly { return .emulate }
            page = vm.rig.hostPage(of: access.gfn, in: slot, isWrite: access.isWrite)
            if page.pfn.isError { return FaultResult(answer: page.pfn) }
            if vm.isProbablyStale(access.gfn, sequence) { return .retry }
        } else if !vm.masks.cachesMMIO {
            return .emulate
        }
        return vm.lock.read { hold in
            // What the host said may be over: a notifier ran, or runs, for this page.
            if slot != nil && vm.isStale(access.gfn, sequence, hold) { return .retry }
            return Fault(vcpu: self, access, page, prefetch: prefetch, seen: seen).handle(hold)
        } ?? .refused
    }
}
