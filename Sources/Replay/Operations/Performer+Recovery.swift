// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The recovery thread.
extension Performer {
    /// When it takes a step, is for the host's clock to say; which tables it takes, is not.
    func recover(_ operation: Operation, _ gfn: UInt64, _ machine: Machine) {
        if recovered.isEmpty {
            _ = machine.recover(ratio: max(subject.parameters.recoveryRatio, 1))
            recovered = machine.takeChanges()
        }
        let count = min(operation.changes.count, recovered.count)
        compareChanges(operation, with: Array(recovered[..<count]))
        recovered.removeFirst(count)
    }

    /// A step is over when something else happens.
    func compareRecovered(_ operation: Operation) {
        guard operation.kind != .zapTable else { return }
        for change in recovered {
            verdict.differ(trace.lines[operation.begin].number, "SPTE change in recovery",
                           expected: "no further change", got: change.text)
        }
        recovered = []
    }

    /// The recovery thread zaps a table that stands in for a huge page.
    func zapTable(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) {
        guard case .zapTable(let table, let gfn) = begin.event else { return }
        if mode == .guest { return recover(operation, gfn, machine) }
        let ours = verdict.physical(table).flatMap { verdict.renaming.ours(of: $0) }
        guard let ours, let found = machine.zapTable(at: ours) else {
            return verdict.differ(begin.number, "zap_sp", expected: "a table at \(hex(table))", got: "none is known")
        }
        verdict.compare(begin.number, "zap_sp is of the table for gfn", gfn, found.gfn, hex)
        verdict.compare(begin.number, "zap_sp returns", !operation.changes.isEmpty, found.zapped)
        compareChanges(operation)
    }
}
