// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync

/// What the host says of a guest page.
private struct HostPage {
    var pfn: PFN
    var writable: Bool
    var level: Level
}

extension VCPU {
    /// The whole fault path: slot, lockless fix, host page, lock, map.  gfn is below
    /// the limit.  `error`: the host's answer if it is no page.
    @inline(never)
    package func pageFault(
        gfn: GFN, _ access: FaultAccess, prefetch: Bool = false
    ) -> (result: FaultResult, error: PFN?) {
        guard let root, !root.role.isInvalid else { return (.retry, nil) }
        if ringIsNearlyFull { return (.ringFull, nil) }
        switch fastPageFault(gfn, access, from: root) {
        case .fixed: return (.fixed, nil)
        case .spurious: return (.spurious, nil)
        case .invalid: break
        }
        let sequence = vm.invalidateSequence
        // The host may sleep over its answer, and the slot must outlive that.
        let token = vm.srcu.readLock()
        guard token >= 0 else { return (.refused, nil) }
        defer { vm.srcu.readUnlock(token) }
        let slot = vm.slot(holding: gfn, addressSpace: addressSpace)
        var page = HostPage(pfn: .noSlot, writable: false, level: .page4K)
        if let slot {
            if slot.isInvalid { return (.retry, nil) }
            if access.isWrite && slot.isReadOnly { return (.emulate, nil) }
            page = vm.hostPage(of: gfn, in: slot, isWrite: access.isWrite)
            if page.pfn.isError { return (.refused, page.pfn) }
        }
        guard vm.lock.readLock() else { return (.refused, nil) }
        defer { _ = vm.lock.readUnlock() }
        // What the host said may be over: a notifier ran, or runs, for this page.
        if slot != nil && vm.isStale(gfn, sequence) { return (.retry, nil) }
        let fault = Fault(
            vcpu: self, gfn: gfn, isWrite: access.isWrite, isFetch: access.isFetch, pfn: page.pfn,
            hostWritable: page.writable, hostLevel: page.level, prefetch: prefetch)
        return (fault.handle(), nil)
    }
}

/// How mapping one stretch ahead of the guest ended.
package enum PrefaultResult {
    /// Mapped, by a leaf that reaches to this gfn.
    case mapped(until: GFN)
    case noMemorySlot
    case failed(FaultResult, PFN?)
}

extension VCPU {
    /// Maps what holds gfn as if the guest had read it, but not seen.
    @inline(never)
    package func prefault(_ gfn: GFN) -> PrefaultResult {
        for _ in 0..<Self.prefaultTries {
            guard load(), let root else { return .failed(.noMemory, nil) }
            let (result, error) = pageFault(gfn: gfn, FaultAccess(errorCode: 0), prefetch: true)
            switch result {
            case .retry: cp_yield()
            case .fixed, .spurious:
                let level = vm.insideRCU { lastEntry(for: gfn, from: root).level }
                return .mapped(until: gfn.rounded(to: level) + level.pages)
            case .emulate: return .noMemorySlot
            case .noMemory, .ringFull, .refused: return .failed(result, error)
            }
        }
        return .failed(.retry, nil)
    }

    /// An invalidation that does not end, of this very thread perhaps, must not
    /// keep it for ever.
    private static var prefaultTries: Int { 1000 }
}

extension VM {
    fileprivate func hostPage(of gfn: GFN, in slot: SlotPointer, isWrite: Bool) -> HostPage {
        var writable = !slot.isReadOnly
        guard let callback = state.pointee.config.ops.gfn_to_pfn else {
            // The host's virtual frames stand in for physical ones, folded to fit.
            let frame = (slot.pointee.userspace_addr >> 12) &+ (gfn.raw - slot.pointee.base_gfn)
            return HostPage(pfn: PFN(frame & pfnMask), writable: writable, level: .maxHuge)
        }
        var level = Level.maxHuge.raw
        let pfn = callback(
            state.pointee.config.opsContext, kvm, slot, gfn.raw, isWrite, &writable, &level)
        return HostPage(pfn: PFN(pfn), writable: writable, level: Level(max(1, min(level, 3))))
    }

    /// Largest pfn of this VM.
    package var pfnMask: UInt64 { (1 &<< UInt64(state.pointee.config.maxPhysicalBits - 12)) - 1 }
}
