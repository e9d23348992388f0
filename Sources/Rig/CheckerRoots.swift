// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

/// Roots, who uses them, and lists.
extension Checker {
    /// False: there is no walking them.
    @inline(never) @_optimize(size)
    mutating func checkRoots() -> Bool {
        var isWalkable = true, count: UInt64 = 0
        vm.withVCPUsLocked {
            vm.withPagesLocked {
                var root = vm.firstRoot
                while let here = root {
                    root = here.nextRoot
                    count &+= 1
                    if count > vm.tablesAlive {
                        report(.rootList, found: count, expected: vm.tablesAlive)
                        isWalkable = false
                        return
                    }
                    if !checkRoot(here) { isWalkable = false }
                }
                if isWalkable { vm.forEachListedVCPU { checkVCPU($0) } }
                checkNXList()
            }
        }
        return isWalkable
    }

    @_optimize(size)
    private mutating func checkRoot(_ root: Table) -> Bool {
        let role = root.role
        place = Place(role: role, entries: root.entries)
        let config = vm.state.pointee.config, space = role.addressSpace
        let right = Role(rootLevel: config.rootLevel, addressSpace: space, adDisabled: config.adDisabled)
        guard root.ownerAddress == UInt(bitPattern: vm.kvm), root.isRoot, root.gfn == GFN(0), space & ~1 == 0,
              role == right || role == right.invalidated, !root.isScheduledToZap || role.isInvalid else {
            report(.root, found: UInt64(role.raw), expected: UInt64(right.raw))
            return false
        }
        if !role.isInvalid, hasTwin(root) {
            report(.twinRoots, found: UInt64(role.raw), expected: UInt64(role.raw))
        }
        // vCPUs take and drop references at any time: three looks.
        if isShort(of: root) && isShort(of: root) && isShort(of: root) {
            report(.rootReferences, found: UInt64(bitPattern: Int64(root.referenceCount)), expected: UInt64(bitPattern: users(of: root)))
        }
        return true
    }

    /// Behind it in the list, which may have no end.
    private func hasTwin(_ root: Table) -> Bool {
        var other = root.nextRoot, left = vm.tablesAlive
        while let here = other, left != 0, here != root {
            if here.role == root.role { return true }
            other = here.nextRoot
            left &-= 1
        }
        return false
    }

    /// The VM's own reference, and those of vCPUs.
    private func users(of root: Table) -> Int64 {
        var users: Int64 = !root.role.isInvalid || root.isScheduledToZap ? 1 : 0
        vm.forEachListedVCPU { if $0.rootAddress == root.word { users &+= 1 } }
        return users
    }

    private func isShort(of root: Table) -> Bool {
        let users = users(of: root)
        return root.referenceCount != 0 && Int64(root.referenceCount) < users
    }

    private mutating func checkVCPU(_ vcpu: VCPU) {
        checkMemory(of: vcpu, above: false)
        checkMemory(of: vcpu, above: true)
    }

    @inline(never) @_optimize(size)
    private mutating func checkMemory(of vcpu: VCPU, above: Bool) {
        guard let memory = vcpu.remembered(above: above), let root = Table(word: memory.root) else { return }
        if !isListed(root) || root.role.addressSpace != memory.space {
            if above || vcpu.remembered(above: above) != memory { return }
            report(.vcpuRoot, found: root.address, expected: UInt64(UInt32(bitPattern: vcpu.state.pointee.id)))
        } else if memory.level.raw != 0, memory.lastRoot == memory.root, !stands(memory, root),
                  vcpu.remembered(above: above) == memory {
            place.gfn = memory.gfn
            report(.lastTable, found: UInt64(memory.entries), expected: memory.gfn.raw)
        }
    }

    private func isListed(_ root: Table) -> Bool {
        var other = vm.firstRoot
        while let here = other, here != root { other = here.nextRoot }
        return other != nil
    }

    /// Does the walk find the table that is remembered?
    private func stands(_ memory: VCPU.Memory, _ root: Table) -> Bool {
        insideRCU { rcu in
            var way = Descent(from: root, to: memory.gfn, rcu)
            while way.atLevel > memory.level {
                guard way.isAtTable else { return false }
                way.enterTable(rcu)
            }
            return way.atLevel == memory.level && way.slot.tableEntries == memory.entries
        }
    }

    /// Each way the same tables, each of which knows that it is listed.
    @_optimize(size)
    private mutating func checkNXList() {
        var table = vm.firstNXSplit, last: Table?, left = vm.tablesAlive
        while let here = table {
            place = Place(role: here.role, entries: here.entries, gfn: here.gfn)
            guard left != 0, here.ownerAddress == UInt(bitPattern: vm.kvm), here.isNXListed, here.isNXSplit,
                  here.nxPrevious == last else {
                return report(.nxList, found: here.address, expected: here.gfn.raw)
            }
            left &-= 1
            last = here
            table = here.nxNext
        }
        place = Place()
        if last != vm.lastNXSplit { report(.nxList, found: vm.lastNXSplit?.address ?? 0, expected: last?.address ?? 0) }
    }

    @inline(never) @_optimize(size)
    mutating func checkSlots(_ held: borrowing SlotsLocked) {
        place = Place()
        if !vm.slotsAreSound(held) { report(.slots, found: 0, expected: 0) }
        vm.withVCPUsLocked {
            vm.forEachListedVCPU { vcpu in
                if !vcpu.lastSlotIsSound(held) { report(.lastSlot, found: 0, expected: 0) }
            }
        }
    }
}
