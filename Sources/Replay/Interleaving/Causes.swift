// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Several tasks at once.  A line is written shortly after the change that it tells of,
/// so under mmu_lock held for read, or with no lock at all, two lines may be swapped.
/// What a change found tells which change must have come before: its cause is looked for here.
struct Causes {
    let turns: Turns
    let subject: Subject
    /// Fast page faults whose line comes this much later may have happened before.
    private static var window: Int { 400 }

    /// A long walk changes an SPTE late; what others did to it by lines before that comes first.
    func earlierChanges(_ index: Int) -> [Int] {
        guard case .operation(let operation) = turns.schedule.items[index] else { return [] }
        let gap = firstGap(operation)
        // What is frozen was out of others' reach since its table was unlinked.
        var reachable = 0
        return operation.changes.prefix { $0 < gap }.flatMap { line -> [Int] in
            guard case .spteChanged(let change) = turns.trace.lines[line].event else { return [] }
            if change.new != SPTEBits.frozen { reachable = line }
            return turns.changeIndex.items(changing: change, before: reachable).filter { $0 > index }
        }
    }

    /// Line behind which others may come in between.
    private func firstGap(_ operation: Operation) -> Int {
        switch operation.kind {
        case .getDirtyLog, .clearDirtyLog: operation.words(turns.trace).dropFirst().first ?? .max
        default: operation.yields(turns.trace).first ?? .max
        }
    }

    /// The fault ahead that makes of an SPTE what a change found there, though its line is behind.
    func fix(for change: SPTEChange, behind line: Int) -> Int? {
        guard let item = cause(of: (change, line), ahead: turns.turn) else { return nil }
        let found = turns.schedule.items[item]
        return changes(found).contains { $0.isSameEntry(change) } && isFix(found) ? item : nil
    }

    private func isFix(_ item: Item) -> Bool {
        switch item {
        case .event(let index): fix(turns.trace.lines[index].event) != nil
        case .operation(let operation): operation.details.contains { fix(turns.trace.lines[$0].event) != nil }
        }
    }

    /// The changes of an item up to its first gap, the first one of each SPTE: what they found is
    /// not its doing.
    func presupposed(_ item: Item) -> [(change: SPTEChange, last: Int)] {
        var seen: [SPTEChange] = []
        var result: [(SPTEChange, Int)] = []
        for change in changes(item, upToGap: true) where !seen.contains(where: { $0.isSameEntry(change) }) {
            seen.append(change)
            result.append((change, item.lastLine))
        }
        return result
    }

    private func changes(_ item: Item, upToGap: Bool = false) -> [SPTEChange] {
        switch item {
        case .event(let index): return fix(turns.trace.lines[index].event).map { [$0] } ?? []
        case .operation(let operation):
            let gap = upToGap ? firstGap(operation) : .max
            let own = operation.changes.compactMap { index -> SPTEChange? in
                if index < gap, case .spteChanged(let change) = turns.trace.lines[index].event { change } else { nil }
            }
            return own + operation.details.compactMap { fix(turns.trace.lines[$0].event) }
        }
    }

    /// A fast page fault makes a change without a line of its own.
    private func fix(_ event: TraceEvent) -> SPTEChange? {
        guard case .fastPageFault(let fault) = event, fault.fixed, let machine = subject.machine else { return nil }
        // What the line shows as new may be another's doing already.
        let new = fault.errorCode & PageFaultBits.write != 0 ? fault.old | SPTEBits.writable : fault.new
        return SPTEChange(addressSpace: machine.addressSpace(vcpu: fault.vcpu), gfn: fault.gpa >> Paging.pageShift,
                          level: 1, old: fault.old, new: new)
    }

    /// An item ahead that makes the SPTE what `change` found, if it is not that already.
    func cause(of wanted: (change: SPTEChange, last: Int), ahead index: Int) -> Int? {
        guard let machine = subject.machine, let entry = machine.entry(
            addressSpace: wanted.change.addressSpace, gfn: wanted.change.gfn, downTo: wanted.change.level)
        else { return nil }
        let isThere = entry.level == wanted.change.level
        if isThere, isAlike(wanted.change.old, entry.spte, level: entry.level) { return nil }
        for candidate in index + 1..<turns.schedule.items.count where turns.isAhead(candidate) {
            let item = turns.schedule.items[candidate]
            if turns.schedule.positions[candidate] > wanted.last, candidate > index + Self.window { return nil }
            // A fast page fault began with a line of its own before.
            if case .operation = item, item.firstLine > wanted.last { continue }
            let makes = changes(item).contains { change in
                guard change.addressSpace == wanted.change.addressSpace else { return false }
                if isThere {
                    return change.isSameEntry(wanted.change)
                        && isAlike(change.new, wanted.change.old, level: change.level)
                }
                // The table that should hold the SPTE.
                return change.level == entry.level && change.gfn == entry.gfn
                    && SPTEBits.isTable(change.new, level: change.level)
            }
            if makes { return candidate }
        }
        return nil
    }

    /// The same but for what a CPU sets; tables by being tables.
    private func isAlike(_ left: UInt64, _ right: UInt64, level: Int) -> Bool {
        if SPTEBits.isTable(left, level: level) { return SPTEBits.isTable(right, level: level) }
        let bits = SPTEBits.isLeaf(left, level: level) ? subject.layout.setByCPU : 0
        return left & ~bits == right & ~bits
    }
}
