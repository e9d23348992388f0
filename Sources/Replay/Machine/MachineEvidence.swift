// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What a trace says of the machine that it was recorded on: in the recorder's INFO line, and by
/// what its events can only be on such a machine.
struct MachineEvidence {
    private let trace: Trace
    private var told = MachineFacts()
    private var shown = MachineFacts()
    /// By fact: the line that shows it.
    private var lines: [String: Int] = [:]
    /// Line of the INFO line.
    private var toldAt = 0
    private var mmio = MMIOEvidence()
    private var leaves = LeafEvidence()

    init(_ trace: Trace) throws(BadInput) {
        self.trace = trace
        for line in trace.lines { try take(line) }
        mmio.finish(told, &shown, &lines)
        leaves.finish(&shown, &lines)
        try compareToldWithShown()
    }

    /// The machine.  `options` come before what the trace says, and that before what is usual.
    func machine(_ options: MachineFacts) -> RecordedMachine {
        let vendor = options.vendor ?? told.vendor ?? shown.vendor ?? .npt
        let hasAD = options.hasAD ?? told.hasAD ?? shown.hasAD ?? true
        let canLog = vendor == .ept && hasAD
        return RecordedMachine(
            vendor: vendor, hasAD: hasAD,
            hasPML: options.hasPML ?? (canLog ? told.hasPML ?? shown.hasPML ?? true : false),
            rootLevel: options.rootLevel ?? told.rootLevel ?? shown.rootLevel ?? 4,
            physicalBits: options.physicalBits ?? told.physicalBits ?? shown.physicalBits ?? 40,
            l1tfCacheBits: options.l1tfCacheBits ?? told.l1tfCacheBits ?? shown.l1tfCacheBits ?? 0)
    }

    /// Whose handlers wrote the trace, whatever machine it is replayed on.
    func recorder(_ options: MachineFacts) -> Vendor { told.vendor ?? shown.vendor ?? options.vendor ?? .npt }

    /// Was there an INFO line?
    var isTold: Bool { toldAt != 0 }
}

/// Line by line.
extension MachineEvidence {
    private mutating func take(_ line: TraceLine) throws(BadInput) {
        switch line.event {
        case .machineInfo(let info): try take(info, line)
        case .loadRoot(_, _, let level, let vendor):
            if let vendor { try note("vendor", \.vendor, vendor, line) }
            try note("root_level", \.rootLevel, level, line)
        case .tableAllocated(let table): try note("ad", \.hasAD, table.hasAD, line)
        // Write protection of huge pages alone: the CPU logs the small ones.
        case .writeProtectSlot(_, let level) where level == 1 || level == 2: try note("pml", \.hasPML, level == 2, line)
        case .clearDirtyMasked(_, _, let protects): try note("pml", \.hasPML, !protects, line)
        case .guestCPUID(let eax): try note("maxphyaddr", \.physicalBits, Int(eax & 0xff), line)
        case .spteChanged(let change):
            mmio.take(change, line.number)
            leaves.take(change, line.number)
        default: break
        }
    }

    private mutating func take(_ info: MachineInfo, _ line: TraceLine) throws(BadInput) {
        if let problem = info.problem { throw trace.badInput(line.number, problem) }
        guard toldAt == 0 || told == info.facts else {
            throw trace.badInput(line.number, "the machine is another than on line \(toldAt)")
        }
        (told, toldAt) = (info.facts, line.number)
    }

    /// A fact that cannot change while a VM lives.
    private mutating func note<Fact: Equatable>(
        _ name: String, _ path: WritableKeyPath<MachineFacts, Fact?>, _ fact: Fact, _ line: TraceLine
    ) throws(BadInput) {
        guard let known = shown[keyPath: path] else {
            shown[keyPath: path] = fact
            lines[name] = line.number
            return
        }
        guard known != fact else { return }
        throw trace.badInput(
            line.number, "\(name) is \(Self.text(fact)) here, but \(Self.text(known)) on line \(lines[name] ?? 0)")
    }

