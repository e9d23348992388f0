// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Operations that stand in their middle, the one that runs, and what must wait for them.
final class Standing {
    private let turns: Turns
    private let subject: Subject
    private(set) var walks: [RunningWalk] = []
    /// The one of them that runs now.
    var running: RunningWalk?
    /// The replay is over: nothing waits for anything.
    var isOver = false

    init(_ turns: Turns, _ subject: Subject) { (self.turns, self.subject) = (turns, subject) }

    func add(_ walk: RunningWalk) { walks.append(walk) }
    func remove(_ walk: RunningWalk) { walks.removeAll { $0 === walk } }

    /// Which goes on first, now that the replay has come to a line; nil: none has to.
    func due(at line: Int) -> RunningWalk? {
        let due = walks.filter { $0.walk.limit <= line }.min { $0.walk.limit < $1.walk.limit }
        // The others want the lock.
        return due.map { locking ?? $0 }
    }

    /// The walk that goes on first when the replay is over.
    var last: RunningWalk? { locking ?? walks.first }

    private var locking: RunningWalk? { walks.first { $0.walk.holdsLock } }

    /// Does one that stands hold mmu_lock?
    var isLocked: Bool { locking != nil }

    func stands(task: Int) -> Bool { walks.contains { $0.walk.task == task } }
}

/// What waits.
extension Standing {
    /// Must an item wait for what stands?
    func isBlocked(_ index: Int) -> Bool {
        guard !walks.isEmpty || !turns.deferred.isEmpty else { return false }
        let task = turns.task(of: index)
        return turns.deferred.contains { $0 < index && turns.task(of: $0) == task } || isKeptOut(index)
            || walks.contains {
                $0.walk.task == task || $0.walk.excludes(turns.schedule.items[index]) || comesBehind(index, $0.walk)
            }
    }

    /// Would it wait for mmu_lock, which one that stands holds?  A fault that is fixed without
    /// must find what the kernel found, else it might come to want the lock.
    func isKeptOut(_ index: Int) -> Bool {
        guard isLocked else { return false }
        switch turns.schedule.items[index] {
        case .event(let line):
            switch turns.trace.lines[line].event {
            case .pageFault, .pageFaultReturn, .step(.touch), .step(.batch): return false
            case .fastPageFault(let fault): return !canBeFixed(fault)
            case .done(let done): return done.operation != "touch" && done.operation != "batch"
            default: return true
            }
        case .operation(let operation):
            guard operation.kind == .fault else { return true }
            return !operation.details.contains {
                if case .fastPageFault(let fault) = turns.trace.lines[$0].event { canBeFixed(fault) } else { false }
            }
        }
    }

    private func canBeFixed(_ fault: FastPageFault) -> Bool {
        guard fault.fixed, let machine = subject.machine else { return false }
        return machine.entry(vcpu: fault.vcpu, gfn: fault.gpa >> Paging.pageShift)?.spte == fault.old
    }

    /// Does it change an SPTE after a walk will?
    func comesBehind(_ index: Int, _ walk: StandingWalk) -> Bool {
        guard case .operation(let operation) = turns.schedule.items[index] else { return false }
        return operation.changes.contains { line in
            guard case .spteChanged(let change) = turns.trace.lines[line].event else { return false }
            return turns.changeIndex.lines(changing: change, of: walk.item).contains { walk.nextLine <= $0 && $0 < line }
        }
    }
}
