// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The operations: each is performed and compared with what was recorded of it.
extension Replayer {
    func perform(_ operation: Operation) throws(BadInput) {
        let begin = trace.lines[operation.begin]
        currentLine = begin.number
        if isBeforeVM(begin) { return }
        let machine = try requireMachine(begin)
        applyEvidence(operation, machine)
        report.calls += 1
        report.changes += operation.changes.count
        if operation.kind.isStep {
            try performStep(operation, begin, machine)
        } else {
            try call(operation, begin, machine)
        }
        compareSplits(operation)
        compareRecovered(operation)
        if operation.kind == .uninit { machine.destroy() }
        let end = trace.lines[operation.end]
        reportWarnings(end.number, refused: end.event.isRefusal)
        if operation.kind == .uninit { self.machine = nil }
    }

    private func call(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) throws(BadInput) {
        switch operation.kind {
        case .map: try map(operation, begin, machine)
        case .unmap: unmap(operation, begin, machine)
        case .zapLeafs: zapLeafs(operation, begin, machine)
        case .loadRoot: try loadRoot(operation, begin, machine)
        case .age, .testAge: age(operation, begin, machine)
        case .zapTable: zapTable(operation, begin, machine)
        case .fault: try fault(operation, begin, machine)
        case .hostUnmap, .hostAge, .hostTestAge: notify(operation, begin, machine)
        case .zapAll:
            machine.zapAll()
            compareChanges(operation)
        case .zapAllFast:
            machine.zapAllFast()
            compareChanges(operation)
            renaming.forgetRoots()
        case .uninit:
            renaming.forgetRoots()
            machine.uninit()
            compareChanges(operation)
        default: callOnSlot(operation, begin, machine)
        }
    }

    /// Our changes of the call that was just made, against the operation's.
    @discardableResult
    func compareChanges(_ operation: Operation) -> [SPTEChange] {
        compareChanges(operation, with: machine?.takeChanges() ?? [])
    }

    @discardableResult
    func compareChanges(_ operation: Operation, with ours: [SPTEChange]) -> [SPTEChange] {
        let recorded = operation.changes.compactMap { index -> ChangeComparison.Recorded? in
            guard case .spteChanged(let change) = trace.lines[index].event else { return nil }
            return (trace.lines[index].number, change)
        }
        if isParallel {
            compareInParallel(operation, recorded, ours)
        } else {
            report(ChangeComparison.mismatches(recorded, ours, &renaming), operation.kind.rawValue,
                   trace.lines[operation.end].number)
        }
        return ours
    }

    /// Accessed and Dirty bits that the kernel found while a vCPU ran on another
    /// task: set them now, if that vCPU's step explains them.  What it does not
    /// explain stays a difference.
    private func applyEvidence(_ operation: Operation, _ machine: Machine) {
        guard guest.isRunning else { return }
        for index in operation.changes {
            guard case .spteChanged(let change) = trace.lines[index].event else { continue }
            applyEvidence(change, trace.lines[index].task, machine)
        }
    }

    private func applyEvidence(_ change: SPTEChange, _ task: Int, _ machine: Machine) {
        let bits = SPTEBits.accessed | SPTEBits.dirty
        guard SPTEBits.isLeaf(change.old, level: change.level),
            let entry = machine.entry(addressSpace: change.addressSpace, gfn: change.gfn, downTo: change.level),
            entry.level == change.level, entry.spte & ~bits == change.old & ~bits
        else { return }
        let missing = change.old & ~entry.spte & bits
        guard missing != 0,
            let (vcpu, access) = guest.explanation(
                change.gfn, pages: Paging.pages(level: change.level),
                write: missing & SPTEBits.dirty != 0, task: task)
        else { return }
        apply([access], vcpu: vcpu)
    }
}

extension TraceEvent {
    /// The return of a call that the kernel refused.
    fileprivate var isRefusal: Bool {
        switch self {
        case .done(let done): done.result < 0
        case .mapReturn(let result): result < 0
        default: false
        }
    }
}

