// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// An operation of ours in whose middle others come, and how far it is in what the trace tells
/// of it.
final class StandingWalk {
    private enum Mark {
        /// One of the calls that a switch of the dirty log is made of: mmu_lock was free before.
        case call
        case change(SPTEChange)
        /// It gave way before it looked at what maps this gfn.
        case yield(nextGFN: UInt64)
    }

    let item: Int
    let task: Int
    /// mmu_lock was held for read: others may come before each entry.
    let isShared: Bool
    /// A look at the dirty bitmap goes on in one piece, but faults are fixed meanwhile without
    /// mmu_lock.
    let isHarvest: Bool
    /// It stands with mmu_lock held for write.
    private(set) var holdsLock = false
    /// Faults that were fixed before it went on, wherever their lines are.
    private(set) var wanted: [Int] = []
    /// Where it stands: all that has its place before this line comes first.
    private(set) var limit = 0
    /// It has said that it gives way, and how far the others may come.
    private var givesWay = false
    private let operation: Operation
    /// Of a harvest: where the changes for a word of the bitmap begin.
    private let words: [Int]
    private let marks: [(line: Int, mark: Mark)]
    /// Of the marks, the first that is still to come.
    private var next = 0
    private var seen = 0

    init(item: Int, _ operation: Operation, _ trace: Trace, isShared: Bool) {
        self.item = item
        self.operation = operation
        self.isShared = isShared
        isHarvest = operation.kind == .getDirtyLog || operation.kind == .clearDirtyLog
        words = isHarvest ? operation.words(trace) : []
        task = trace.lines[operation.begin].task
        marks = Self.marks(operation, trace, withCalls: isShared)
    }

    /// Is there a place in its middle for others?
    var hasGaps: Bool {
        isShared || isHarvest || marks.contains { if case .yield = $0.mark { true } else { false } }
    }

    private static func marks(_ operation: Operation, _ trace: Trace, withCalls: Bool) -> [(line: Int, mark: Mark)] {
        var marks: [(line: Int, mark: Mark)] = [], yields = operation.yields(trace)[...]
        for line in (operation.changes + operation.details).sorted() {
            switch trace.lines[line].event {
            case .spteChanged(let change): marks.append((line, .change(change)))
            case .iteratorRestart(let gfn, _) where yields.first == line:
                yields.removeFirst()
                marks.append((line, .yield(nextGFN: gfn)))
            case let event where withCalls && OperationGrammar.kindOfCall(event) != nil: marks.append((line, .call))
            default: break
            }
        }
        return marks
    }

    /// Line of the next mark, or its last.
    var nextLine: Int { next < marks.count ? marks[next].line : operation.end }

    /// Goes behind the marks of what was changed since it was asked last.
    func pass(_ changes: [SPTEChange]) {
        for change in changes.dropFirst(seen) {
            // Not beyond the call that our walk is a part of.
            for index in next..<marks.count {
                if case .call = marks[index].mark { break }
                if case .change(let recorded) = marks[index].mark, recorded.isSameEntry(change) {
                    next = index + 1
                    break
                }
            }
        }
        seen = changes.count
    }

    /// The changes that come before it gives way again.
    var changesUpToGap: [SPTEChange] {
        var changes: [SPTEChange] = []
        for (_, mark) in marks[next...] {
            guard case .change(let change) = mark else { break }
            changes.append(change)
        }
        return changes
    }

    /// What comes next, if that is a change.
    private var nextChange: SPTEChange? {
        if next < marks.count, case .change(let change) = marks[next].mark { change } else { nil }
    }

    /// Of a harvest: the changes for the word of the bitmap that is taken next, or for the rest
    /// of this one, and the line at which that begins; nil: there are no more.
    var nextWord: (line: Int, changes: [SPTEChange])? {
        guard next < marks.count else { return nil }
        let line = marks[next].line, calls = words.partitioningIndex { $0 > line }
        let begin = calls > 0 ? words[calls - 1] : line, end = calls < words.count ? words[calls] : operation.end
        let isBegun = next > 0 && marks[next - 1].line > begin
        return (isBegun ? line : begin, marks[next...].prefix { $0.line < end }.compactMap {
            if case .change(let change) = $0.mark { change } else { nil }
        })
    }

    func hasYield(at place: WalkPlace) -> Bool {
        if next < marks.count, case .yield(let gfn) = marks[next].mark { gfn == place.nextGFN } else { false }
    }

    func hasChange(at place: WalkPlace) -> Bool {
        nextChange.map { $0.gfn == place.gfn && $0.level == place.level } ?? false
    }

    /// It will give way to what is before a line; nil: before its next mark.
    func giveWay(before line: Int? = nil) {
        limit = line ?? nextLine
        givesWay = true
        if line == nil, next < marks.count, case .yield = marks[next].mark { next += 1 }
    }

    /// It stands with mmu_lock free: where it said that it would, or between two of its calls.
    func stand() {
        if givesWay {
            givesWay = false
            return
        }
        limit = operation.end
        while next < marks.count {
            next += 1
            guard case .call = marks[next - 1].mark else { continue }
            limit = marks[next - 1].line
            return
        }
    }

    func beginStandingLocked(before line: Int, wanting fixes: [Int]) {
        (limit, holdsLock, wanted) = (line, true, fixes)
    }

    func endStandingLocked() { (holdsLock, wanted) = (false, []) }

    /// Would another wait for its end?  For the slots lock, or, to change a slot, for those that
    /// use the slots and for the end of all invalidations.
    func excludes(_ other: Item) -> Bool {
        guard case .operation(let other) = other else { return false }
        return other.kind == .memslot || operation.takesSlots && other.takesSlots
    }
}
