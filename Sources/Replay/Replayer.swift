// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Replays one trace against the library: performs what was recorded, in order,
/// and compares everything that comes of it.
///
/// What it takes from the trace is what the kernel's functions were given, what
/// userspace did to slots, and what the guest accessed.  It never writes a
/// recorded SPTE: those are only compared with the ones the library makes.
package final class Replayer {
    package enum Stop: Equatable {
        case never
        /// Behind this dump.
        case afterDump(Int)
        /// Before the VM is taken down.
        case beforeTeardown
    }

    package let trace: Trace
    let mode: ReplayMode
    let dumps: DumpFile?
    let schedule: Schedule
    package var report: Report
    /// Our VM, from the trace's vm_create to its end.
    package var machine: Machine?
    var renaming = TableRenaming()
    var guest = GuestModel()
    var tasks: [Int: TaskState] = [:]
    var vcpuOfPointer: [UInt64: Int] = [:]
    /// What the kernel adds to a physical address to get its own virtual one.
    var directMapOffset: UInt64?
    /// What the host maps huge, as far as it is known.
    var host: HostMemory
    var parameters = ModuleParameters()
    /// Of the guest mode: what the host answers for the pages of the current fault.
    var hostPages: [UInt64: HostPage] = [:]
    /// Host ranges that are being invalidated, by task.
    var invalidations: [Int: [Range<UInt64>]] = [:]
    /// Changes of a recovery step of ours that the trace has not come to yet.
    var recovered: [SPTEChange] = []
    /// KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 of the VM.
    var dirtyLogMode = DirtyLogMode()
    /// By task: what the last KVM_GET_DIRTY_LOG gave here, until the trace has told it all.
    var dirtyLogs: [Int: DirtyLogCopy] = [:]
    /// By vCPU: entries harvested from our dirty rings.
    var harvested: [Int: UInt32] = [:]
    /// Line of the operation that is being performed.
    var currentLine = 0
    /// Several vCPUs run at once: lines under mmu_lock held for read may be swapped.
    var isParallel = false
    /// Items that were performed before their turn.
    var performed: Set<Int> = []
    /// SPTE changes that the two sides need not make in the same call.
    var book = ChangeBook()
    /// Gfns of which the trace cannot tell whether a fault marked them as dirty: it lost a
    /// race, or logging was just being switched.
    var uncertain: Set<UInt64> = []
    /// Faults that went by the flags which a slot had before: the level is the kernel's.
    var mappedAsTold: Set<Int> = []
    /// Of the items, for parallel parts.
    lazy var changeIndex = ChangeIndex(schedule, trace)
    /// Operations that stand in their middle.
    var standing: [RunningWalk] = []
    /// The one of them that runs now.
    var running: RunningWalk?
    /// The replay is over: nothing waits for anything.
    var isOver = false
    /// Items whose turn is over, which wait for one that stands.
    var deferred: [Int] = []
    /// Index of the item whose turn it is.
    var turn = -1
    /// Index of the item that is being performed.
    var currentItem = 0
    package var onProgress: ((Double) -> Void)?
    /// What our VM does, in a kernel's words.
    package var recording: Recording?

    /// What a task is in the middle of.
    struct TaskState {
        var vcpu: Int?
        var fault: (address: UInt64, errorCode: UInt64)?
        var mapResult: Int?
        /// What KVM_ENABLE_CAP returned.
        var enabled: Int?
        var hostMap: HostMapStep?
        var hostChange: HostChangeStep?
    }

    package init(trace: Trace, dumps: DumpFile?, mode: ReplayMode = .calls) throws(BadInput) {
        try Self.requireDumps(trace, dumps)
        self.trace = trace
        self.dumps = dumps
        self.mode = mode
        schedule = try Schedule(trace, mode)
        host = HostMemory(trace)
        report = Report(name: Self.displayName(trace.file))
    }

    /// A trace and the dump file beside it.
    package convenience init(file: String, mode: ReplayMode = .calls) throws(BadInput) {
        let trace = try Trace(file: file)
        let beside = DumpFile.candidates(besides: file).first(where: FileBytes.exists)
        var dumps: DumpFile?
        if let beside { dumps = try DumpFile(file: beside) }
        try self.init(trace: trace, dumps: dumps, mode: mode)
    }

    /// Performs the trace.  Differences are in the report.  Where it stops early, some operations
    /// may stand in their middle, as the kernel's did: finish() ends them.
    package func run(until stop: Stop = .never) throws(BadInput) {
        do throws(BadInput) {
            try perform(until: stop)
        } catch {
            finish()
            throw error
        }
    }

    private func perform(until stop: Stop) throws(BadInput) {
        for (index, item) in schedule.items.enumerated() {
            if index & 0xff == 0 { onProgress?(Double(index) / Double(schedule.items.count)) }
            if stop == .beforeTeardown, item.isTeardown { return }
            try resume(upTo: schedule.positions[index])
            turn = index
            try performInTurn(index)
            if case .afterDump(let id) = stop, isEndOfDump(item, id) { return }
        }
        guard stop == .never else { return }
        try resume(upTo: .max)
        recording?.mark(upTo: trace.lineCount) { _ in nil }
        guard machine == nil else {
            throw trace.badInput(trace.lineCount, "the trace ends before the VM does")
        }
    }

    private func performInTurn(_ index: Int) throws(BadInput) {
        if performed.remove(index) != nil { return }
        guard !isBlocked(index) else { return deferred.append(index) }
        try bringForward(before: index)
        try perform(index)
    }

    private func perform(_ index: Int) throws(BadInput) {
        let item = schedule.items[index], outer = currentItem
        currentItem = index
        defer { currentItem = outer }
        let first = trace.lines[item.firstLine]
        recording?.mark(upTo: first.number) { self.ourRoot(atDump: $0) }
        switch item {
        case .operation(let operation): try begin(index, operation)
        case .event(let line):
            try take(trace.lines[line])
            recording?.take(task: first.task)
        }
    }

    /// Out of its turn.
    func perform(item index: Int) throws(BadInput) {
        guard isAhead(index), !isKeptOut(index) else { return }
        if index > turn { performed.insert(index) } else { deferred.removeAll { $0 == index } }
        try perform(index)
    }

    /// The ids of the dumps, in order.
    package var dumpIDs: [Int] {
        trace.lines.compactMap {
            if case .step(.dump(let id, _, _)) = $0.event { id } else { nil }
        }
    }

    private func isEndOfDump(_ item: Schedule.Item, _ id: Int) -> Bool {
        guard case .event(let line) = item, case .step(.dump(id, _, _)) = trace.lines[line].event else {
            return false
        }
        return true
    }

    private static func displayName(_ file: String) -> String {
        var name = file[...]
        if let slash = name.lastIndex(of: "/") { name = name[name.index(after: slash)...] }
        if name.hasSuffix(".gz") { name = name.dropLast(3) }
        if name.hasSuffix(".txt") { name = name.dropLast(4) }
        return String(name)
    }
}