    private func compareToldWithShown() throws(BadInput) {
        try compare("vendor", told.vendor, shown.vendor)
        try compare("ad", told.hasAD, shown.hasAD)
        try compare("pml", told.hasPML, shown.hasPML)
        try compare("root_level", told.rootLevel, shown.rootLevel)
        try compare("maxphyaddr", told.physicalBits, shown.physicalBits)
        try compare("l1tf_cache_bits", told.l1tfCacheBits, shown.l1tfCacheBits)
    }

    private func compare<Fact: Equatable>(_ name: String, _ told: Fact?, _ shown: Fact?) throws(BadInput) {
        guard let told, let shown, told != shown, let line = lines[name] else { return }
        throw trace.badInput(
            line, "this shows \(name)=\(Self.text(shown)), but line \(toldAt) says \(name)=\(Self.text(told))")
    }

    private static func text<Fact>(_ fact: Fact) -> String {
        switch fact {
        case let vendor as Vendor: vendor.rawValue
        case let flag as Bool: flag ? "1" : "0"
        default: "\(fact)"
        }
    }
}

/// MMIO SPTEs show how L1TF is mitigated: five address bits are set in all of them, and what
/// the gpa has there stands five bits higher.
private struct MMIOEvidence {
    /// By bits of the caches: how many of the SPTEs they explain.
    private var votes: [Int: Int] = [:]
    private var count = 0
    private var line = 0

    mutating func take(_ change: SPTEChange, _ number: Int) {
        guard change.level == 1, change.new & SPTEBits.mmuPresent == 0, change.new & 7 != 0 else { return }
        let gpa = change.gfn << Paging.pageShift
        let address = change.new & (1 << 51 - 1) & ~Paging.pageMask
        for bits in [0] + Array(36...46) where Self.address(gpa, cacheBits: bits) == address { votes[bits, default: 0] += 1 }
        count += 1
        if line == 0 { line = number }
    }

    private static func address(_ gpa: UInt64, cacheBits: Int) -> UInt64 {
        guard cacheBits > 0 else { return gpa }
        let mask: UInt64 = 0x1f << UInt64(cacheBits - 5)
        return gpa | mask | (gpa & mask) << 5
    }

    /// The greater part: one line may be garbled.  High addresses may be explained by several:
    /// then it is what was told, or one as good as the others.
    func finish(_ told: MachineFacts, _ facts: inout MachineFacts, _ lines: inout [String: Int]) {
        let best = votes.filter { $0.value * 2 > count }.keys
        let wanted = [told.l1tfCacheBits, 0, told.physicalBits ?? facts.physicalBits]
        guard let bits = wanted.compactMap({ $0 }).first(where: best.contains) ?? best.min() else { return }
        facts.l1tfCacheBits = bits
        lines["l1tf_cache_bits"] = line
    }
}

/// Where no probe named the vendor, leaves do: host- and MMU-writable are elsewhere.  And where no
/// table told whether the CPU has Accessed and Dirty bits.
private struct LeafEvidence {
    private var lines: [Vendor: Int] = [:]
    private var counts: [Vendor: Int] = [:]
    /// Leaves with Accessed and Dirty bits, and without.
    private var told = 0
    private var untold = 0

    mutating func take(_ change: SPTEChange, _ number: Int) {
        guard SPTEBits.isLeaf(change.new, level: change.level) else { return }
        let isEPT = change.new & 3 << 57 != 0, isNPT = change.new & 3 << 57 == 0 && change.new & 3 << 9 != 0
        guard isEPT || isNPT else { return }
        counts[isEPT ? .ept : .npt, default: 0] += 1
        // The type of an SPTE whose accesses KVM tracks.
        if isEPT { change.new & 3 << 52 == 1 << 52 ? (untold += 1) : (told += 1) }
        if lines[isEPT ? .ept : .npt] == nil { lines[isEPT ? .ept : .npt] = number }
    }

    /// The greater part: one line may be garbled.
    func finish(_ facts: inout MachineFacts, _ shownAt: inout [String: Int]) {
        if facts.hasAD == nil, told + untold > 0 { facts.hasAD = told > untold }
        guard facts.vendor == nil, let most = counts.max(by: { $0.value < $1.value }) else { return }
        facts.vendor = most.key
        shownAt["vendor"] = lines[most.key]
    }
}
