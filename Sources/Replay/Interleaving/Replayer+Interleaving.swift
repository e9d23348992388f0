// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// What others did in the middle of an operation is done in its middle here: where it gave way,
/// and, while the kernel held mmu_lock for read, before the entries that it or they changed.
///
/// An operation with such gaps runs on a thread of its own and stands in each of them until all
/// has happened that the trace has before.
extension Replayer {
    /// Of what is being done, where another thing comes in between.
    struct Context {
        var item: Int
        var line: Int
        var hostPages: [UInt64: HostPage]
        var changes: [SPTEChange]
        var running: RunningWalk?
    }

    /// A walk with its thread.
    final class RunningWalk {
        let walk: StandingWalk
        let thread = OperationThread()
        fileprivate var context: Context
        fileprivate var problem: BadInput?

        fileprivate init(_ walk: StandingWalk, _ context: Context) {
            self.walk = walk
            self.context = context
        }
    }

    /// Performs an operation, up to its first gap if it has any.
    func begin(_ index: Int, _ operation: Operation) throws(BadInput) {
        let walk = StandingWalk(item: index, operation, trace, isShared: flagsStep(index) != nil)
        guard walk.hasGaps, machine != nil else {
            try perform(operation)
            recording?.take(task: walk.task)
            return
        }
        let running = RunningWalk(walk, Context(item: index, line: currentLine, hostPages: hostPages, changes: []))
        running.context.running = running
        try run(running) { thread in
            thread.start { [unowned self, unowned running] in
                do throws(BadInput) { try perform(operation) } catch { running.problem = error }
                recording?.take(task: walk.task)
            }
        }
    }

    private func run(_ running: RunningWalk, _ go: (OperationThread) -> Bool) throws(BadInput) {
        let outer = context()
        enter(running.context)
        standing.removeAll { $0 === running }
        let hasEnded = go(running.thread)
        running.context = context()
        enter(outer)
        guard !hasEnded else {
            running.context.running = nil
            if let problem = running.problem { throw problem }
            return
        }
        standing.append(running)
        for fix in running.walk.wanted { try perform(upTo: fix) }
    }

    /// Lets all that stands come to its end, whatever the trace has: the replay is over.
    package func finish() {
        isOver = true
        while let next = standing.first(where: { $0.walk.holdsLock }) ?? standing.first {
            do throws(BadInput) { try run(next) { $0.resume() } } catch { continue }
        }
    }

    private func context() -> Context {
        Context(item: currentItem, line: currentLine, hostPages: hostPages, changes: machine?.takeChanges() ?? [],
                running: running)
    }

    private func enter(_ context: Context) {
        (currentItem, currentLine, hostPages, running) = (context.item, context.line, context.hostPages, context.running)
        machine?.putBack(context.changes)
    }

    /// Lets those go on that stand until a line which the replay has come to.
    func resume(upTo line: Int) throws(BadInput) {
        while let due = standing.filter({ $0.walk.limit <= line }).min(by: { $0.walk.limit < $1.walk.limit }) {
            // The others want the lock.
            let next = standing.first { $0.walk.holdsLock } ?? due
            try bringFixesForward(before: next.walk)
            try run(next) { $0.resume() }
            try performDeferred()
        }
    }

    /// Faults that were fixed before a walk went on, though their lines are behind.
    private func bringFixesForward(before walk: StandingWalk) throws(BadInput) {
        guard isParallel, !walk.isShared, !walk.isHarvest else { return }
        for change in walk.changesUpToGap {
            if let fix = fix(for: change, behind: walk.nextLine) { try perform(upTo: fix) }
        }
    }

    private func performDeferred() throws(BadInput) {
        for index in deferred where deferred.contains(index) && !isBlocked(index) {
            try bringForward(before: index)
            try perform(item: index)
        }
    }

    /// Must an item wait for what stands?
    func isBlocked(_ index: Int) -> Bool {
        guard !standing.isEmpty || !deferred.isEmpty else { return false }
        let task = task(of: index)
        return deferred.contains { $0 < index && self.task(of: $0) == task } || isKeptOut(index)
            || standing.contains { $0.walk.task == task || $0.walk.excludes(schedule.items[index]) || comesBehind(index, $0.walk) }
    }

    /// Does one that stands hold mmu_lock?
    var isLocked: Bool { standing.contains { $0.walk.holdsLock } }

