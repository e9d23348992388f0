// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

extension VM {
    package var isSetUp: Bool { state.pointee.isSetUp.load(ordering: .acquiring) }

    /// kvm_mmu_init_tdp_mmu(): false if it was set up already.
    package func setUp() -> Bool {
        // The exchange decides between two callers; it publishes nothing else.
        let isNew = !state.pointee.isSetUp.exchange(true, ordering: .acquiringAndReleasing)
        if isNew { wakeNXRecovery() }
        return isNew
    }

    /// kvm_mmu_uninit_tdp_mmu(): everything goes, and must be gone afterwards.
    @inline(never)
    package func tearDown() {
        guard state.pointee.isSetUp.exchange(false, ordering: .acquiringAndReleasing) else { return }
        locked(.vcpus) { forEachListedVCPU { $0.unload() } }
        invalidateAndZapRoots()
        rcuBarrier()
        let roots = rootCount
        let tables = tablesAlive
        if roots != 0 {
            warn(.leak, "kvm_mmu_uninit_tdp_mmu", "roots are still referenced (roots, tables)", roots, tables)
        } else if tables != 0 {
            warn(.leak, "kvm_mmu_uninit_tdp_mmu", "tables are left (tables)", tables)
        }
    }

    /// Marks every root invalid and makes every vCPU leave the one it walks: no fault and no
    /// vCPU uses it from here on, so what is zapped below needs no flush.  mmu_lock for write.
    @inline(never)
    package func invalidateAllRoots() {
        trace(TDPMMU_TRACE_INVALIDATE_ALL_ROOTS)
        locked(.pages) {
            var address = state.pointee.firstRoot.load(ordering: .relaxed)
            while let header = UnsafeMutablePointer<kvm_mmu_page>(bitPattern: address) {
                let root = Table(header)
                let role = root.role
                if !role.isInvalid {
                    root.isScheduledToZap.pointee = true
                    root.roleWord.pointee.store(role.raw | Role.invalidBit, ordering: .relaxed)
                }
                address = root.nextRoot.pointee.load(ordering: .relaxed)
            }
        }
        askVCPUs(TDPMMU_REQ_FREE_OBSOLETE_ROOTS)
    }

    /// Zaps each invalidated root and drops the MMU's own reference to it.  Takes
    /// mmu_lock for read.
    @inline(never)
    package func zapInvalidatedRoots() {
        guard lock.readLock() else { return }
        trace(TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS)
        forEachRoot(.all) { root in
            guard claimScheduledZap(root) else { return }
            zapRoot(root, .shared)
            putRoot(root)
        }
        traceReturn(TDPMMU_TRACE_ZAP_INVALIDATED_ROOTS_RET)
        _ = lock.readUnlock()
    }

    /// Of several threads that zap invalidated roots one gets each root.
    private func claimScheduledZap(_ root: Table) -> Bool {
        locked(.pages) {
            guard root.isScheduledToZap.pointee else { return false }
            root.isScheduledToZap.pointee = false
            return true
        }
    }

    /// Everything mapped so far becomes unreachable at once and is zapped without stopping
    /// faults, which go to new roots.  One at a time, and none beside a slot's change: else that
    /// would end while this still has roots of its own to zap.
    package func zapAllFast() { locked(.slots) { zapAllFastForSlots() } }

    /// VMLock.slots.
    @inline(never)
    func zapAllFastForSlots() {
        trace(TDPMMU_TRACE_ZAP_ALL_FAST)
        invalidateAndZapRoots()
    }

    private func invalidateAndZapRoots() {
        guard lock.writeLock() else { return }
        invalidateAllRoots()
        _ = lock.writeUnlock()
        zapInvalidatedRoots()
    }
}
