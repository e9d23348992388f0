// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Whose turn it is among the items, which of them were performed before theirs, and which
/// wait although it is over.
final class Turns {
    let trace: Trace
    let schedule: Schedule
    private let place: Place
    /// Index of the item whose turn it is.
    private(set) var turn = -1
    /// Items that were performed before their turn.
    private var performed: Set<Int> = []
    /// Items whose turn is over, which wait for one that stands.
    private(set) var deferred: [Int] = []
    /// Of the items, for parallel parts.
    private(set) lazy var changeIndex = ChangeIndex(schedule, trace)

    init(_ trace: Trace, _ schedule: Schedule, _ place: Place) {
        (self.trace, self.schedule, self.place) = (trace, schedule, place)
    }

    /// False: it was performed before.
    func comes(to index: Int) -> Bool {
        turn = index
        return performed.remove(index) == nil
    }

    func postpone(_ index: Int) { deferred.append(index) }

    /// Out of its turn.
    func take(_ index: Int) {
        if index > turn { performed.insert(index) } else { deferred.removeAll { $0 == index } }
    }
}

/// What is still to come.
extension Turns {
    /// Is it still to be performed?
    func isAhead(_ index: Int) -> Bool { index > turn ? !performed.contains(index) : deferred.contains(index) }

    func isAnythingAhead(before line: Int) -> Bool {
        var index = turn + 1
        while index < schedule.items.count, schedule.positions[index] < line {
            if isAhead(index) { return true }
            index += 1
        }
        return false
    }

    /// Is it the next thing that its task does?
    func isNext(_ index: Int) -> Bool {
        let task = task(of: index)
        return !(turn + 1..<index).contains { isAhead($0) && self.task(of: $0) == task }
    }

    /// Line with which an item begins.
    func firstLine(of index: Int) -> TraceLine { trace.lines[schedule.items[index].firstLine] }

    func task(of index: Int) -> Int { firstLine(of: index).task }

    /// The step, if an item switches a slot's logging among other tasks.
    func flagsStep(_ index: Int) -> MemslotStep? {
        guard place.isParallel, case .operation(let operation) = schedule.items[index],
            case .step(.memslot(let step)) = trace.lines[operation.begin].event, step.switchesLogging
        else { return nil }
        return step
    }
}
