// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync

/// How mmu_lock is held.
package enum LockMode {
    case shared
    case exclusive
}

/// Who changes SPTEs: for which VM, under which lock, counting where.
package struct Actor {
    package let vm: VM
    package let mode: LockMode
    let counters: Counters
    /// Nobody else writes `counters` meanwhile.
    let countsAlone: Bool

    /// An operation on the whole VM.
    @inline(__always) package init(_ vm: VM, _ mode: LockMode) {
        self.vm = vm
        self.mode = mode
        countsAlone = mode == .exclusive
        counters = countsAlone ? vm.exclusiveCounters : vm.counters
    }

    /// A vCPU's fault.
    @inline(__always) package init(_ vcpu: VCPU) {
        vm = vcpu.vm
        mode = .shared
        counters = vcpu.counters
        countsAlone = true
    }

    @inline(__always) func count(_ counter: Counter, _ n: Int64 = 1) {
        counters.add(counter, n, exclusive: countsAlone)
    }

    @inline(__always) func countLeaves(at level: Level, _ n: Int64) {
        guard level <= .maxHuge else { return }
        counters.add(level == .page4K ? .pages4K : level == .page2M ? .pages2M : .pages1G,
                     n, exclusive: countsAlone)
    }
}

/// One change of one SPTE.
package struct SPTEChange {
    package let addressSpace: Int32
    package let gfn: GFN
    package let level: Level
    package let old: SPTE
    package let new: SPTE

    @inline(__always)
    init(addressSpace: Int32, gfn: GFN, level: Level, old: SPTE, new: SPTE) {
        self.addressSpace = addressSpace
        self.gfn = gfn
        self.level = level
        self.old = old
        self.new = new
    }

    /// The change of the entry a walk stands on.
    @inline(__always)
    init(_ iter: borrowing tdp_iter, to new: SPTE) {
        self.init(addressSpace: iter.as_id, gfn: GFN(iter.gfn), level: Level(iter.level),
                  old: SPTE(iter.old_spte), new: new)
    }

    /// Why this must never happen, or nil.
    @inline(__always)
    package func fault(_ masks: SPTEMasks) -> StaticString? {
        if new.isPresent {
            if new.isLast(at: level) {
                if level > .maxHuge { return "a leaf above 1G" }
                if !masks.writableBitsAgree(new) { return "writable bits that contradict each other" }
                if old.isLeaf(at: level) && old.pfn != new.pfn {
                    return "a present leaf may not change its pfn in one step"
                }
            } else if old.isTable(at: level) && old.pfn != new.pfn {
                return "a table may not be replaced by another in one step"
            }
        } else if !old.isPresent && !new.isFrozen && !old.isFrozen
                    && !masks.isMMIO(new) && !masks.isMMIO(old) {
            return "a non-present value that is neither frozen nor MMIO replaces another"
        }
        return nil
    }
}

package enum SetResult {
    /// The new value is in place and everybody knows.
    case done
    /// Somebody else changed the entry first; the iterator has the value seen.
    case lost
    /// The change is illegal: warned, not made.
    case refused
}

extension Actor {
    /// The one place through which a walk changes an SPTE.
    @inline(__always)
    package func set(_ iter: inout tdp_iter, _ new: SPTE) -> SetResult {
        if let reason = SPTEChange(iter, to: new).fault(vm.masks) {
            refuse(reason, iter.old, new)
            return .refused
        }
        switch mode {
        case .shared:
            // A frozen entry belongs to whoever froze it.
            guard !iter.old.isFrozen else { return .lost }
            let old = iter.old
            var seen = old
            guard iter.slot.replace(&seen, with: new) else {
                iter.old = seen
                return .lost
            }
            finish(SPTEChange(iter, to: new))
        case .exclusive:
            writeExclusively(&iter, new)
            finish(SPTEChange(iter, to: new))
        }
        return .done
    }

    /// With mmu_lock for write only the CPU still writes: its Accessed and Dirty
    /// bits must not be lost between our read and our write.
    @inline(__always)
    private func writeExclusively(_ iter: inout tdp_iter, _ new: SPTE) {
        if iter.isAtLeaf && vm.masks.hasVolatileBits(iter.old) {
            iter.old = iter.slot.exchange(new)
        } else {
            iter.slot.store(new)
        }
    }

    /// Empties an entry under the read lock: frozen keeps others off until the CPUs
    /// have forgotten what it mapped.
    @inline(never)
    func zapAtomically(_ iter: inout tdp_iter) -> SetResult {
        guard !iter.old.isFrozen else { return .lost }
        let old = iter.old
        var seen = old
        guard iter.slot.replace(&seen, with: .frozen) else {
            iter.old = seen
            return .lost
        }
        vm.flush(iter.atGFN, pages: iter.atLevel.pages)
        iter.slot.store(.nonPresent)
        finish(SPTEChange(iter, to: .nonPresent))
        iter.old = .nonPresent
        return .done
    }

    /// What follows every change: trace, count, and care for a subtree cut off.
    @inline(__always)
    func finish(_ change: SPTEChange) {
        record(change)
        if change.old.isTable(at: change.level) && !change.new.isTable(at: change.level) {
            removeSubtree(change)
        }
    }

    @inline(__always)
    func record(_ change: SPTEChange) {
        vm.rig.changed(change, shared: mode == .shared)
        if vm.traces(TDPMMU_TRACE_SPTE_CHANGED) { vm.traceChange(change) }
        count(.spteChanges)
        let wasLeaf = change.old.isLeaf(at: change.level), isLeaf = change.new.isLeaf(at: change.level)
        if wasLeaf != isLeaf { countLeaves(at: change.level, isLeaf ? 1 : -1) }
    }

    @inline(never)
    private func refuse(_ reason: StaticString, _ old: SPTE, _ new: SPTE) {
        vm.warn(.spte, "spte_change", reason, old.raw, new.raw)
    }
}
