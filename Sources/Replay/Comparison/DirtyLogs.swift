// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The dirty bitmaps and rings of both sides: what ours gave, until the trace has told all of
/// the kernel's.
final class DirtyLogs {
    private let place: Place
    private let subject: Subject
    private let verdict: Verdict
    private var trace: Trace { subject.trace }
    /// KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 of the VM.
    var mode = DirtyLogMode()
    /// By task: what the last KVM_GET_DIRTY_LOG gave here.
    var copies: [Int: DirtyLogCopy] = [:]
    /// By vCPU: the trace's pushes into its ring, and their lines.
    private lazy var pushes: [Int: [(line: Int, push: RingPush)]] = {
        var pushes: [Int: [(line: Int, push: RingPush)]] = [:]
        for line in trace.lines {
            guard case .ringPushed(let push) = line.event else { continue }
            pushes[push.vcpu, default: []].append((line.number, push))
        }
        return pushes
    }()
    /// By vCPU: entries harvested from our dirty rings.
    private var harvested: [Int: UInt32] = [:]
    /// Gfns of which the trace cannot tell whether a fault marked them as dirty: it lost a
    /// race, or logging was just being switched.
    var uncertain: Set<UInt64> = []

    init(_ place: Place, _ subject: Subject, _ verdict: Verdict) {
        (self.place, self.subject, self.verdict) = (place, subject, verdict)
    }
}

/// Bitmaps.
extension DirtyLogs {
    /// The calls for each word, in order.
    func compareHarvest(_ operation: Operation, _ bitmap: [UInt64], base: UInt64) {
        guard !place.isParallel else { return }
        var expected = HarvestCall.expected(
            bitmap, base: base, mode, splitsEagerly: subject.parameters.splitsEagerly,
            hasPML: subject.recorded.hasPML)[...]
        for index in operation.details {
            let line = trace.lines[index]
            guard let call = HarvestCall(line.event) else { continue }
            let ours = expected.popFirst()
            if ours == call { continue }
            verdict.differ(line.number, "in the dirty log's harvest", expected: call.text, got: ours?.text ?? "no such call")
        }
        for call in expected {
            verdict.differ(trace.lines[operation.end].number, "in the dirty log's harvest", expected: "no further call",
                           got: call.text)
        }
    }

    /// "DATA dirty": the pages that the kernel gave to userspace.
    func compare(_ list: PageList, _ line: TraceLine) {
        guard !list.isToClear, var log = copies[line.task] else { return }
        verdict.compare(line.number, "the dirty log is of slot", list.slot, log.slot)
        if let total = list.total {
            copies[line.task] = nil
            if place.isParallel { log.drop(uncertain) }
            verdict.compare(line.number, "number of pages in the dirty log", total, log.listed &+ log.count)
            guard let page = log.first else { return }
            return verdict.differ(line.number, "the dirty log", expected: "page 0x\(hex(page)) is clean", got: "it is dirty")
        }
        for range in list.ranges {
            log.listed &+= UInt64(range.count)
            let base = log.base
            let missing = log.remove(range) { place.isParallel && uncertain.contains(base &+ $0) }
            guard let page = missing else { continue }
            verdict.differ(line.number, "the dirty log", expected: "page 0x\(hex(page)) is dirty", got: "it is clean")
        }
        copies[line.task] = log
    }

    /// A look at the bitmap has no line of its own: what is written meanwhile may be in it.
    /// Where it protects what it finds, mmu_lock keeps out all but fixes without that.
    func noteFaults(during operation: Operation) {
        if mode.isManual { noteMaps(during: operation) }
        for index in operation.begin..<operation.end {
            if case .fastPageFault(let fault) = trace.lines[index].event { uncertain.insert(fault.gpa >> Paging.pageShift) }
        }
    }

    /// Also those that were under way when it began.
    private func noteMaps(during operation: Operation) {
        var underWay: [Int: UInt64] = [:]
        for index in max(0, operation.begin - 200)..<operation.end {
            switch trace.lines[index].event {
            case .map(let call) where index < operation.begin: underWay[trace.lines[index].task] = call.gfn
            case .map(let call): uncertain.insert(call.gfn)
            case .mapReturn where index < operation.begin: underWay[trace.lines[index].task] = nil
            default: break
            }
        }
        uncertain.formUnion(underWay.values)
    }
}

/// Rings.
extension DirtyLogs {
    /// "DATA ring": entries that userspace took out of a vCPU's ring, in order.
    func harvest(vcpu: Int, _ entries: [RingEntry], _ line: TraceLine) throws(BadInput) {
        let machine = try subject.require(line)
        for entry in entries {
            let index = harvested[vcpu, default: 0]
            guard let ours = machine.ringEntry(vcpu: vcpu, index, harvest: true) else {
                return verdict.differ(line.number, "the dirty ring of vCPU \(vcpu) has", expected: text(entry), got: "nothing more")
            }
            harvested[vcpu] = index &+ 1
            verdict.compare(line.number, "the dirty ring of vCPU \(vcpu) has", entry, ours, text)
            comparePush(vcpu, index, ours, line)
        }
    }

    /// Every entry has a line for its push, where any has.
    private func comparePush(_ vcpu: Int, _ index: UInt32, _ ours: RingEntry, _ line: TraceLine) {
        guard !pushes.isEmpty else { return }
        let ofRing = pushes[vcpu, default: []]
        guard index < ofRing.count else {
            return verdict.differ(line.number, "kvm_dirty_ring_push of vCPU \(vcpu)", expected: "no such line", got: text(ours))
        }
        let (number, push) = ofRing[Int(index)]
        verdict.compare(number, "kvm_dirty_ring_push", push.entry, ours, text)
        verdict.compare(number, "kvm_dirty_ring_push has dirty", push.count, UInt64(index) + 1, hex)
    }

    /// Before a reset: all has been harvested.
    func compareLeft(_ machine: Machine, _ line: Int) {
        for vcpu in machine.vcpuIDs where !place.isParallel {
            guard let more = machine.ringEntry(vcpu: vcpu, harvested[vcpu, default: 0], harvest: false) else { continue }
            verdict.differ(line, "the dirty ring of vCPU \(vcpu) has", expected: "nothing more", got: text(more))
        }
    }

    private func text(_ entry: RingEntry) -> String {
        "slot 0x\(hex(UInt64(entry.slot))) page 0x\(hex(entry.offset))"
    }
}
