// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The state of the pass over the lines: the open operations of each task, the
/// innermost last.  Only a step of userspace has others inside that are none of its
/// parts: while it allocates memory, the host may reclaim some of the guest's.
struct Gatherer {
    let trace: Trace
    let grammar: OperationGrammar
    private var open: [Int: [Operation]] = [:]
    private var placed: [(position: Int, item: Item)] = []

    init(_ trace: Trace, _ grammar: OperationGrammar) { (self.trace, self.grammar) = (trace, grammar) }

    mutating func take(_ index: Int) throws(BadInput) {
        let line = trace.lines[index]
        if grammar.isPassedOver(line.event) { return }
        guard var operation = open[line.task]?.popLast() else { return try begin(index) }
        switch grammar.role(of: line.event, in: operation.kind, begin: trace.lines[operation.begin].event) {
        case .change:
            operation.changes.append(index)
        case .detail:
            operation.details.append(index)
        case .end:
            operation.end = index
            return place(operation)
        case .outside:
            place(operation)
            return try take(index)
        case .nested:
            open[line.task, default: []].append(operation)
            return try begin(index)
        case .impossible:
            let name = operation.kind.rawValue
            throw trace.badInput(
                line.number, "this cannot be inside \(name), which line \(trace.lines[operation.begin].number) begins")
        }
        operation.end = index
        open[line.task, default: []].append(operation)
    }

    /// A line of a task that is in no operation, or begins one inside another.
    private mutating func begin(_ index: Int) throws(BadInput) {
        let line = trace.lines[index]
        if let kind = grammar.kindBegun(by: line.event) {
            // The guest came to this point: that, too, happens at the line itself.
            if kind == .fault || kind == .prefault { placed.append((index, .event(index))) }
            open[line.task, default: []].append(Operation(kind: kind, begin: index, end: index))
            return
        }
        switch line.event {
        case .spteChanged:
            throw trace.badInput(line.number, "an SPTE changes outside any operation")
        case _ where OperationGrammar.isReturn(line.event):
            throw trace.badInput(line.number, "a return without its call")
        case .detail, .note, .invalidateAllRoots, .iteratorStart, .iteratorRestart, .hugePageSplit, .tableAllocated:
            break
        default:
            placed.append((index, .event(index)))
        }
    }

    private mutating func place(_ operation: Operation) {
        placed.append((position(of: operation), .operation(operation)))
    }

    private func position(of operation: Operation) -> Int {
        switch operation.kind {
        case .map, .unmap, .zapLeafs, .age, .testAge: operation.changes.first ?? operation.end
        case .fault: operation.changes.first ?? fastFix(operation) ?? operation.end
        // From the first part on mmu_lock is held.
        case .clearDirtyLog, .resetDirtyRings: firstPart(operation) ?? operation.end
        // Without parts it found nothing, however early it looked.
        case .getDirtyLog: firstPart(operation) ?? operation.begin
        case .hostUnmap, .hostAge, .hostTestAge: firstPart(operation) ?? operation.begin
        default: operation.begin
        }
    }

    private func firstPart(_ operation: Operation) -> Int? {
        operation.details.first { OperationGrammar.kindOfCall(trace.lines[$0].event) != nil }
    }

    private func fastFix(_ operation: Operation) -> Int? {
        operation.details.first {
            if case .fastPageFault(let fault) = trace.lines[$0].event { fault.fixed } else { false }
        }
    }

    mutating func finish() throws(BadInput) -> [(position: Int, item: Item)] {
        // What has no line for its end lasts until the trace ends.
        for (task, stack) in open {
            guard let last = stack.last, OperationGrammar.isOpenEnded(last.kind), last.kind != .zapAll else { continue }
            open[task]?.removeLast()
            place(last)
        }
        let left = open.values.joined()
        if let operation = left.min(by: { $0.begin < $1.begin }) {
            throw trace.badInput(
                trace.lines[operation.begin].number,
                "the trace ends inside this \(operation.kind.rawValue)")
        }
        return placed.sorted { $0.position < $1.position }
    }
}
