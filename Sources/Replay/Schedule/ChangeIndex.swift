// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Which items of a schedule change an SPTE, in the order of the lines that tell of it.
struct ChangeIndex {
    private struct Entry: Hashable {
        var addressSpace: Int
        var gfn: UInt64
        var level: Int
    }

    private var places: [Entry: [(line: Int, item: Int)]] = [:]

    init(_ schedule: Schedule, _ trace: Trace) {
        for (item, what) in schedule.items.enumerated() {
            let lines = switch what {
            case .event(let index): [index]
            case .operation(let operation): operation.changes + operation.details
            }
            for line in lines { note(trace.lines[line].event, line, item) }
        }
        for entry in places.keys { places[entry]?.sort { $0.line < $1.line } }
    }

    private mutating func note(_ event: TraceEvent, _ line: Int, _ item: Int) {
        switch event {
        case .spteChanged(let change):
            let entry = Entry(addressSpace: change.addressSpace, gfn: change.gfn, level: change.level)
            places[entry, default: []].append((line, item))
        // Where vCPUs run at once, none of the recorded ones is in SMM.
        case .fastPageFault(let fault) where fault.fixed:
            let entry = Entry(addressSpace: 0, gfn: fault.gpa >> Paging.pageShift, level: 1)
            places[entry, default: []].append((line, item))
        default: break
        }
    }

    /// Lines of an item that change the same SPTE.
    func lines(changing change: SPTEChange, of item: Int) -> [Int] {
        let entry = Entry(addressSpace: change.addressSpace, gfn: change.gfn, level: change.level)
        return (places[entry] ?? []).filter { $0.item == item }.map(\.line)
    }

    /// Items that change the same SPTE by lines before this one, the first first.
    func items(changing change: SPTEChange, before line: Int) -> [Int] {
        let entry = Entry(addressSpace: change.addressSpace, gfn: change.gfn, level: change.level)
        return (places[entry] ?? []).prefix { $0.line < line }.map(\.item)
    }
}
