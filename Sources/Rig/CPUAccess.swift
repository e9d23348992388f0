// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

/// What the guest does at an address.
package struct Access {
    package var rights: Rights
    /// The CPU reads its own tables for the guest.
    package var isOfTables: Bool

    package init(write: Bool, fetch: Bool, isOfTables: Bool = false) {
        rights = write ? fetch ? [.write, .fetch] : .write : fetch ? .fetch : .read
        self.isOfTables = isOfTables
    }
}

package enum AccessEnd {
    case done
    /// The CPU reports a fault, or what it takes for a misconfiguration.
    case faults, misconfigured
    /// The vCPU has no root, or was asked to leave it: kvm_mmu_load() first.
    case mustLoad
    /// The page would be logged, and the vCPU's ring has no room: harvest and reset it first.
    case ringFull
}

/// What came of an access.
package struct AccessResult {
    package var end: AccessEnd
    package var isHit = false
    /// Of a fault: something is there, and does not allow it.
    package var isPresent = false
    package var level = Level(0)
    package var spte = SPTE(0)
    package var pfn: UInt64 = 0
    /// The AND over the levels.
    package var rights: Rights = []

    /// The rest is told by nobody.
    package init(end: AccessEnd, isPresent: Bool) {
        self.end = end
        self.isPresent = isPresent
    }

    init(
        end: AccessEnd, isHit: Bool = false, level: Level = Level(0), spte: SPTE = SPTE(0), pfn: UInt64 = 0, rights: Rights = []
    ) {
        self.end = end
        self.isHit = isHit
        self.level = level
        self.spte = spte
        self.pfn = pfn
        self.rights = rights
    }
}

/// What one try came to.
enum TryResult {
    case ended(AccessResult)
    /// An entry changed under the walker, or somebody asked the CPU to forget: it starts again.
    case disturbed
    /// The CPU's log is full: it exits, and makes the access again.
    case logFull
}

extension VM {
    /// How CPUs of this VM read an entry.
    package var hardwareBits: HardwareBits {
        HardwareBits(isEPT: state.pointee.config.vendor == .ept, setsAD: masks.accessed != 0,
                     maxPhysicalBits: state.pointee.config.maxPhysicalBits)
    }
}

/// The same of a CPU without caches, which goes by what the library means by an entry.
package struct PlainResult {
    package var end: AccessEnd
    package var isPresent = false
    package var level = Level(0)
}

extension VCPU {
    /// One access while nobody looks on, in tables that are the library's own and right: a walk, and nothing told of it
    /// but what KVM hears.
    @inline(__always)
    package func plainAccess(_ gfn: GFN, write: Bool, fetch: Bool) -> PlainResult {
        while true {
            let result = insideRCU { rcu in
                inGuest(rcu) { root in plainWalk(gfn, write: write, fetch: fetch, from: root, rcu) }
            }
            guard let (end, came) = result else { return PlainResult(end: .mustLoad) }
            switch end {
            case .made: return came
            case .lost: continue
            case .logFull: guard exitWithFullLog() else { return PlainResult(end: .ringFull) }
            case .ringFull: return PlainResult(end: .ringFull)
            }
        }
    }

    @inline(__always)
    private func plainWalk(
        _ gfn: GFN, write: Bool, fetch: Bool, from root: Table, _ rcu: borrowing InsideRCU
    ) -> (BitsResult, PlainResult) {
        let masks = vm.masks
        var table = root, level = root.level
        while true {
            let slot = table[gfn.index(at: level)], spte = slot.load(rcu)
            guard spte.isPresent, masks.isReadable(spte) else {
                return (.made, PlainResult(end: masks.isMMIO(spte) ? .misconfigured : .faults, level: level))
            }
            let isLast = spte.isLast(at: level)
            guard (!write || spte.isWritable) && (!fetch || masks.isExecutable(spte)) else {
                return (.made, PlainResult(end: .faults, isPresent: true, level: level))
            }
            let marked = SPTE(spte.raw | masks.accessed | (isLast && write ? masks.dirty : 0))
            if marked != spte {
                let result = mark(slot, spte, marked, gfn, level)
                if case .made = result {} else { return (result, PlainResult(end: .ringFull)) }
            }
            if isLast { return (.made, PlainResult(end: .done, level: level)) }
            table = Table(child: spte, rcu)
            level = level.below
        }
    }

    /// The CPU sets Accessed, and Dirty, which it logs.
    func mark(_ slot: SPTESlot, _ old: SPTE, _ new: SPTE, _ gfn: GFN, _ level: Level) -> BitsResult {
        let change = SPTEChange(addressSpace: addressSpace, gfn: gfn.rounded(to: level), level: level, old: old, new: new)
        return setBits(dirtying: (new.raw ^ old.raw) & vm.masks.dirty != 0 ? gfn : nil) { HardwareWalk.set(slot, change, vm) }
    }

    /// One access as the CPU makes it: with its caches, if it has any, and else by a walk.
    @inline(never)
    package func access(_ gfn: GFN, _ access: Access) -> AccessResult {
        let bits = vm.hardwareBits
        var wish = access.rights
        // EPT reads guest tables as writes where it sets A/D bits, else as reads; NPT as a user's writes.
        if access.isOfTables { wish = bits.isEPT && bits.accessed == 0 ? .read : [.read, .write] }
        let set = vm.hasEyes ? CPUSet.of(vm) : nil
        while true {
            var suspect: CachedTranslation?
            let result = insideRCU { rcu in
                inGuest(rcu) { root in
                    if let set, let cpu = set.known(self, root) {
                        return set.tryAccess(self, cpu, gfn, wish, root, &suspect, rcu)
                    }
                    return walk(gfn, wish, from: root, bits, rcu)
                } ?? .ended(AccessResult(end: .mustLoad))
            }
            if let suspect, let set { set.judge(suspect, gfn, self) }
            switch result {
            case .ended(let result): return result
            case .disturbed: continue
            // An empty log has room: there is no third time.
            case .logFull: guard exitWithFullLog() else { return AccessResult(end: .ringFull) }
            }
        }
    }

    private func walk(
        _ gfn: GFN, _ wish: Rights, from root: Table, _ bits: HardwareBits, _ rcu: borrowing InsideRCU
    ) -> TryResult {
        var walk = HardwareWalk(gfn, from: root.address, at: root.level), end = StepEnd.down
        while case .down = end { end = walk.step(self, wish, bits, rcu) }
        return finish(walk, end)
    }

    /// What a walk that is over means.
    @inline(never)
    func finish(_ walk: HardwareWalk, _ end: StepEnd) -> TryResult {
        var result = AccessResult(end: .faults, level: walk.level, spte: walk.spte, rights: walk.rights)
        switch end {
        case .down, .lost: return .disturbed
        case .logFull: return .logFull
        case .ringFull: return .ended(AccessResult(end: .ringFull))
        case .leaf:
            result.end = .done
            result.pfn = walk.pfn
        case .reserved: result.end = .misconfigured
        case .outside:
            vm.warn(.spte, "tdpmmu_cpu_access", "the CPU reads a table where none is (address, gfn)", walk.table, walk.gfn.raw)
        case .denied: result.isPresent = true
        case .notPresent: break
        }
        return .ended(result)
    }
}
