// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

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
    /// The vCPU has no root, or was asked to leave it: kvm_mmu_load() first.
    case mustLoad
    /// The page would be logged, and the vCPU's ring has no room: harvest and reset it first.
    case ringFull
}

/// What one walk came to.
private enum WalkResult {
    case ended(AccessResult)
    /// An entry changed under the walker, who starts again.
    case disturbed
    /// The CPU's log is full: it exits, and makes the access again.
    case logFull
}

/// What a CPU's page walker writes: the rig is not told, and nothing is counted, since no kernel
/// hears of it either; but it is held to what a CPU can do.
private struct HardwareBook: ChangeBook {
    let vm: VM

    var mode: LockMode { .shared }
    func violation(of wish: SPTEChange) -> StaticString? { wish.violationByCPU(vm.masks) }
    func hasVolatileBits(_ spte: SPTE) -> Bool { true }
    func takesAway(_ change: SPTEChange) -> Bool { false }
    func showFrozen(_ change: SPTEChange, at slot: SPTESlot) {}
    func tell(_ change: SPTEChange, at slot: SPTESlot, wasFrozen: Bool) { vm.seeChange(change, at: slot, .byCPU) }
    func tellBits(_ change: SPTEChange, at slot: SPTESlot) { vm.seeChange(change, at: slot, .byCPU) }
    func isOfBits(_ wish: SPTEChange) -> Bool { false }
    func tableIsCutOff() {}
    func removeTable(_ change: SPTEChange) {}

    func refuse(_ wish: SPTEChange, because reason: StaticString) {
        vm.warn(.spte, "tdpmmu_cpu_access", reason, wish.old.raw, wish.new.raw)
    }
}

extension VCPU {
    /// One access as the CPU's page walker makes it, without a TLB.
    package func access(_ gfn: GFN, _ access: Access) -> AccessResult {
        while true {
            switch enterAndWalk(gfn, access) {
            case .ended(let result): return result
            case .disturbed: continue
            // An empty log has room: there is no third time.
            case .logFull: guard exitWithFullLog() else { return .ringFull }
            }
        }
    }

    private func enterAndWalk(_ gfn: GFN, _ access: Access) -> WalkResult {
        insideRCU { rcu in
            inGuest(rcu) { root in walk(gfn, access, from: root, rcu) } ?? .ended(.mustLoad)
        }
    }

    private func walk(
        _ gfn: GFN, _ access: Access, from root: Table, _ rcu: borrowing InsideRCU
    ) -> WalkResult {
        let masks = vm.masks
        var table = root
        var level = root.level
        while true {
            let slot = table[gfn.index(at: level)]
            let spte = slot.load(rcu)
            guard spte.isPresent, masks.isReadable(spte) else {
                return .ended(.faults(present: false, reserved: masks.isMMIO(spte)))
            }
            let isLast = spte.isLast(at: level)
            guard allows(spte, access, masks) else { return .ended(.faults(present: true, reserved: false)) }
            let marked = SPTE(spte.raw | masks.accessed | (isLast && access.write ? masks.dirty : 0))
            if marked != spte {
                let change = SPTEChange(
                    addressSpace: addressSpace, gfn: gfn.rounded(to: level), level: level, old: spte, new: marked)
                let dirties = isLast && access.write && !masks.isDirty(spte)
                switch setBits(dirtying: dirties ? gfn : nil, { set(slot, change) }) {
                case .made: break
                case .lost: return .disturbed
                case .logFull: return .logFull
                case .ringFull: return .ended(.ringFull)
                }
            }
            if isLast { return .ended(.done(level)) }
            table = Table(child: spte, rcu)
            level = level.below
        }
    }

    private func allows(_ spte: SPTE, _ access: Access, _ masks: SPTEMasks) -> Bool {
        (!access.write || spte.isWritable) && (!access.fetch || masks.isExecutable(spte))
    }

    /// False if the entry is no longer what the walker saw.
    private func set(_ slot: SPTESlot, _ change: SPTEChange) -> Bool {
        var flush = OwedFlush()
        let result = slot.changeAmongOthers(change, in: HardwareBook(vm: vm), owing: &flush)
        flush.forgo(because: "a CPU takes nothing away")
        if case .made = result { return true }
        return false
    }
}
