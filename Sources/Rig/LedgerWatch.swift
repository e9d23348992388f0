// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

/// A VM's ledger at work: what eyes see becomes debts and payments, and what is due and was not paid is reported.
package struct LedgerWatch {
    package let ledger: Ledger
    private var report: tdpmmu_ledger_report_fn?
    private var context: UnsafeMutableRawPointer?
    /// A rig has asked for it; else it is there for the caching CPUs only.
    private var isAsked: Bool

    /// A rig that asks gets the one that the CPUs have.
    @inline(never) @_optimize(size)
    package static func attach(
        to vm: VM, _ report: tdpmmu_ledger_report_fn?, _ context: UnsafeMutableRawPointer?, isAsked: Bool = true
    ) -> EyesTable.Attachment {
        if let old = pointer(of: vm) {
            guard isAsked, !old.pointee.isAsked else { return .exists }
            old.pointee.serve(report, context, isAsked: true)
            return .done
        }
        guard let ledger = Ledger() else { return .noMemory }
        guard let memory = cp_alloc_zeroed(MemoryLayout<LedgerWatch>.size) else {
            ledger.free()
            return .noMemory
        }
        let watch = memory.assumingMemoryBound(to: LedgerWatch.self)
        watch.initialize(to: LedgerWatch(ledger: ledger, report: report, context: context, isAsked: isAsked))
        let result = EyesTable.attach(.ledger, to: vm, memory) { context, seen in
            let watch = context.assumingMemoryBound(to: LedgerWatch.self)
            watch.pointee.see(seen.assumingMemoryBound(to: Seen.self))
        }
        if result != .done { watch.pointee.free(watch) }
        return result
    }

    private mutating func serve(_ report: tdpmmu_ledger_report_fn?, _ context: UnsafeMutableRawPointer?, isAsked: Bool) {
        self.report = report
        self.context = context
        self.isAsked = isAsked
    }

    /// By the rig that asked for it, or by the CPUs.  False: there is none, or none of theirs.  Where there are CPUs, it stays for them.
    @inline(never) @_optimize(size) @discardableResult
    package static func detach(from vm: VM, isAsked: Bool = true) -> Bool {
        guard let watch = pointer(of: vm), watch.pointee.isAsked == isAsked else { return false }
        if CPUSet.of(vm) != nil { watch.pointee.serve(nil, nil, isAsked: false) } else { end(vm) }
        return true
    }

    private static func end(_ vm: VM) {
        guard let memory = EyesTable.detach(.ledger, from: vm) else { return }
        let watch = memory.assumingMemoryBound(to: LedgerWatch.self)
        watch.pointee.free(watch)
    }

    private static func pointer(of vm: VM) -> UnsafeMutablePointer<LedgerWatch>? {
        EyesTable.context(of: .ledger, in: vm)?.assumingMemoryBound(to: LedgerWatch.self)
    }

    /// The VM's, if it has one.
    package static func of(_ vm: VM) -> LedgerWatch? { pointer(of: vm)?.pointee }

    private func free(_ memory: UnsafeMutablePointer<LedgerWatch>) {
        ledger.free()
        cp_free_zeroed(memory)
    }

    private func see(_ seen: UnsafePointer<Seen>) {
        let thread = currentThreadID(), vm = seen.pointee.vm
        switch seen.pointee.sight {
        case .changed: if !seen.pointee.byCPU { change(seen, thread, vm) }
        case .flushBegins:
            // A table that is cut off may be freed as soon as its last reader, this thread, is out.
            if !rcuReadLockHeld() { demand(.table, of: thread, TDPMMU_DUE_FREE, vm) }
            ledger.beginFlush(thread)
        case .flushEnds:
            let (end, wraps) = seen.pointee.gfn.raw.addingReportingOverflow(seen.pointee.pages)
            ledger.endFlush(thread, seen.pointee.gfn.raw, wraps ? .max : end)
        case .givesWay:
            let actor = ledger.whatDoes(thread)
            // In a callback of another, which owes what it owes.
            let time = actor.map { $0.depth > 1 ? $0.begun : 0 } ?? 0
            demand(actor?.duty == .invalidates ? .table : .page, of: thread, since: time, TDPMMU_DUE_YIELD, vm)
        case .unlocks:
            if ledger.whatDoes(thread) == nil { demand(.rights, of: thread, TDPMMU_DUE_UNLOCK, vm) }
        case .begins:
            if seen.pointee.vcpu != nil, ledger.beginFault() { return }
            if seen.pointee.duty == .harvests { demand(.bits, of: thread, TDPMMU_DUE_HARVEST, vm) }
            ledger.begin(thread, makeWarning(.flush, seen.pointee.name, "").function, seen.pointee.duty)
        case .ends:
            let fault = seen.pointee.vcpu != nil ? ledger.endFault() : nil
            guard let begun = fault ?? ledger.end(thread)?.begun else { return }
            switch seen.pointee.duty {
            case .pays, .faults, .invalidates, .harvests: demand(.bits, of: thread, since: begun, TDPMMU_DUE_RETURN, vm)
            case .tells where !seen.pointee.flag: demand(.bits, of: thread, since: begun, TDPMMU_DUE_TOLD_FALSE, vm)
            default: break
            }
        case .freed:
            // By who cut it off, and is not done: there was no grace period.
            if seen.pointee.flag { demand(.table, of: thread, TDPMMU_DUE_FREE, vm) }
        case .destroyed: Self.end(vm)
        default: break
        }
    }

    private func change(_ seen: UnsafePointer<Seen>, _ thread: UInt64, _ vm: VM) {
        let change = SPTEChange(
            addressSpace: seen.pointee.addressSpace, gfn: seen.pointee.gfn, level: seen.pointee.level, old: seen.pointee.old, new: seen.pointee.new)
        let start = seen.pointee.gfn.raw, end = start &+ seen.pointee.level.pages
        if !seen.pointee.old.isPresent, seen.pointee.old.isFrozen && !seen.pointee.new.isFrozen || seen.pointee.new.isPresent,
           let debt = ledger.take(thread, seen.pointee.addressSpace, start, end, from: .page) {
            tell(debt, TDPMMU_DUE_UNFREEZE, vm)
        }
        guard let kind = change.debt(vm.masks, logsByDirtyBits: vm.usesPML) else { return }
        let actor = ledger.whatDoes(thread)
        if actor?.duty == .faults, change.keepsPage { return }
        guard let entry = tdp_ptep_t(bitPattern: seen.pointee.address), isReachable(SPTESlot(entry), vm) else { return }
        var debt = Debt()
        debt.start = start
        debt.end = end
        debt.old = seen.pointee.old.raw
        debt.new = seen.pointee.new.raw
        debt.thread = thread
        debt.operation = actor?.operation
        debt.space = seen.pointee.addressSpace
        debt.level = Int16(truncatingIfNeeded: seen.pointee.level.raw)
        debt.kind = kind
        ledger.owe(debt)
    }

    @inline(never) @_optimize(size)
    private func demand(_ kind: DebtKind, of thread: UInt64, since time: UInt64 = 0, _ due: tdpmmu_ledger_due, _ vm: VM) {
        if let debt = ledger.collect(thread, from: kind, since: time) { tell(debt, due, vm) }
    }

    @inline(never) @_optimize(size)
    private func tell(_ debt: Debt, _ due: tdpmmu_ledger_due, _ vm: VM) {
        var warning = makeWarning(.flush, "spte_change", due.text, debt.old, debt.start)
        if let operation = debt.operation { warning.function = operation }
        vm.tell(&warning)
        guard let report else { return }
        var told = tdpmmu_ledger_report()
        told.due = due
        told.operation = warning.function
        told.as_id = debt.space
        told.level = Int32(debt.level)
        told.start = debt.start
        told.end = debt.end
        told.old_spte = debt.old
        told.new_spte = debt.new
        report(context, vm.kvm, &told)
    }
}

extension tdpmmu_ledger_due {
    fileprivate var text: StaticString {
        switch self {
        case TDPMMU_DUE_YIELD: "mmu_lock is let go of in a walk, and a flush is owed (old SPTE, first gfn)"
        case TDPMMU_DUE_UNFREEZE: "an entry is used again before its flush (old SPTE, first gfn)"
        case TDPMMU_DUE_FREE: "a table was cut off, and it is freed or RCU was left before the flush (old SPTE, first gfn)"
        case TDPMMU_DUE_RETURN: "it returns without the flush that it owes (old SPTE, first gfn)"
        case TDPMMU_DUE_TOLD_FALSE: "it returned that no flush is owed, and one is (old SPTE, first gfn)"
        case TDPMMU_DUE_UNLOCK: "its caller lets go of mmu_lock without the flush that is owed (old SPTE, first gfn)"
        default: "a dirty log is read, and a flush is owed (old SPTE, first gfn)"
        }
    }
}
