// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The host's side: which pages it has for the guest, what it maps huge, and what it is
/// taking away.
final class HostSide {
    private let place: Place
    var memory: HostMemory
    /// Of the guest mode: what the host answers for the pages of the current fault.
    var pages: [UInt64: HostPage] = [:]
    /// Faults that went by the flags which a slot had before: the level is the kernel's.
    var mappedAsTold: Set<Int> = []
    /// Host ranges that are being invalidated, by task.
    private var invalidations: [Int: [Range<UInt64>]] = [:]
    /// What userspace is doing to its memory, by task.
    private var steps: [Int: HostStep] = [:]

    private enum HostStep {
        case map(HostMapStep)
        case change(HostChangeStep)
    }

    init(_ trace: Trace, _ place: Place) {
        self.place = place
        memory = HostMemory(trace)
    }

    /// The largest level at which it maps an address now.
    func level(of hva: UInt64) -> Int { memory.level(of: hva, at: place.line) }

    func page(_ gfn: UInt64) -> HostPage { pages[gfn] ?? .fault }

    /// Was the fault that is being performed told its level?
    var isMappedAsTold: Bool { mappedAsTold.contains(place.item) }
}

/// Steps of userspace.
extension HostSide {
    func begin(_ map: HostMapStep, task: Int) {
        steps[task] = .map(map)
        memory.map(map)
    }

    func begin(_ change: HostChangeStep, task: Int) { steps[task] = .change(change) }

    func end(_ done: Done, task: Int) {
        switch steps[task] {
        case .map(let map) where done.operation == "host_map":
            if let size = done.hugeKilobytes { memory.mapped(map, hugeKilobytes: size) }
        case .change(let change) where done.operation != "host_map":
            if done.result == 0 { memory.change(change) }
        default: break
        }
    }
}

/// The memory notifier.
extension HostSide {
    func beginInvalidation(_ range: Range<UInt64>, task: Int) { invalidations[task, default: []].append(range) }

    func endInvalidation(task: Int) -> Range<UInt64>? { invalidations[task]?.popLast() }

    func isInvalidating(_ hva: UInt64?) -> Bool {
        guard let hva else { return false }
        return invalidations.values.contains { $0.contains { $0.contains(hva) } }
    }
}