/// Faults.
extension Replayer {
    private func map(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) throws(BadInput) {
        guard case .map(let call) = begin.event else { return }
        let vcpu = try vcpu(call.vcpuPointer, begin)
        guard let requested = requestedLevel(operation, call) else {
            throw trace.badInput(begin.number, "map without kvm_mmu_spte_requested")
        }
        compareArguments(call, begin)
        let expected = mapResult(operation)
        if isLostRace(expected, call, vcpu) {
            tasks[begin.task, default: TaskState()].mapResult = expected
            compareChanges(operation)
            return
        }
        let result = machine.map(vcpu: vcpu, call, level: hostLevel(requested, call, vcpu, machine))
        tasks[begin.task, default: TaskState()].mapResult = result
        if let expected {
            compare(trace.lines[operation.end].number, "map returns", expected, result, returnText)
        }
        compareChanges(operation)
        if !isParallel { compareDetails(operation, vcpu, machine) }
    }

    private func mapResult(_ operation: Operation) -> Int? {
        if case .mapReturn(let result) = trace.lines[operation.end].event { result } else { nil }
    }

    /// Where execution through huge pages is forbidden, a fetch is mapped small, but
    /// what the host has there decides whether that is for this reason.
    private func hostLevel(_ requested: Int, _ call: MapCall, _ vcpu: Int, _ machine: Machine) -> Int {
        guard let hva = machine.hva(vcpu: vcpu, gfn: call.gfn) else { return requested }
        host.touch(hva)
        guard call.execute, call.noHugeFetch, !mappedAsTold.contains(currentItem) else { return requested }
        return max(requested, host.level(of: hva, at: currentLine))
    }

    func requestedLevel(_ operation: Operation, _ call: MapCall) -> Int? {
        for index in operation.details {
            guard case .spteRequested(let gfn, let pfn, let level) = trace.lines[index].event else { continue }
            compare(trace.lines[index].number, "kvm_mmu_spte_requested has gfn", gfn, call.gfn, hex)
            compare(trace.lines[index].number, "kvm_mmu_spte_requested has pfn", pfn, call.pfn, hex)
            return level
        }
        return nil
    }

    /// The recorder shows the fault's fields twice and more: they must agree, else
    /// an argument of the call may have been garbled.
    func compareArguments(_ call: MapCall, _ begin: TraceLine) {
        compare(begin.number, "map has gfn", call.gfn, call.address >> Paging.pageShift, hex)
        let bits: [(name: String, bit: UInt64, value: Bool)] = [
            ("write", PageFaultBits.write, call.write), ("exec", PageFaultBits.fetch, call.execute),
            ("present", PageFaultBits.present, call.present),
        ]
        for (name, bit, value) in bits {
            compare(begin.number, "map has \(name)", value, call.errorCode & bit != 0)
        }
        guard let fault = tasks[begin.task]?.fault else { return comparePrefault(call, begin) }
        guard !call.prefetch else { return }
        compare(begin.number, "map has addr", call.address, fault.address, hex)
        compare(begin.number, "map has ec", call.errorCode, fault.errorCode, hex)
    }

    /// KVM_PRE_FAULT_MEMORY goes page by page, and its error code is always the same.
    private func comparePrefault(_ call: MapCall, _ begin: TraceLine) {
        compare(begin.number, "a prefault has ec", call.errorCode, PageFaultBits.guestFinal, hex)
        compare(begin.number, "a prefault has page offset", call.address & Paging.pageMask, 0, hex)
    }

    func compareDetails(_ operation: Operation, _ vcpu: Int, _ machine: Machine) {
        for index in operation.details {
            let line = trace.lines[index]
            switch line.event {
            case .spteSet(let gfn, let spte, let level, let address):
                let entry = machine.entry(vcpu: vcpu, gfn: gfn, downTo: level)
                compare(entry, gfn, level, spte, address, line)
            case .mmioMarked(let mark):
                let entry = machine.entry(vcpu: vcpu, gfn: mark.gfn)
                compareMMIO(entry, mark, machine, line)
            case .iteratorStart(let root, _, _): compareRoot(root, vcpu, machine, line)
            default: break
            }
        }
    }

    /// kvm_mmu_set_spte: the entry as the fault left it, and where it is.
    private func compare(_ entry: TableEntry?, _ gfn: UInt64, _ level: Int, _ spte: UInt64,
                         _ address: UInt64, _ line: TraceLine)
    {
        let isSame = entry.map {
            $0.level == level && $0.gfn == gfn && renaming.same(recorded: spte, ours: $0.spte, level: level)
                && isSameAddress(address, $0)
        }
        guard isSame != true else { return }
        differ(line.number, "kvm_mmu_set_spte",
               expected: "gfn \(hex(gfn)) spte \(hex(spte)) level \(level) at \(hex(address))",
               got: entry.map(text) ?? "no entry")
    }

