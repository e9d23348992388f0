// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Where the kernel's own faults show at which level the host maps a 2M block, and
/// where the host's tables changed.
struct HostSightings {
    private enum Sighting {
        case level(Int)
        /// Whatever was seen before may be otherwise now.
        case changed
    }

    private var sightings: [HostBlock: [(line: Int, what: Sighting)]] = [:]

    /// A slot, as far as it matters to a fault's level.
    private struct Slot {
        var id: UInt64
        var addressSpace: Int
        var base: UInt64
        var pages: UInt64
        var hva: UInt64
        var isLogged: Bool
    }

    private var slots: [Slot] = []
    private var asked: [Int: MemslotStep] = [:]
    /// By task: the fault that is being handled, and whether its vCPU is in SMM.
    private var maps: [Int: MapCall] = [:]
    private var inSMM: Set<Int> = []
    /// By task: host ranges that are being invalidated, the innermost last.
    private var invalidations: [Int: [(start: UInt64, end: UInt64)]] = [:]

    init(_ trace: Trace) {
        for line in trace.lines { take(line) }
    }

    /// The level that was seen with no change of the host's tables between: the last one
    /// before the line, or the first one behind it.
    func level(of block: HostBlock, at line: Int) -> Int? {
        guard let seen = sightings[block] else { return nil }
        let next = seen.partitioningIndex { $0.line > line }
        if next > 0, case .level(let level) = seen[next - 1].what { return level }
        if next < seen.count, case .level(let level) = seen[next].what { return level }
        return nil
    }

    private mutating func take(_ line: TraceLine) {
        switch line.event {
        case .step(.memslot(let step)):
            asked[line.task] = step
            // From here on small pages may be for the log's sake.
            if step.flags & 1 != 0 { noteLogging(step) }
        case .done(let done) where OperationTable.memslotSteps.contains(done.operation):
            if done.result == 0, let step = asked[line.task] { note(step) }
        case .smmTransition(_, let entering):
            if entering { inSMM.insert(line.task) } else { inSMM.remove(line.task) }
        case .map(let call): maps[line.task] = call
        case .spteRequested(_, _, let level):
            if let call = maps.removeValue(forKey: line.task) { note(call, level, line) }
        case .hostUnmapped(let start, let end):
            noteChange(start, end, line.number)
            if isGuestMemory(start, end) { invalidations[line.task, default: []].append((start, end)) }
        // The tables changed at some moment between the two.
        case .invalidateEnd:
            if let (start, end) = invalidations[line.task]?.popLast() { noteChange(start, end, line.number) }
        default: break
        }
    }

    private mutating func note(_ step: MemslotStep) {
        slots.removeAll { $0.id == step.slot && $0.addressSpace == step.addressSpace }
        guard step.pages > 0 else { return }
        slots.append(Slot(id: UInt64(step.slot), addressSpace: step.addressSpace,
                          base: step.gpa >> Paging.pageShift, pages: step.pages, hva: step.hva,
                          isLogged: step.flags & 1 != 0))
    }

    private mutating func noteLogging(_ step: MemslotStep) {
        for index in slots.indices where slots[index].id == step.slot && slots[index].addressSpace == step.addressSpace {
            slots[index].isLogged = true
        }
    }

    private func isGuestMemory(_ start: UInt64, _ end: UInt64) -> Bool {
        slots.contains { max(start, $0.hva) < min(end, $0.hva &+ $0.pages << Paging.pageShift) }
    }

    private mutating func noteChange(_ start: UInt64, _ end: UInt64, _ line: Int) {
        guard start < end, (end - start) >> HostBlocks.shift < 1 << 20 else { return }
        for block in start >> HostBlocks.shift...(end - 1) >> HostBlocks.shift {
            let first = block << HostBlocks.shift
            let isWhole = start <= first && first &+ HostBlocks.size <= end
            // Small pages become a huge one as a whole.
            if !isWhole, case .level(1) = sightings[block]?.last?.what { continue }
            sightings[block, default: []].append((line, .changed))
        }
    }

    /// A fault's level, if nothing but the host's tables decided on it.
    private mutating func note(_ call: MapCall, _ level: Int, _ line: TraceLine) {
        let addressSpace = inSMM.contains(line.task) ? 1 : 0
        guard !(call.execute && call.noHugeFetch), let slot = slots.first(where: {
            $0.addressSpace == addressSpace && $0.base <= call.gfn && call.gfn - $0.base < $0.pages
        }) else { return }
        let first = call.gfn & ~511
        let hva = slot.hva &+ (call.gfn &- slot.base) << Paging.pageShift
        // In a huge page each small one has its place.
        let mayBeHuge = call.pfn & 511 == (hva >> Paging.pageShift) & 511
        guard !slot.isLogged || level > 1 || !mayBeHuge else { return }
        let fits = first >= slot.base && first &+ 512 <= slot.base &+ slot.pages
            && (hva >> Paging.pageShift) & 511 == call.gfn & 511
        guard fits || level > 1 else { return }
        sightings[hva >> HostBlocks.shift, default: []].append((line.number, .level(min(level, 3))))
    }
}
