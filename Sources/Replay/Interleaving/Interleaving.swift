// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Performs items, in their turn or before it.  What others did in the middle of an operation is
/// done in its middle here: where it gave way, and, while the kernel held mmu_lock for read,
/// before the entries that it or they changed.
///
/// An operation with such gaps runs on a thread of its own and stands in each of them until all
/// has happened that the trace has before.
final class Interleaving {
    let turns: Turns
    let standing: Standing
    let causes: Causes
    let middle: Middle
    let place: Place
    let subject: Subject
    private let performer: Performer
    private let events: Events
    private static var mostAtOnce: Int { 8 }

    init(_ turns: Turns, _ performer: Performer, _ events: Events) {
        (self.turns, self.performer, self.events) = (turns, performer, events)
        (place, subject) = (performer.place, performer.subject)
        standing = Standing(turns, subject)
        causes = Causes(turns: turns, subject: subject)
        middle = Middle(turns, standing, causes, subject, place)
        subject.observer = middle
        performer.others = self
    }

    func performInTurn(_ index: Int) throws(BadInput) {
        guard turns.comes(to: index) else { return }
        guard !standing.isBlocked(index) else { return turns.postpone(index) }
        try bringForward(before: index)
        try perform(index)
    }

    private func perform(_ index: Int) throws(BadInput) {
        let outer = place.item
        place.item = index
        defer { place.item = outer }
        let first = turns.firstLine(of: index)
        subject.recording?.mark(upTo: first.number) { performer.verdict.ourRoot(atDump: $0) }
        switch turns.schedule.items[index] {
        case .operation(let operation): try begin(index, operation)
        case .event(let line):
            try events.take(turns.trace.lines[line])
            subject.recording?.take(task: first.task)
        }
    }
}

/// Out of their turn.
extension Interleaving {
    /// Performs first what item `index` presupposes.
    private func bringForward(before index: Int, depth: Int = 0) throws(BadInput) {
        guard place.isParallel, depth < Self.mostAtOnce, turns.flagsStep(index) == nil else { return }
        for item in causes.earlierChanges(index) where turns.isAhead(item) {
            try perform(upTo: item, depth: depth + 1)
        }
        for change in causes.presupposed(turns.schedule.items[index]) {
            guard let cause = causes.cause(of: change, ahead: index) else { continue }
            try perform(upTo: cause, depth: depth + 1)
        }
    }

    /// An item ahead, and before it what its task did before.
    func perform(upTo cause: Int, depth: Int = 0) throws(BadInput) {
        let task = turns.task(of: cause)
        guard !standing.stands(task: task) else { return }
        // Nothing is left of what has had its turn.
        for item in turns.turn + 1..<max(turns.turn + 1, cause + 1) where turns.isAhead(item) {
            let line = turns.firstLine(of: item)
            // The end of an invalidation lets others go on.
            guard line.task == task
                || (line.event == .invalidateEnd && !standing.stands(task: line.task) && turns.isNext(item))
            else { continue }
            try bringForward(before: item, depth: depth)
            if standing.isKeptOut(item) { return }
            try perform(item: item)
        }
    }

    private func perform(item index: Int) throws(BadInput) {
        guard turns.isAhead(index), !standing.isKeptOut(index) else { return }
        turns.take(index)
        try perform(index)
    }

    private func performDeferred() throws(BadInput) {
        for index in turns.deferred where turns.deferred.contains(index) && !standing.isBlocked(index) {
            try bringForward(before: index)
            try perform(item: index)
        }
    }
}

/// Operations with gaps.
extension Interleaving {
    /// Performs an operation, up to its first gap if it has any.
    private func begin(_ index: Int, _ operation: Operation) throws(BadInput) {
        let walk = StandingWalk(item: index, operation, turns.trace, isShared: turns.flagsStep(index) != nil)
        guard walk.hasGaps, subject.machine != nil else {
            try performer.perform(operation)
            subject.recording?.take(task: walk.task)
            return
        }
        let running = RunningWalk(walk, RunningWalk.Context(
            item: index, line: place.line, hostPages: performer.host.pages, changes: []))
        running.context.running = running
        try run(running) { thread in
            thread.start { [unowned self, unowned running] in
                do throws(BadInput) { try performer.perform(operation) } catch { running.problem = error }
                subject.recording?.take(task: walk.task)
            }
        }
    }

    private func run(_ running: RunningWalk, _ go: (OperationThread) -> Bool) throws(BadInput) {
        let outer = context()
        enter(running.context)
        standing.remove(running)
        let hasEnded = go(running.thread)
        running.context = context()
        enter(outer)
        guard !hasEnded else {
            running.context.running = nil
            if let problem = running.problem { throw problem }
            return
        }
        standing.add(running)
        for fix in running.walk.wanted { try perform(upTo: fix) }
    }

    private func context() -> RunningWalk.Context {
        RunningWalk.Context(item: place.item, line: place.line, hostPages: performer.host.pages,
                            changes: subject.machine?.takeChanges() ?? [], running: standing.running)
    }

    private func enter(_ context: RunningWalk.Context) {
        (place.item, place.line) = (context.item, context.line)
        (performer.host.pages, standing.running) = (context.hostPages, context.running)
        subject.machine?.putBack(context.changes)
    }

    /// Lets those go on that stand until a line which the replay has come to.
    func resume(upTo line: Int) throws(BadInput) {
        while let next = standing.due(at: line) {
            try bringFixesForward(before: next.walk)
            try run(next) { $0.resume() }
            try performDeferred()
        }
    }

    /// Faults that were fixed before a walk went on, though their lines are behind.
    private func bringFixesForward(before walk: StandingWalk) throws(BadInput) {
        guard place.isParallel, !walk.isShared, !walk.isHarvest else { return }
        for change in walk.changesUpToGap {
            if let fix = causes.fix(for: change, behind: walk.nextLine) { try perform(upTo: fix) }
        }
    }

    /// Lets all that stands come to its end, whatever the trace has: the replay is over.
    func finish() {
        standing.isOver = true
        while let next = standing.last {
            do throws(BadInput) { try run(next) { $0.resume() } } catch { continue }
        }
    }
}

extension Interleaving: Others {
    var isLocked: Bool { standing.isLocked }

    func finishWithOldFlags(_ operation: Operation, _ step: MemslotStep, _ machine: Machine) throws(BadInput) {
        let index = place.item
        let flags = FlagSwitch(turns: turns, guest: performer.guest, host: performer.host, logs: performer.logs)
        let firstPart = operation.details.first { OperationGrammar.kindOfCall(turns.trace.lines[$0].event) != nil }
            ?? operation.end
        let faults = flags.faultsByFlags(ahead: index, before: firstPart, step, machine)
        // The flags change behind the old ones, as far as none of the new ones is before.
        let firstNew = faults.new.first.map { turns.schedule.positions[$0] } ?? .max
        if let last = faults.old.last(where: { turns.schedule.positions[$0] < firstNew }) {
            middle.stand(before: turns.schedule.positions[last] + 1)
        }
        for fault in faults.old where turns.isAhead(fault) {
            // One that found the log on before it went off maps small, whenever it does so.
            if flags.isSwitchingOn(index) { try perform(upTo: fault) } else { performer.host.mappedAsTold.insert(fault) }
        }
    }
}
