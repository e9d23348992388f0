// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Several tasks at once.  A line is written shortly after the change that it tells of,
/// so under mmu_lock held for read, or with no lock at all, two lines may be swapped.
/// What a change found tells which change must have come before.
extension Replayer {
    /// Fast page faults whose line comes this much later may have happened before.
    private static var window: Int { 400 }
    private static var mostAtOnce: Int { 8 }

    /// Performs first what item `index` presupposes.
    func bringForward(before index: Int, depth: Int = 0) throws(BadInput) {
        guard isParallel, depth < Self.mostAtOnce, flagsStep(index) == nil else { return }
        try performEarlierChanges(index, depth: depth)
        for change in presupposed(schedule.items[index]) {
            guard let cause = cause(of: change, ahead: index) else { continue }
            try perform(upTo: cause, depth: depth + 1)
        }
    }

    /// A long walk changes an SPTE late; what others did to it by lines before that comes first.
    private func performEarlierChanges(_ index: Int, depth: Int) throws(BadInput) {
        guard case .operation(let operation) = schedule.items[index] else { return }
        let gap = firstGap(operation)
        // What is frozen was out of others' reach since its table was unlinked.
        var reachable = 0
        for line in operation.changes where line < gap {
            guard case .spteChanged(let change) = trace.lines[line].event else { continue }
            if change.new != SPTEBits.frozen { reachable = line }
            for item in changeIndex.items(changing: change, before: reachable) where item > index && isAhead(item) {
                try perform(upTo: item, depth: depth + 1)
            }
        }
    }

    /// An item ahead, and before it what its task did before.
    func perform(upTo cause: Int, depth: Int = 0) throws(BadInput) {
        let task = trace.lines[schedule.items[cause].firstLine].task
        guard !standing.contains(where: { $0.walk.task == task }) else { return }
        // Nothing is left of what has had its turn.
        for item in turn + 1..<max(turn + 1, cause + 1) where isAhead(item) {
            let line = trace.lines[schedule.items[item].firstLine]
            guard line.task == task || (line.event == .invalidateEnd && isNext(item, ofTask: line.task))
            else { continue }
            try bringForward(before: item, depth: depth)
            if isKeptOut(item) { return }
            try perform(item: item)
        }
    }

    /// Is it the next thing that its task does?  The end of an invalidation then lets others go on.
    private func isNext(_ item: Int, ofTask task: Int) -> Bool {
        !standing.contains { $0.walk.task == task } && !(turn + 1..<item).contains {
            isAhead($0) && trace.lines[schedule.items[$0].firstLine].task == task
        }
    }

    /// Line behind which others may come in between.
    private func firstGap(_ operation: Operation) -> Int {
        switch operation.kind {
        case .getDirtyLog, .clearDirtyLog: operation.words(trace).dropFirst().first ?? .max
        default: operation.yields(trace).first ?? .max
        }
    }

    /// The fault ahead that makes of an SPTE what a change found there, though its line is behind.
    func fix(for change: SPTEChange, behind line: Int) -> Int? {
        guard let item = cause(of: (change, line), ahead: turn) else { return nil }
        return changes(schedule.items[item]).contains { $0.isSameEntry(change) } && isFix(schedule.items[item]) ? item : nil
    }

    private func isFix(_ item: Schedule.Item) -> Bool {
        switch item {
        case .event(let index): fix(trace.lines[index].event) != nil
        case .operation(let operation): operation.details.contains { fix(trace.lines[$0].event) != nil }
        }
    }

    /// The changes of an item up to its first gap, the first one of each SPTE: what they found is
    /// not its doing.
    private func presupposed(_ item: Schedule.Item) -> [(change: SPTEChange, last: Int)] {
        var seen: [SPTEChange] = []
        var result: [(SPTEChange, Int)] = []
        for change in changes(item, upToGap: true) where !seen.contains(where: { $0.isSameEntry(change) }) {
            seen.append(change)
            result.append((change, lastLine(item)))
        }
        return result
    }

