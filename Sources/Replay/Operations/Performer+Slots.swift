// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Calls of the TDP MMU on a slot or a part of it, outside of a step that makes them.
extension Performer {
    func age(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) {
        let result: Bool?
        switch begin.event {
        case .age(let start, let end): result = machine.age(addressSpace(operation, holding: start), start: start, end: end)
        case .testAge(let start, let end):
            result = machine.testAge(addressSpace(operation, holding: start), start: start, end: end)
        default: return
        }
        compareFlag(operation, result)
        compareChanges(operation)
    }

    /// The flag that the call returned, or that there was a slot for it.
    private func compareFlag(_ operation: Operation, _ result: Bool?) {
        let name = operation.kind.rawValue
        guard let result else {
            return verdict.differ(trace.lines[operation.begin].number, name, expected: "a slot", got: "none holds the gfn")
        }
        let last = trace.lines[operation.end]
        switch last.event {
        case .ageReturn(let expected), .testAgeReturn(let expected), .writeProtectSlotReturn(let expected):
            verdict.compare(last.number, "\(name) returns", expected, result)
        default: break
        }
    }

    func callOnSlot(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) {
        let space = addressSpace(operation, holding: Self.gfn(begin.event))
        let result: Bool?
        switch begin.event {
        case .writeProtectSlot(let slot, let level):
            result = machine.writeProtectSlot(space, slot.base, minLevel: level)
        case .clearDirtySlot(let slot):
            result = machine.clearDirtySlot(space, slot.base)
        case .clearDirtyMasked(let gfn, let mask, let writeProtect):
            result = machine.clearDirtyMasked(space, gfn, mask: mask, writeProtect: writeProtect).map { true }
        case .writeProtect(let gfn, let level):
            result = machine.writeProtect(space, gfn, minLevel: level)
        case .split(let call):
            result = machine.split(space, call).map { $0 == 0 }
        case .zapCollapsible(let slot):
            result = machine.zapCollapsible(space, slot.base).map { true }
        default: return
        }
        compareFlag(operation, result)
        compareChanges(operation)
    }

    private static func gfn(_ event: TraceEvent) -> UInt64 {
        switch event {
        case .writeProtectSlot(let slot, _), .clearDirtySlot(let slot), .zapCollapsible(let slot): slot.base
        case .clearDirtyMasked(let gfn, _, _), .writeProtect(let gfn, _): gfn
        case .split(let call): call.start
        default: 0
        }
    }

    /// kvm_mmu_split_huge_page follows the change that it tells of.
    func compareSplits(_ operation: Operation) {
        for index in operation.details {
            guard case .hugePageSplit(let split) = trace.lines[index].event, split.error == 0 else { continue }
            let change = operation.changes.last { $0 < index }.flatMap { change in
                if case .spteChanged(let change) = trace.lines[change].event { change } else { nil }
            }
            let ours = change.map { HugePageSplit(gfn: $0.gfn, spte: $0.old, level: $0.level, error: 0) }
            guard ours != split else { continue }
            verdict.differ(trace.lines[index].number, "kvm_mmu_split_huge_page", expected: text(split),
                           got: ours.map(text) ?? "no change before it")
        }
    }

    private func text(_ split: HugePageSplit) -> String {
        "gfn \(hex(split.gfn)) spte \(hex(split.spte)) level \(split.level)"
    }
}
