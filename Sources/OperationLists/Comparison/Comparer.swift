// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace
import LibraryClient

/// Has lists performed by one library or two, each in a process of its own, and looks where they differ.
package final class Comparer {
    package let drivers: [DriverProcess]
    package var judge = Judge()
    /// So many lists are under way: while one library is still at one, the other may begin the next.
    private static let listsAhead = 4
    /// Where each try hangs, a list may not become as short as it can be.
    private static let shorteningSeconds = 180

    package init(_ drivers: [DriverProcess]) { self.drivers = drivers }

    /// Of each library, to one list.
    package func replies(_ list: OperationList, _ manner: PerformingManner) throws(BadInput) -> [Reply] {
        for driver in drivers { driver.perform(list, manner) }
        return try nextReplies()
    }

    package func difference(_ list: OperationList) throws(BadInput) -> Difference? {
        guard let found = judge.difference(list, try replies(list, .fast)) else { return nil }
        guard case .failure = found.cause else { return found }
        // Answers that it had written nowhere are lost: once more, one by one, to see how far it comes.
        return judge.difference(list, try replies(list, .careful)) ?? found
    }

    /// Each of count lists in turn; until `take`, which is told what came of it, says no.
    package func compare(_ count: Int, _ list: (Int) -> OperationList,
                         _ take: (OperationList, Difference?) throws -> Bool) throws
    {
        var underWay: [OperationList] = [], next = 0, goesOn = true
        while (goesOn && next < count) || !underWay.isEmpty {
            while goesOn, next < count, underWay.count < Self.listsAhead {
                let made = list(next)
                next += 1
                underWay.append(made)
                for driver in drivers { driver.perform(made, .fast) }
            }
            let replies = try nextReplies(), done = underWay.removeFirst()
            // What is under way is still waited for, so that the drivers are free then.
            if goesOn { goesOn = try take(done, judge.difference(done, replies)) }
        }
    }

    private func nextReplies() throws(BadInput) -> [Reply] {
        while drivers.contains(where: { $0.replies.isEmpty }) { try DriverProcess.advance(drivers) }
        return drivers.compactMap { $0.takeReply() }
    }

    /// A list that shows the difference with as few operations as can be.
    package func shortest(_ list: OperationList, _ onProgress: @escaping (Int) -> Void)
        throws(BadInput) -> (list: OperationList, found: Difference)?
    {
        guard let found = try difference(list) else { return nil }
        var shrinker = Shrinker { [self] list throws(BadInput) in try difference(list) }
        shrinker.onProgress = onProgress
        let end = Silence.now + Self.shorteningSeconds * 1_000_000_000
        shrinker.hasTime = { Silence.now < end }
        let shortest = try withLessPatience { () throws(BadInput) in try shrinker.shortest(list, found) }
        // What was only slow is no difference.
        guard let confirmed = try difference(shortest.list) else { return (list, found) }
        return (shortest.list, confirmed)
    }

    /// Where a library hangs, many lists will.
    private func withLessPatience<Result>(_ body: () throws(BadInput) -> Result) throws(BadInput) -> Result {
        let patience = drivers.map(\.patienceSeconds)
        for driver in drivers { driver.patienceSeconds = min(driver.patienceSeconds, 3) }
        defer { for (driver, seconds) in zip(drivers, patience) { driver.patienceSeconds = seconds } }
        return try body()
    }

    /// In words.
    package func report(_ list: OperationList, _ found: Difference) throws(BadInput) -> DifferenceReport {
        let transcripts = try replies(list, .showing(found.index)).map { Transcript($0) }
        return DifferenceReport(list: list, found: found, names: drivers.map { "\($0.name) (\($0.version))" }, transcripts: transcripts)
    }
}