extension Schedule.Item {
    /// Index of the line that it begins with.
    var firstLine: Int {
        switch self {
        case .event(let index): index
        case .operation(let operation): operation.begin
        }
    }

    fileprivate var isTeardown: Bool {
        guard case .operation(let operation) = self else { return false }
        return operation.kind == .zapAll || operation.kind == .uninit
    }
}

/// Complaints.
extension Replayer {
    private static func requireDumps(_ trace: Trace, _ dumps: DumpFile?) throws(BadInput) {
        for line in trace.lines {
            guard case .step(.dump(let id, _, _)) = line.event else { continue }
            guard let dumps else {
                let names = DumpFile.candidates(besides: trace.file).joined(separator: " nor ")
                throw trace.badInput(line.number, "dump \(id) has no file: neither \(names) is there")
            }
            guard dumps.dumps[id] != nil else {
                throw trace.badInput(line.number, "dump \(id) is not in \(dumps.file)")
            }
        }
    }

    /// The VM, which must have been created by now.
    func requireMachine(_ line: TraceLine) throws(BadInput) -> Machine {
        guard let machine else { throw trace.badInput(line.number, "there is no VM here") }
        return machine
    }

    func differ(_ line: Int, _ what: String, expected: String, got: String, file: String? = nil) {
        report.differ(
            Difference(file: file ?? trace.file, line: line, what: what, expected: expected, got: got))
    }

    func compare<Value: Equatable>(_ line: Int, _ what: String, _ expected: Value, _ got: Value,
                                   _ text: (Value) -> String = { "\($0)" })
    {
        if expected != got { differ(line, what, expected: text(expected), got: text(got)) }
    }

    /// The library complained although it only did what the kernel does.  Where the
    /// kernel refused what it was asked, a word about the arguments is in order.
    func reportWarnings(_ line: Int, refused: Bool = false) {
        for warning in machine?.takeWarnings() ?? [] where !(refused && warning.isAboutArguments) {
            differ(line, "the library warns", expected: "no warning", got: warning.text)
        }
    }
}
