// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// At which level the host maps its memory, as far as a trace lets one know: the level
/// at which a page may be mapped for the guest is for the host to say, not for the
/// TDP MMU to decide.
///
/// Two sources.  Where the kernel mapped a page of the same 2M block, and the host's
/// tables did not change between that and the moment in question, its level shows.
/// Else what userspace did tells: transparent huge pages are there from the first
/// touch, and end when a part of one is treated differently.
struct HostMemory {
    private enum State {
        /// Nothing is mapped there, and the next touch gets a huge page.
        case empty
        case huge
        case small
    }

    private struct Region {
        var start: UInt64
        var end: UInt64
        var kind: String
    }

    private let sightings: HostSightings
    private var regions: [Region] = []
    private var states: [HostBlock: State] = [:]

    init(_ trace: Trace) {
        sightings = HostSightings(trace)
    }

    /// The largest level at which the host maps the address, at a line of the trace.
    func level(of hva: UInt64, at line: Int) -> Int {
        let region = regions.last { $0.start <= hva && hva < $0.end }
        if let region, let level = Self.fixedLevel(region.kind) { return level }
        let block = hva >> HostBlocks.shift
        if let seen = sightings.level(of: block, at: line) { return seen }
        switch states[block] {
        case .huge: return 2
        case .empty: return region.map(Self.isTransparentlyHuge) == true ? 2 : 1
        default: return 1
        }
    }

    /// hugetlbfs pages do not change, and others never are huge.
    private static func fixedLevel(_ kind: String) -> Int? {
        guard kind.hasPrefix("hugetlb") else { return nil }
        return kind.lowercased().contains("1g") ? 3 : 2
    }

    private static func isTransparentlyHuge(_ region: Region) -> Bool { region.kind.hasPrefix("thp") }
}

/// What userspace does.
extension HostMemory {
    mutating func map(_ step: HostMapStep) {
        let end = step.hva &+ step.length
        guard end > step.hva else { return }
        regions.append(Region(start: step.hva, end: end, kind: step.kind))
        for block in HostBlocks.of(step.hva, step.length).whole {
            states[block] = step.kind.hasPrefix("thp") ? (step.isPopulated ? .huge : .empty) : .small
        }
    }

    /// The host told how much of it is huge: all, or a part of which it did not say where.
    mutating func mapped(_ step: HostMapStep, hugeKilobytes: UInt64) {
        let (whole, _) = HostBlocks.of(step.hva, step.length)
        guard step.isPopulated, hugeKilobytes < UInt64(whole.count) * (HostBlocks.size >> 10) else { return }
        for block in whole { states[block] = .small }
    }

    mutating func change(_ step: HostChangeStep) {
        let (whole, partial) = HostBlocks.of(step.hva, step.length)
        switch step.operation {
        case "madvise_collapse":
            for block in whole { states[block] = .huge }
        case "madvise_dontneed", "munmap", "mmap_fixed":
            for block in whole where states[block] == .huge { states[block] = .empty }
            splitUp(partial)
        case "mprotect":
            splitUp(partial)
        case "madvise_pageout":
            splitUp(Array(whole) + partial)
        case "host_write":
            touch(Array(whole) + partial)
        default:
            break
        }
    }

    /// A fault makes the host fill in what is empty.
    mutating func touch(_ hva: UInt64) {
        touch([hva >> HostBlocks.shift])
    }

    private mutating func touch(_ blocks: [HostBlock]) {
        for block in blocks where states[block] == .empty { states[block] = .huge }
    }

    private mutating func splitUp(_ blocks: [HostBlock]) {
        for block in blocks where states[block] == .huge { states[block] = .small }
    }
}
