// SPDX-License-Identifier: GPL-2.0-only

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
        try bringForward(what: index, depth: depth)
    }

    func bringForward(what index: Int, depth: Int) throws(BadInput) {
        try performEarlierChanges(index, depth: depth)
        for change in presupposed(schedule.items[index]) {
            guard let cause = cause(of: change, ahead: index) else { continue }
            try perform(upTo: cause, from: index, depth: depth + 1)
        }
    }

    /// A long walk changes an SPTE late; what others did to it by lines before that comes first.
    private func performEarlierChanges(_ index: Int, depth: Int) throws(BadInput) {
        guard case .operation(let operation) = schedule.items[index] else { return }
        for line in operation.changes {
            guard case .spteChanged(let change) = trace.lines[line].event else { continue }
            for item in changeIndex.items(changing: change, before: line) where item > index && !performed.contains(item) {
                try perform(upTo: item, from: index, depth: depth + 1)
            }
        }
    }

    /// An item ahead, and before it what its task did before.
    func perform(upTo cause: Int, from index: Int, depth: Int = 0) throws(BadInput) {
        let task = trace.lines[schedule.items[cause].firstLine].task
        for item in index + 1...cause where !performed.contains(item) {
            let line = trace.lines[schedule.items[item].firstLine]
            guard line.task == task || (line.event == .invalidateEnd && isNext(item, ofTask: line.task, from: index))
            else { continue }
            try bringForward(before: item, depth: depth)
            try perform(item: item)
        }
    }

    /// Is it the next thing that its task does?  The end of an invalidation then lets others go on.
    private func isNext(_ item: Int, ofTask task: Int, from index: Int) -> Bool {
        !(index + 1..<item).contains {
            !performed.contains($0) && trace.lines[schedule.items[$0].firstLine].task == task
        }
    }

    /// The changes of an item, the first one of each SPTE: what they found is not its doing.
    private func presupposed(_ item: Schedule.Item) -> [(change: SPTEChange, last: Int)] {
        var seen: [SPTEChange] = []
        var result: [(SPTEChange, Int)] = []
        for change in changes(item) where !seen.contains(where: { $0.isSameEntry(change) }) {
            seen.append(change)
            result.append((change, lastLine(item)))
        }
        return result
    }

    private func changes(_ item: Schedule.Item) -> [SPTEChange] {
        switch item {
        case .event(let index): return fix(trace.lines[index].event).map { [$0] } ?? []
        case .operation(let operation):
            let own = operation.changes.compactMap { index -> SPTEChange? in
                if case .spteChanged(let change) = trace.lines[index].event { change } else { nil }
            }
            return own + operation.details.compactMap { fix(trace.lines[$0].event) }
        }
    }

    /// A fast page fault makes a change without a line of its own.
    private func fix(_ event: TraceEvent) -> SPTEChange? {
        guard case .fastPageFault(let fault) = event, fault.fixed, let machine else { return nil }
        return SPTEChange(addressSpace: machine.addressSpace(vcpu: fault.vcpu), gfn: fault.gpa >> Paging.pageShift,
                          level: 1, old: fault.old, new: fault.new)
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
        for candidate in index + 1..<schedule.items.count where !performed.contains(candidate) {
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
