// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The memory notifier.
extension Performer {
    func notify(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) {
        let results = flags(operation)
        switch begin.event {
        case .hostUnmapped(let start, let end):
            // The kernel tells the end only where a slot was concerned.
            if start < end, machine.isGuestMemory(hostStart: start, hostEnd: end) {
                host.beginInvalidation(start..<end, task: begin.task)
                machine.invalidate(hostStart: start, hostEnd: end)
            }
        case .hostAged(let start, let end):
            verdict.compare(begin.number, "aging returns", results.contains(true), machine.age(hostStart: start, hostEnd: end))
        case .hostTestAged(let start, _):
            verdict.compare(begin.number, "the look for use returns", results.contains(true),
                            machine.testAge(hostStart: start))
        default: break
        }
        compareChanges(operation)
    }

    /// What the calls for each slot returned.
    private func flags(_ operation: Operation) -> [Bool] {
        operation.details.compactMap { index in
            switch trace.lines[index].event {
            case .ageReturn(let flag), .testAgeReturn(let flag): flag
            default: nil
            }
        }
    }
}