    private func changes(_ item: Schedule.Item, upToGap: Bool = false) -> [SPTEChange] {
        switch item {
        case .event(let index): return fix(trace.lines[index].event).map { [$0] } ?? []
        case .operation(let operation):
            let gap = upToGap ? firstGap(operation) : .max
            let own = operation.changes.compactMap { index -> SPTEChange? in
                if index < gap, case .spteChanged(let change) = trace.lines[index].event { change } else { nil }
            }
            return own + operation.details.compactMap { fix(trace.lines[$0].event) }
        }
    }

    /// A fast page fault makes a change without a line of its own.
    private func fix(_ event: TraceEvent) -> SPTEChange? {
        guard case .fastPageFault(let fault) = event, fault.fixed, let machine else { return nil }
        // What the line shows as new may be another's doing already.
        let new = fault.errorCode & PageFaultBits.write != 0 ? fault.old | SPTEBits.writable : fault.new
        return SPTEChange(addressSpace: machine.addressSpace(vcpu: fault.vcpu), gfn: fault.gpa >> Paging.pageShift,
                          level: 1, old: fault.old, new: new)
    }

    private func lastLine(_ item: Schedule.Item) -> Int {
        switch item {
        case .event(let index): index
        case .operation(let operation): operation.end
        }
    }

    /// An item ahead that makes the SPTE what `change` found, if it is not that already.
    private func cause(of wanted: (change: SPTEChange, last: Int), ahead index: Int) -> Int? {
        guard let machine, let entry = machine.entry(
            addressSpace: wanted.change.addressSpace, gfn: wanted.change.gfn, downTo: wanted.change.level)
        else { return nil }
        let isThere = entry.level == wanted.change.level
        if isThere, isAlike(wanted.change.old, entry.spte, level: entry.level) { return nil }
        for candidate in index + 1..<schedule.items.count where isAhead(candidate) {
            let item = schedule.items[candidate]
            if schedule.positions[candidate] > wanted.last, candidate > index + Self.window { return nil }
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
        let bits = SPTEBits.isLeaf(left, level: level) ? SPTEBits.accessed | SPTEBits.dirty : 0
        return left & ~bits == right & ~bits
    }

    /// A fault that lost a race: it did nothing that another one did not do as well, but
    /// the page that it wanted to write may have been noted as dirty.
    func isLostRace(_ result: Int?, _ call: MapCall, _ vcpu: Int) -> Bool {
        guard isParallel, result == FaultResult.retry else { return false }
        if call.mapWritable { uncertain.insert(call.gfn) }
        return true
    }

    func compareInParallel(_ operation: Operation, _ recorded: [ChangeComparison.Recorded], _ ours: [SPTEChange]) {
        for change in ours where change.dropsGuestBits { guest.drop(gfn: change.gfn) }
        report(book.take(recorded, ours, &renaming), operation.kind.rawValue, trace.lines[operation.end].number)
    }

    /// The tasks have ended, or stand still.
    func endParallel(_ line: TraceLine) {
        report(book.close(&renaming), "the parallel part", line.number)
        uncertain = []
    }

    func report(_ mismatches: [ChangeComparison.Mismatch], _ what: String, _ line: Int) {
        for mismatch in mismatches {
            differ(mismatch.line ?? line, "SPTE change in \(what)",
                   expected: mismatch.expected?.text ?? "no further change",
                   got: mismatch.got?.text ?? "no such change")
        }
    }
}

extension SPTEChange {
    /// The same small page with less of Accessed and Dirty.
    fileprivate var dropsGuestBits: Bool {
        let bits = SPTEBits.accessed | SPTEBits.dirty
        return level == 1 && SPTEBits.isLeaf(old, level: level) && SPTEBits.isLeaf(new, level: level)
            && (old ^ new) & SPTEBits.address == 0 && old & ~new & bits != 0
    }
}