    /// Would it wait for mmu_lock, which one that stands holds?  A fault that is fixed without
    /// must find what the kernel found, else it might come to want the lock.
    func isKeptOut(_ index: Int) -> Bool {
        guard isLocked else { return false }
        switch schedule.items[index] {
        case .event(let line):
            switch trace.lines[line].event {
            case .pageFault, .pageFaultReturn, .step(.touch), .step(.batch): return false
            case .fastPageFault(let fault): return !canBeFixed(fault)
            case .done(let done): return done.operation != "touch" && done.operation != "batch"
            default: return true
            }
        case .operation(let operation):
            guard operation.kind == .fault else { return true }
            return !operation.details.contains {
                if case .fastPageFault(let fault) = trace.lines[$0].event { canBeFixed(fault) } else { false }
            }
        }
    }

    private func canBeFixed(_ fault: FastPageFault) -> Bool {
        guard fault.fixed, let machine else { return false }
        return machine.entry(vcpu: fault.vcpu, gfn: fault.gpa >> Paging.pageShift)?.spte == fault.old
    }

    private func task(of index: Int) -> Int { trace.lines[schedule.items[index].firstLine].task }

    /// Does it change an SPTE after a walk will?
    private func comesBehind(_ index: Int, _ walk: StandingWalk) -> Bool {
        guard case .operation(let operation) = schedule.items[index] else { return false }
        return operation.changes.contains { line in
            guard case .spteChanged(let change) = trace.lines[line].event else { return false }
            return changeIndex.lines(changing: change, of: walk.item).contains { walk.nextLine <= $0 && $0 < line }
        }
    }

    /// Is it still to be performed?
    func isAhead(_ index: Int) -> Bool { index > turn ? !performed.contains(index) : deferred.contains(index) }
}

/// From the library's callbacks, on the thread of the operation.
extension Replayer {
    /// Before a walk looks at an entry: does it give way?
    func yields(at iter: tdp_iter) -> Bool {
        guard let walk = running?.walk, !isOver, let machine else { return false }
        walk.pass(machine.changes)
        if walk.hasYield(at: iter) {
            walk.giveWay()
            return true
        }
        guard walk.isShared else { return false }
        currentLine = trace.lines[walk.nextLine].number
        if walk.hasChange(at: iter) {
            guard isAnythingAhead(before: walk.nextLine) else { return false }
            walk.giveWay()
            return true
        }
        guard iter.old_spte != SPTEBits.nonpresent, let last = lastChange(of: iter, meanwhile: walk) else { return false }
        walk.giveWay(before: schedule.positions[last] + 1)
        return true
    }

    /// Before the operation has called the library: all that has its place before a line.
    func stand(before line: Int) {
        guard let running, !isOver else { return }
        running.walk.giveWay(before: line)
        comeInBetween()
    }

    /// mmu_lock is free in the middle of an operation.
    func comeInBetween() {
        guard let running, !isOver else { return }
        running.walk.stand()
        recording?.take(task: running.walk.task)
        running.thread.stand()
        currentLine = trace.lines[running.walk.limit].number
    }

    /// After each change of the dirty log's harvest: which faults were fixed before its next one?
    func hasChanged() {
        guard let running, running.walk.isHarvest, !isOver, let machine else { return }
        let walk = running.walk
        walk.pass(machine.changes)
        // Behind the last one mmu_lock is let go.
        guard let (line, changes) = walk.nextWord else { return }
        let wanted = changes.compactMap { fix(for: $0, behind: line) }
        guard !wanted.isEmpty || isAnythingAhead(before: line) else { return }
        walk.beginStandingLocked(before: line, wanting: wanted)
        recording?.take(task: walk.task)
        running.thread.stand()
        walk.endStandingLocked()
    }

    private func isAnythingAhead(before line: Int) -> Bool {
        var index = turn + 1
        while index < schedule.items.count, schedule.positions[index] < line {
            if isAhead(index) { return true }
            index += 1
        }
        return false
    }

    /// The last item that changes an entry which the walk left alone, but has come to here.
    private func lastChange(of iter: tdp_iter, meanwhile walk: StandingWalk) -> Int? {
        let entry = SPTEChange(
            addressSpace: 0, gfn: iter.gfn, level: Int(iter.level), old: iter.old_spte, new: iter.old_spte)
        return changeIndex.items(changing: entry, before: walk.nextLine).last {
            isAhead($0) && schedule.positions[$0] < walk.nextLine && !isBlocked($0) && !comesBehind($0, walk)
        }
    }
}
