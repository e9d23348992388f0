// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import MMU
import PageTable
import RCU

/// What the guest does at an address.
package struct Access {
    package var write: Bool
    package var fetch: Bool

    package init(write: Bool, fetch: Bool) {
        self.write = write
        self.fetch = fetch
    }
}

package enum AccessResult {
    case done(Level)
    /// The CPU reports a fault; `present` and `reserved` are its error code's bits.
    case faults(present: Bool, reserved: Bool)
    /// An entry changed under the walker: it starts again.
    case changed
    /// The vCPU was asked to leave its root: kvm_mmu_load() first.
    case mustLoad
    /// The page would be logged, and its ring has no room: harvest and reset it first.
    case ringFull
}

extension VCPU {
    /// One access as the CPU's page walker makes it, without a TLB.
    package func access(_ gfn: GFN, _ access: Access) -> AccessResult {
        rcuReadLock()
        defer { rcuReadUnlock() }
        return inGuest { root in
            while true {
                let result = tryAccess(gfn, access, from: root)
                if case .changed = result { continue }
                return result
            }
        } ?? .mustLoad
    }

    private func tryAccess(_ gfn: GFN, _ access: Access, from root: Table) -> AccessResult {
        let masks = vm.masks
        var table = root
        var level = root.level
        while true {
            let slot = table[gfn.index(at: level)]
            let spte = slot.load()
            guard spte.isPresent, masks.isReadable(spte) else {
                return .faults(present: false, reserved: masks.isMMIO(spte))
            }
            let isLast = spte.isLast(at: level)
            guard allows(spte, access, masks) else { return .faults(present: true, reserved: false) }
            let dirties = isLast && access.write && !masks.isDirty(spte)
            if dirties && !canLogDirty(gfn) { return .ringFull }
            guard setAccessed(slot, spte, dirty: isLast && access.write, masks) else { return .changed }
            if isLast {
                // Page modification logging: the CPU reports what becomes dirty.
                if dirties { logDirty(gfn) }
                return .done(level)
            }
            table = Table(child: spte)
            level = level.below
        }
    }

    private func allows(_ spte: SPTE, _ access: Access, _ masks: SPTEMasks) -> Bool {
        (!access.write || spte.isWritable) && (!access.fetch || masks.isExecutable(spte))
    }

    /// False if the entry is no longer what the walker saw.
    private func setAccessed(
        _ slot: SPTESlot, _ spte: SPTE, dirty: Bool, _ masks: SPTEMasks
    ) -> Bool {
        let new = SPTE(spte.raw | masks.accessed | (dirty ? masks.dirty : 0))
        var seen = spte
        return new == spte || slot.replace(&seen, with: new)
    }
}
