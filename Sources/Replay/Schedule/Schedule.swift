// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Operations, and the events between them, in the order in which they replay.
///
/// A line tells of one step inside an operation, and several tasks may be inside
/// one at the same time.  So each task's lines are first gathered into whole
/// operations; an operation is then performed where its first SPTE change is, or
/// where it returns if it made none.  With one task at a time that is the order
/// of the calls.  Under mmu_lock held for read by several tasks it is the best
/// guess a line order gives; what remains ambiguous then is for the comparison
/// to allow (see ChangeBook).
struct Schedule {
    private(set) var items: [Item] = []
    /// The line at which each takes its place.
    private(set) var positions: [Int] = []

    init(_ trace: Trace, _ mode: ReplayMode) throws(BadInput) {
        var gatherer = Gatherer(trace, OperationGrammar(mode: mode))
        for index in trace.lines.indices { try gatherer.take(index) }
        let placed = try gatherer.finish()
        items = placed.map(\.item)
        positions = placed.map(\.position)
    }
}
