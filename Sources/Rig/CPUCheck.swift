// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
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
    @inline(never) @_optimize(size)
    package func checkAll(_ vm: VM) -> Int32? {
        guard isQuiet, vm.lock.writeLock() else { return nil }
        defer { vm.lock.writeUnlock() }
        let before = reports
        _ = checkLocked(vm)
        return reports &- before
    }

    /// Something was taken away, and an operation has ended or mmu_lock was let go of.  Not where the lock is not to be had: the next
    /// one looks.
    @inline(never) @_optimize(size)
    func checkAfterOperation(_ vm: VM) {
        if vm.isThreadInside { return }
        let left = pointee.untilCheck.load(ordering: .relaxed)
        if left > 1 { return pointee.untilCheck.store(left &- 1, ordering: .relaxed) }
        guard isQuiet, vm.lock.tryWriteLock() else { return }
        pointee.tookAway.store(false, ordering: .relaxed)
        let count = checkLocked(vm)
        // What is still owed is to be looked at again.
        if LedgerWatch.of(vm)?.ledger.isAnyOwed ?? false { pointee.tookAway.store(true, ordering: .relaxed) }
        vm.lock.writeUnlock()
        let every = pointee.checkEvery
        pointee.untilCheck.store(every != 0 ? every : count > 64 ? count &>> 2 : 1, ordering: .relaxed)
    }

    /// How many translations were looked at.
    @inline(never) @_optimize(size)
    private func checkLocked(_ vm: VM) -> UInt32 {
        var count: UInt32 = 0
        insideRCU { rcu in
            forEachCPU { cpu in
                let tag = cpu.pointee.tag.load(ordering: .relaxed)
                guard tag != 0, let root = Table(checkedAddress: Table.entries(of: cpu.pointee.root.load(ordering: .relaxed))),
                      !root.role.isInvalid else { return }
                var index = 0
                while let cached = cpu.translation(at: index) {
                    count &+= 1
                    if cached.tag == tag, check(cached, cpu, root, vm, rcu) {
                        // It is told once.
                        cpu.drop(cached.gfn, cached.gfn + cached.pages, tag: tag, asked: false)
                    } else {
                        index &+= 1
                    }
                }
            }
        }
        return count
    }

    @inline(never) @_optimize(size)
    private func check(_ cached: CachedTranslation, _ cpu: CPU, _ root: Table, _ vm: VM, _ rcu: borrowing InsideRCU) -> Bool {
        let space = root.role.addressSpace, vcpu = OpaquePointer(bitPattern: cpu.pointee.vcpu.load(ordering: .relaxed))
        if isOwed(vm, space, cached.gfn, cached.pages) { return false }
        let logs = cached.rights.contains(.write) && (cached.isDirty || !vm.usesPML)
        // Each page of what is cached whole, of a huge one each 2M.
        let step = cached.pages > Level.page2M.pages ? Level.page2M.pages : 1
        var offset: UInt64 = 0
        while offset < cached.pages {
            let gfn = cached.gfn + offset
            offset &+= step
            if let vcpu, let (present, level) = excess(cached, gfn, root, VCPU(vcpu), rcu) {
                tell("a CPU has what it should have been told to forget", vcpu, gfn, cached, present, level)
                return true
            }
            // Who has seen that the slot is logged since sees the operation, too, which cannot end without mmu_lock.
            // And a fast fault may have given W back, and mark the page at once.
            if logs, vm.isDirty(gfn, addressSpace: space) == false, isQuiet, LedgerWatch.of(vm)?.ledger.hasFaults != true,
               vm.isDirty(gfn, addressSpace: space) == false {
                tell("a CPU may write a page that is dirty in no log", vcpu, gfn, cached)
                return true
            }
        }
        return false
    }

    private func isOwed(_ vm: VM, _ space: Int32, _ gfn: GFN, _ pages: UInt64) -> Bool {
        LedgerWatch.of(vm)?.ledger.isOwed(space, gfn.raw, gfn.raw &+ pages) ?? false
    }

    // One hit -------------------------------------------------------------------------

    /// A hit went beyond the tables, or the host is taking pages back.  Was that a fault?  Looked at where nothing changes: with mmu_lock
    /// for write, or else while the ledger has no other thread in an operation.
    @inline(never) @_optimize(size)
    func judge(_ suspect: CachedTranslation, _ gfn: GFN, _ vcpu: VCPU) {
        let vm = vcpu.vm
        if vm.lock.isHeldForWrite {
            if let fault = fault(suspect, gfn, vcpu) { tell(fault) }
        } else if !vm.isThreadInside {
            vm.lock.write { _ in if let fault = fault(suspect, gfn, vcpu) { tell(fault) } }
        } else if let ledger = LedgerWatch.of(vm)?.ledger {
            judge(suspect, gfn, vcpu, ledger)
        }
    }

    /// Others may be in the middle of what they do: some tries are made to find a moment when none is.
    @inline(never) @_optimize(size)
    private func judge(_ suspect: CachedTranslation, _ gfn: GFN, _ vcpu: VCPU, _ ledger: Ledger) {
        let thread = currentThreadID()
        for _ in 0..<64 {
            let time = ledger.timeAlone(thread)
            guard let fault = fault(suspect, gfn, vcpu) else { return }
            if let time, ledger.timeAlone(thread) == time { return tell(fault) }
            cp_yield()
        }
    }

    private func tell(_ fault: CPUReport) { tell(fault.text, fault.vcpu, fault.gfn, fault.cached, fault.present, fault.level) }

    /// What is wrong with a hit; nil: nothing is, or it is owed still that the CPU forgets it.
    @inline(never) @_optimize(size)
    private func fault(_ suspect: CachedTranslation, _ gfn: GFN, _ vcpu: VCPU) -> CPUReport? {
        let vm = vcpu.vm, space = vcpu.addressSpace
        guard let cpu = cpu(of: vcpu.pointer), suspect.tag == cpu.pointee.tag.load(ordering: .relaxed),
              let now = cpu.translation(suspect.tag, suspect.gfn, largestFirst: suspect.pages > 1), now.pages == suspect.pages,
              !isOwed(vm, space, gfn, 1) else { return nil }
        return insideRCU { rcu in
            guard let root = Table(checkedAddress: Table.entries(of: cpu.pointee.root.load(ordering: .relaxed))),
                  !root.role.isInvalid else { return nil }
            var report = CPUReport(text: "a CPU uses what it should have been told to forget", vcpu: vcpu.pointer, gfn: gfn, cached: now)
            if let (spte, level) = excess(now, gfn, root, vcpu, rcu) {
                report.present = spte
                report.level = level
                return report
            }
            guard vm.lock.isHeldForWrite || vm.lock.isHeldForRead, vm.isTakenBack(gfn, space, rcu) else { return nil }
            report.text = "a CPU uses a page that the host has taken back"
            return report
        }
    }
}
