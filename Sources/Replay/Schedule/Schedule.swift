// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

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
        case age = "age"
        case testAge = "test_age"
        case writeProtectSlot = "wrprot_slot"
        case clearDirtySlot = "clear_dirty_slot"
        case clearDirtyMasked = "clear_dirty_pt_masked"
        case writeProtect = "write_protect_gfn"
        case split = "split"
        case zapCollapsible = "zap_collapsible"
        case zapTable = "zap_sp"
        case parameter = "param step"
        case getDirtyLog = "get_dirty_log step"
        case clearDirtyLog = "clear_dirty_log step"
        case resetDirtyRings = "reset_dirty_rings step"
        // Of the guest mode.
        case fault = "page fault"
        case prefault = "prefault step"
        case hostUnmap = "memory notifier"
        case hostAge = "aging by the host"
        case hostTestAge = "the host's look for use"

        /// One thing that userspace asks for, from STEP to DONE.  The calls in between
        /// are its parts, which the library makes by itself.
        var isStep: Bool {
            switch self {
            case .memslot, .parameter, .getDirtyLog, .clearDirtyLog, .resetDirtyRings, .prefault: true
            default: false
            }
        }
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
    /// The line at which each takes its place.
    private(set) var positions: [Int] = []

    init(_ trace: Trace, _ mode: ReplayMode) throws(BadInput) {
        var gatherer = Gatherer(trace: trace, grammar: OperationGrammar(mode: mode))
        for index in trace.lines.indices { try gatherer.take(index) }
        let placed = try gatherer.finish()
        items = placed.map(\.item)
        positions = placed.map(\.position)
    }
}

/// The state of the pass over the lines: the open operations of each task, the
/// innermost last.  Only a step of userspace has others inside that are none of its
/// parts: while it allocates memory, the host may reclaim some of the guest's.
private struct Gatherer {
    let trace: Trace
    let grammar: OperationGrammar
    var open: [Int: [Operation]] = [:]
    var placed: [(position: Int, item: Schedule.Item)] = []

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

    mutating func finish() throws(BadInput) -> [(position: Int, item: Schedule.Item)] {
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
