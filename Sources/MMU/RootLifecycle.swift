// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

extension VM {
    /// kvm_mmu_init_tdp_mmu(): false if it was set up already.
    package func setUp() -> Bool {
        // Of two callers one gets the old value.  Acquire and release: pairs with isSetUp and tearDown().
        let isNew = !state.pointee.isSetUp.exchange(true, ordering: .acquiringAndReleasing)
        if isNew { wakeNXRecovery() }
        return isNew
    }

    /// kvm_mmu_uninit_tdp_mmu(): everything goes, and must be gone afterwards.
    @inline(never)
    package func tearDown() {
        // Of two callers one gets the old value.  Acquire and release: pairs with isSetUp and setUp().
        guard state.pointee.isSetUp.exchange(false, ordering: .acquiringAndReleasing) else { return }
        // findOrMakeRoot() looks at isSetUp under mmu_lock, and load() gives the vCPU its root under the
        // same hold: the root is seen here, or there is none.
        lock.write { hold in invalidateAllRoots(hold) }
        unloadVCPUs()
        zapInvalidatedRoots()
        // A vCPU that drops its root by itself at this moment does so inside RCU.
        synchronizeRCU()
        rcuBarrier()
        let roots = rootCount
        let tables = tablesAlive
        if roots != 0 {
            warn(.leak, "kvm_mmu_uninit_tdp_mmu", "roots are still referenced (roots, tables)", roots, tables)
        } else if tables != 0 {
            warn(.leak, "kvm_mmu_uninit_tdp_mmu", "tables are left (tables)", tables)
        }
    }

    private func unloadVCPUs() {
        while let root = locked(.vcpus, { takeLoadedRoot() }) { root.put(self) }
    }

    /// Some vCPU's root; nil: none has one.  Under VMLock.vcpus.
    private func takeLoadedRoot() -> RootReference? {
        var vcpu = firstListedVCPU
        while let here = vcpu {
            if let root = here.takeRoot() { return root }
            vcpu = here.nextListed
        }
        return nil
    }

    /// Marks every root invalid and makes every vCPU leave the one it walks: no fault and no vCPU
    /// uses it from here on, so what is zapped below needs no flush.
    @inline(never)
    package func invalidateAllRoots(_ hold: borrowing HeldForWrite) {
        trace(TDPMMU_TRACE_INVALIDATE_ALL_ROOTS)
        locked(.pages) {
            forEachListedRoot { root in
                guard !root.role.isInvalid else { return }
                root.isScheduledToZap = true
                root.invalidate()
            }
        }
        // What vCPUs remember of such a root is not good for a fault.
        countCutOff()
        askVCPUs(TDPMMU_REQ_FREE_OBSOLETE_ROOTS)
    }

    /// Zaps each invalidated root and drops the MMU's own reference to it.  Takes
    /// mmu_lock for read.
    @inline(never)
    package func zapInvalidatedRoots() {
        lock.read { hold in
            trace(TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS)
            forEachRoot(.all) { root in
                guard let own = claimScheduledZap(root) else { return }
                zapRoot(root, &hold)
                own.put(self)
            }
            traceReturn(TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS_RET)
        }
    }

    /// The MMU's own reference to an invalidated root: of several threads that zap
    /// invalidated roots one gets each root's.
    private func claimScheduledZap(_ root: borrowing RootReference) -> RootReference? {
        let table = root.table
        let isOurs = locked(.pages) { () -> Bool in
            defer { table.isScheduledToZap = false }
            return table.isScheduledToZap
        }
        return isOurs ? RootReference(kept: table) : nil
    }

    /// Everything mapped so far becomes unreachable at once and is zapped without stopping
    /// faults, which go to new roots.  One at a time, and none beside a slot's change: else that
    /// would end while this still has roots of its own to zap.
    package func zapAllFast() { withSlotsLocked { held in zapAllFast(held) } }

    @inline(never)
    func zapAllFast(_ held: borrowing SlotsLocked) {
        trace(TDPMMU_TRACE_ZAP_ALL_FAST)
        invalidateAndZapRoots()
    }

    private func invalidateAndZapRoots() {
        lock.write { hold in invalidateAllRoots(hold) }
        zapInvalidatedRoots()
    }
}
