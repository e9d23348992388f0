// SPDX-License-Identifier: GPL-2.0-only

/// A call of the TDP MMU, with all that the trace tells about it.
struct Operation {
    enum Kind: String {
        case map = "map"
        case unmap = "unmap_gfn_range"
        case zapLeafs = "kvm_zap_leafs"
        case loadRoot = "alloc_root"
        case memslot = "memslot step"
        case zapAll = "zap_all"
        case zapAllFast = "kvm_mmu_zap_all_fast"
        case uninit = "zap_invalidated_roots"
    }

    var kind: Kind
    /// Indices into the trace's lines.
    var begin: Int
    var end: Int
    var changes: [Int] = []
    var details: [Int] = []
}

/// Operations, and the events between them, in the order in which they replay.
///
/// A line tells of one step inside an operation, and several tasks may be inside
/// one at the same time.  So each task's lines are first gathered into whole
/// operations; an operation is then performed where its first SPTE change is, or
/// where it returns if it made none.  With one task at a time that is the order
/// of the calls.  Under mmu_lock held for read by several tasks it is the best
/// guess a line order gives; what remains ambiguous then is for the comparison
/// to allow (see ChangeComparison.Order).
struct Schedule {
    enum Item {
        case operation(Operation)
        case event(Int)
    }

    private(set) var items: [Item] = []

    init(_ trace: Trace) throws(BadInput) {
        var gatherer = Gatherer(trace: trace)
        for index in trace.lines.indices { try gatherer.take(index) }
        items = try gatherer.finish()
    }
}

/// The state of the pass over the lines: at most one open operation per task.
private struct Gatherer {
    let trace: Trace
    var open: [Int: Operation] = [:]
    var placed: [(position: Int, item: Schedule.Item)] = []

    mutating func take(_ index: Int) throws(BadInput) {
        let line = trace.lines[index]
        guard var operation = open[line.task] else { return try begin(index) }
        switch Self.role(of: line.event, in: operation.kind) {
        case .change:
            operation.changes.append(index)
        case .detail:
            operation.details.append(index)
        case .end:
            operation.end = index
            open[line.task] = nil
            return place(operation)
        case .outside:
            open[line.task] = nil
            place(operation)
            return try begin(index)
        case .impossible:
            let name = operation.kind.rawValue
            throw trace.badInput(
                line.number, "this cannot be inside \(name), which line \(trace.lines[operation.begin].number) begins")
        }
        operation.end = index
        open[line.task] = operation
    }

    /// A line of a task that is in no operation.
    private mutating func begin(_ index: Int) throws(BadInput) {
        let line = trace.lines[index]
        if let kind = Self.kindBegun(by: line.event) {
            open[line.task] = Operation(kind: kind, begin: index, end: index)
            return
        }
        switch line.event {
        case .spteChanged:
            throw trace.badInput(line.number, "an SPTE changes outside any operation")
        case .mapReturn, .unmapReturn, .zapInvalidatedRootsReturn:
            throw trace.badInput(line.number, "a return without its call")
        case .detail, .note, .invalidateAllRoots, .iteratorStart:
            break
        default:
            placed.append((index, .event(index)))
        }
    }

    private mutating func place(_ operation: Operation) {
        let position: Int
        switch operation.kind {
        case .map, .unmap, .zapLeafs: position = operation.changes.first ?? operation.end
        default: position = operation.begin
        }
        placed.append((position, .operation(operation)))
    }

    mutating func finish() throws(BadInput) -> [Schedule.Item] {
        if let operation = open.values.min(by: { $0.begin < $1.begin }) {
            throw trace.badInput(
                trace.lines[operation.begin].number,
                "the trace ends inside this \(operation.kind.rawValue)")
        }
        return placed.sorted { $0.position < $1.position }.map(\.item)
    }
}

/// Which lines make up an operation.
extension Gatherer {
    private enum Role {
        case change, detail, end, outside, impossible
    }

    private static func kindBegun(by event: TraceEvent) -> Operation.Kind? {
        switch event {
        case .map: .map
        case .unmap: .unmap
        case .zapLeafs: .zapLeafs
        case .allocRoot: .loadRoot
        case .step(.memslot): .memslot
        case .zapAll: .zapAll
        case .zapAllFast: .zapAllFast
        case .zapInvalidatedRoots: .uninit
        default: nil
        }
    }

    private static func role(of event: TraceEvent, in kind: Operation.Kind) -> Role {
        if case .spteChanged = event { return .change }
        if ends(event, kind) { return .end }
        if isOpenEnded(kind) { return isPartOfZap(event) ? .detail : .outside }
        if kind == .memslot || kind == .zapAllFast, isPartOfFastZap(event) { return .detail }
        if kindBegun(by: event) != nil { return .impossible }
        if case .step = event { return .impossible }
        if case .done = event { return .impossible }
        return .detail
    }

    private static func ends(_ event: TraceEvent, _ kind: Operation.Kind) -> Bool {
        switch (kind, event) {
        case (.map, .mapReturn), (.unmap, .unmapReturn), (.loadRoot, .loadRoot),
            (.zapAllFast, .zapInvalidatedRootsReturn), (.uninit, .zapInvalidatedRootsReturn): true
        case (.memslot, .done(let done)): OperationTable.memslotSteps.contains(done.operation)
        default: false
        }
    }

    /// These have no line for their return: they last until the task does
    /// something that cannot be part of them.
    private static func isOpenEnded(_ kind: Operation.Kind) -> Bool {
        kind == .zapAll || kind == .zapLeafs
    }

    private static func isPartOfZap(_ event: TraceEvent) -> Bool {
        switch event {
        case .detail, .iteratorStart, .zapLeafsOfRoot, .zapLeafsOfRootReturn: true
        default: false
        }
    }

    private static func isPartOfFastZap(_ event: TraceEvent) -> Bool {
        switch event {
        case .zapAllFast, .invalidateAllRoots, .zapInvalidatedRoots, .zapInvalidatedRootsReturn: true
        default: false
        }
    }
}
