// SPDX-License-Identifier: GPL-2.0-only
import MMU
import PageTable
import RCU
import Sync
import Synchronization

/// All that the CPUs have, looked at between operations.
extension UnsafeMutablePointer where Pointee == CPUSet {
    /// Tells what a CPU could use, under the root that it has, and should not have: what the tables no longer map or permit, and
    /// nobody owes a flush of; and writes that no dirty log would see.  Returns how much; nil: operations are under way, of which
    /// it cannot be known.  With mmu_lock for write, where nothing changes.
    @inline(never)
    package func checkAll(_ vm: VM) -> Int32? {
        guard vm.lock.writeLock() else { return nil }
        defer { vm.lock.writeUnlock() }
        return checkLocked(vm)
    }

    @inline(never)
    private func checkLocked(_ vm: VM) -> Int32? {
        guard isQuiet else { return nil }
        let before = reports
        insideRCU { rcu in
            forEachCPU { cpu in
                let tag = cpu.pointee.tag.load(ordering: .relaxed)
                guard tag != 0, let root = Table(checkedAddress: Table.entries(of: cpu.pointee.root.load(ordering: .relaxed))),
                      !root.role.isInvalid else { return }
                var index = 0
                while let cached = cpu.translation(at: index) {
                    index &+= 1
                    if cached.tag == tag { check(cached, cpu, root, vm, rcu) }
                }
            }
        }
        return reports &- before
    }

    @inline(never)
    private func check(_ cached: CachedTranslation, _ cpu: CPU, _ root: Table, _ vm: VM, _ rcu: borrowing InsideRCU) {
        let space = root.role.addressSpace, vcpu = OpaquePointer(bitPattern: cpu.pointee.vcpu.load(ordering: .relaxed))
        if let watch = LedgerWatch.of(vm), watch.ledger.isOwed(space, cached.gfn.raw, cached.gfn.raw &+ cached.pages) { return }
        let logs = cached.rights.contains(.write) && (cached.isDirty || !vm.usesPML)
        // Each page of what is cached whole, of a huge one each 2M.
        let step = cached.pages > Level.page2M.pages ? Level.page2M.pages : 1
        var offset: UInt64 = 0
        while offset < cached.pages {
            let gfn = cached.gfn + offset
            offset &+= step
            if let vcpu, let (present, level) = excess(cached, gfn, root, VCPU(vcpu), rcu) {
                return tell("a CPU has what it should have been told to forget", vcpu, gfn, cached, present, level)
            }
            if logs, vm.isDirty(gfn, addressSpace: space) == false {
                return tell("a CPU may write a page that is dirty in no log", vcpu, gfn, cached)
            }
        }
    }
}