    private func compareMMIO(_ entry: TableEntry?, _ mark: MMIOMark, _ machine: Machine, _ line: TraceLine) {
        let spte = entry?.spte ?? 0
        compare(line.number, "mark_mmio_spte has gfn", mark.gfn, machine.mmioGFN(spte) ?? 0, hex)
        compare(line.number, "mark_mmio_spte has access", mark.access, spte & 7, hex)
        compare(line.number, "mark_mmio_spte has gen", mark.generation, machine.generation(ofMMIO: spte), hex)
        guard let entry, let address = physical(mark.address), !isSameAddress(address, entry) else { return }
        differ(line.number, "mark_mmio_spte is at", expected: hex(address), got: text(entry))
    }

    /// Does the recorded address of an entry stand for where ours is?
    func isSameAddress(_ recorded: UInt64, _ entry: TableEntry) -> Bool {
        renaming.agree(recorded: recorded & ~Paging.pageMask, ours: entry.table)
            && recorded & Paging.pageMask == entry.address & Paging.pageMask
    }

    func text(_ entry: TableEntry) -> String {
        let table = renaming.recorded(of: entry.table).map { hex($0 | entry.address & Paging.pageMask) }
        let spte = hex(renaming.inRecordedTerms(entry.spte, level: entry.level))
        return "gfn \(hex(entry.gfn)) spte \(spte) level \(entry.level) at \(table ?? "an unknown table")"
    }
}

/// Zapping.
extension Replayer {
    private func unmap(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) {
        guard case .unmap(let start, let end, let flush) = begin.event else { return }
        compareRanges(operation, start, end)
        let result = machine.unmap(addressSpace(operation, holding: start), start: start, end: end, flush: flush)
        guard let result else {
            return differ(begin.number, "unmap_gfn_range", expected: "a slot at gfn \(hex(start))", got: "none")
        }
        if case .unmapReturn(let expected) = trace.lines[operation.end].event {
            compare(trace.lines[operation.end].number, "unmap_gfn_range returns", expected, result)
        }
        compareLastRoot(operation, result)
        compareChanges(operation)
    }

    private func zapLeafs(_ operation: Operation, _ begin: TraceLine, _ machine: Machine) {
        guard case .zapLeafs(let start, let end, let flush) = begin.event else { return }
        compareRanges(operation, start, end)
        compareLastRoot(operation, machine.zapLeafs(start: start, end: end, flush: flush))
        compareChanges(operation)
    }

    /// The recorder shows the range again for each root: an argument that was
    /// garbled does not agree.
    func compareRanges(_ operation: Operation, _ start: UInt64, _ end: UInt64) {
        for index in operation.details {
            guard case .zapLeafsOfRoot(_, let first, let stop) = trace.lines[index].event else { continue }
            compare(trace.lines[index].number, "zap_leafs has start", first, start, hex)
            compare(trace.lines[index].number, "zap_leafs has end", stop, end, hex)
        }
    }

    /// What the zap of the last root returned is what the call returns.
    private func compareLastRoot(_ operation: Operation, _ result: Bool) {
        for index in operation.details.reversed() {
            guard case .zapLeafsOfRootReturn(let expected) = trace.lines[index].event else { continue }
            return compare(trace.lines[index].number, "zap_leafs returns", expected, result)
        }
    }

    /// The slot's address space: that of the roots that were visited.
    func addressSpace(_ operation: Operation, holding gfn: UInt64) -> Int {
        for index in operation.details + operation.changes {
            switch trace.lines[index].event {
            case .zapLeafsOfRoot(let root, _, _), .iteratorStart(let root, _, _): return Int(root.role >> 24)
            case .spteChanged(let change): return change.addressSpace
            default: continue
            }
        }
        // It has visited none: it matters to nobody then which one it is.
        return machine?.slots.first { $0.first <= gfn && gfn - $0.first < $0.pages }?.addressSpace ?? 0
    }
}
