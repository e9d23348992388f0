// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What userspace asks KVM for is done as a whole, and the recorded calls inside it are
/// compared as its parts.
extension Performer {
    func performStep(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) throws(BadInput) {
        guard case .step(let step) = begin.event else { return }
        switch step {
        case .memslot(let memslot): try self.memslot(operation, memslot, machine)
        case .parameter(let name, let value): parameter(operation, name, value, machine)
        case .getDirtyLog(let slot): getDirtyLog(operation, slot, machine)
        case .clearDirtyLog(let slot, let first, let count):
            clearDirtyLog(operation, slot, first: first, count: count, machine)
        case .prefault(let vcpu, let gpa, let length):
            prefault(operation, vcpu, gpa, length, machine)
        case .resetDirtyRings(let count): resetDirtyRings(operation, count, machine)
        default: break
        }
        if operation.details.contains(where: { trace.lines[$0].event == .invalidateAllRoots }) {
            verdict.renaming.forgetRoots()
        }
    }

    /// A module parameter can be set before there is a VM.
    func isBeforeVM(_ begin: TraceLine) -> Bool {
        guard subject.machine == nil, case .step(.parameter(let name, let value)) = begin.event else { return false }
        if let change = ModuleParameters.parse(name, value) { subject.parameters.apply(change) }
        return true
    }

    private func parameter(_ operation: Operation, _ name: String, _ value: String, _ machine: Machine) {
        guard let change = ModuleParameters.parse(name, value) else { return }
        subject.parameters.apply(change)
        switch change {
        case .noExecutableHugePages(let on): compareResult(operation, machine.setNoExecutableHugePages(on))
        case .splitsEagerly(let on): compareResult(operation, machine.setEagerSplit(on))
        case .recoveryRatio: break
        }
        compareChanges(operation)
    }

    private func memslot(_ operation: Operation, _ step: MemslotStep, _ machine: Machine) throws(BadInput) {
        if place.isParallel, step.switchesLogging { try others?.finishWithOldFlags(operation, step, machine) }
        let switchesOn = step.switchesLogging && step.flags & 3 == 1
            && machine.slot(id: UInt32(step.slot & 0xffff | step.addressSpace << 16)).map { $0.flags & 1 == 0 } ?? false
        let result = machine.setMemoryRegion(step)
        compareResult(operation, result)
        if switchesOn, result == 0 { compareBeginOfLogging(operation) }
        place.line = trace.lines[operation.begin].number
        let ours = compareChanges(operation)
        let slot = RecordedSlot(base: step.gpa >> Paging.pageShift, pages: step.pages)
        for index in operation.details {
            let line = trace.lines[index]
            switch line.event {
            case .split(let call):
                let expected = SplitCall(start: slot.base, end: slot.base &+ slot.pages, target: 1, shared: true)
                verdict.compare(line.number, "split is called with", call, expected) { $0.text }
            case .writeProtectSlot(let recorded, let level):
                verdict.compare(line.number, "wrprot_slot is called with", recorded, slot, text)
                verdict.compare(line.number, "wrprot_slot has min_level", level, subject.recorded.hasPML ? 2 : 1)
            case .writeProtectSlotReturn(let result):
                verdict.compare(line.number, "wrprot_slot returns", result, ours.contains { $0.takesWriteAccess })
            case .clearDirtySlot(let recorded), .zapCollapsible(let recorded):
                verdict.compare(line.number, "the slot is", recorded, slot, text)
            default: break
            }
        }
    }

    /// Where nothing is dirty at first, all Dirty bits are cleared, if the CPU logs where one is set, and
    /// what it does not log is write-protected.
    private func compareBeginOfLogging(_ operation: Operation) {
        let isFull = logs.mode.isManual && logs.mode.isInitiallySet
        var clears = 0, protects = 0
        for index in operation.details {
            switch trace.lines[index].event {
            case .clearDirtySlot: clears += 1
            case .writeProtectSlot: protects += 1
            default: break
            }
        }
        let last = trace.lines[operation.end].number
        verdict.compare(last, "calls of wrprot_slot", protects, isFull ? 0 : 1)
        verdict.compare(last, "calls of clear_dirty_slot", clears, !isFull && subject.recorded.hasPML ? 1 : 0)
    }

    private func text(_ slot: RecordedSlot) -> String {
        "base_gfn 0x\(hex(slot.base)) npages 0x\(hex(slot.pages))"
    }
}

extension SPTEChange {
    /// A leaf stays, but can no longer be written.
    fileprivate var takesWriteAccess: Bool {
        SPTEBits.isLeaf(old, level: level) && SPTEBits.isLeaf(new, level: level)
            && old & ~new & SPTEBits.writable != 0
    }
}
