// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What the library asks and tells in the middle of an operation, on the operation's thread: it
/// stands there until all has happened that the trace has before.
final class Middle: WalkObserver {
    private let turns: Turns
    private let standing: Standing
    private let causes: Causes
    private let subject: Subject
    private let place: Place

    init(_ turns: Turns, _ standing: Standing, _ causes: Causes, _ subject: Subject, _ place: Place) {
        (self.turns, self.standing, self.causes) = (turns, standing, causes)
        (self.subject, self.place) = (subject, place)
    }

    /// The walk that runs, unless the replay is over.
    private var running: RunningWalk? { standing.isOver ? nil : standing.running }

    func yields(at entry: WalkPlace) -> Bool {
        guard let walk = running?.walk, let machine = subject.machine else { return false }
        walk.pass(machine.changes)
        if walk.hasYield(at: entry) {
            walk.giveWay()
            return true
        }
        guard walk.isShared else { return false }
        place.line = turns.trace.lines[walk.nextLine].number
        if walk.hasChange(at: entry) {
            guard turns.isAnythingAhead(before: walk.nextLine) else { return false }
            walk.giveWay()
            return true
        }
        guard entry.spte != SPTEBits.nonpresent, let last = lastChange(of: entry, meanwhile: walk) else { return false }
        walk.giveWay(before: turns.schedule.positions[last] + 1)
        return true
    }

    /// Before the operation has called the library: all that has its place before a line.
    func stand(before line: Int) {
        guard let running else { return }
        running.walk.giveWay(before: line)
        comeInBetween()
    }

    /// mmu_lock is free in the middle of an operation.
    func comeInBetween() {
        guard let running else { return }
        running.walk.stand()
        subject.recording?.take(task: running.walk.task)
        running.thread.stand()
        place.line = turns.trace.lines[running.walk.limit].number
    }

    /// After each change of the dirty log's harvest: which faults were fixed before its next one?
    func hasChanged() {
        guard let running, running.walk.isHarvest, let machine = subject.machine else { return }
        let walk = running.walk
        walk.pass(machine.changes)
        // Behind the last one mmu_lock is let go.
        guard let (line, changes) = walk.nextWord else { return }
        let wanted = changes.compactMap { causes.fix(for: $0, behind: line) }
        guard !wanted.isEmpty || turns.isAnythingAhead(before: line) else { return }
        walk.beginStandingLocked(before: line, wanting: wanted)
        subject.recording?.take(task: walk.task)
        running.thread.stand()
        walk.endStandingLocked()
    }

    /// The last item that changes an entry which the walk left alone, but has come to here.
    private func lastChange(of place: WalkPlace, meanwhile walk: StandingWalk) -> Int? {
        let entry = SPTEChange(
            addressSpace: 0, gfn: place.gfn, level: place.level, old: place.spte, new: place.spte)
        return turns.changeIndex.items(changing: entry, before: walk.nextLine).last {
            turns.isAhead($0) && turns.schedule.positions[$0] < walk.nextLine
                && !standing.isBlocked($0) && !standing.comesBehind($0, walk)
        }
    }
}
