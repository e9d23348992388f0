// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Dirty bitmaps.
extension Replayer {
    func getDirtyLog(_ operation: Operation, _ slot: UInt32, _ machine: Machine) {
        if isParallel { noteFaults(during: operation) }
        let (result, bitmap) = machine.getDirtyLog(slot: slot)
        compareResult(operation, result)
        compareChanges(operation)
        dirtyLogs[trace.lines[operation.begin].task] = DirtyLogCopy(
            slot: slot, base: machine.slot(id: slot)?.base ?? 0, bitmap: bitmap)
        guard let base = machine.slot(id: slot)?.base else { return }
        compareHarvest(operation, dirtyLogMode.isManual ? [] : bitmap, base: base)
    }

    func clearDirtyLog(_ operation: Operation, _ slot: UInt32, first: UInt64, count: UInt64, _ machine: Machine) {
        guard let (base, pages, _) = machine.slot(id: slot), first <= pages, count <= pages &- first else {
            // More than there is: the kernel says EINVAL.
            return compareResult(operation, -22)
        }
        let asked = pagesToClear(operation, slot, first: first, count: count)
        // With manual protection a look at the bitmap changes nothing.
        let dirty = dirtyLogMode.isManual ? machine.getDirtyLog(slot: slot).bitmap : []
        let result = machine.clearDirtyLog(slot: slot, first: first, count: count, asked)
        compareResult(operation, result)
        compareChanges(operation)
        guard result == 0 else { return compareHarvest(operation, [], base: base) }
        guard dirtyLogMode.isManual else { return }
        let harvested = asked.indices.map { index in
            let word = index + Int(first / 64)
            return word < dirty.count ? asked[index] & dirty[word] : 0
        }
        compareHarvest(operation, harvested, base: base &+ first)
    }

    /// "DATA clear": one bit a page from `first` on.
    private func pagesToClear(_ operation: Operation, _ slot: UInt32, first: UInt64, count: UInt64) -> [UInt64] {
        var bitmap = [UInt64](repeating: 0, count: Int((count + 63) / 64))
        var listed: UInt64 = 0
        for index in operation.details {
            guard case .pages(let list) = trace.lines[index].event, list.isToClear else { continue }
            compare(trace.lines[index].number, "pages to clear are of slot", list.slot, slot)
            for range in list.ranges {
                listed &+= UInt64(range.count)
                for page in range where page >= first && page - first < count {
                    bitmap[Int((page - first) / 64)] |= 1 << ((page - first) % 64)
                }
            }
            if let total = list.total {
                compare(trace.lines[index].number, "number of pages to clear", total, listed)
                compare(trace.lines[index].number, "number of pages to clear in range", listed,
                        bitmap.reduce(0) { $0 + UInt64($1.nonzeroBitCount) })
            }
        }
        return bitmap
    }

    /// The calls for each word, in order.
    private func compareHarvest(_ operation: Operation, _ bitmap: [UInt64], base: UInt64) {
        guard !isParallel else { return }
        var expected = HarvestCall.expected(
            bitmap, base: base, dirtyLogMode, splitsEagerly: parameters.splitsEagerly)[...]
        for index in operation.details {
            let line = trace.lines[index]
            guard let call = HarvestCall(line.event) else { continue }
            let ours = expected.popFirst()
            if ours == call { continue }
            differ(line.number, "in the dirty log's harvest", expected: call.text, got: ours?.text ?? "no such call")
        }
        for call in expected {
            differ(trace.lines[operation.end].number, "in the dirty log's harvest", expected: "no further call",
                   got: call.text)
        }
    }

    /// "DATA dirty": the pages that the kernel gave to userspace.
    func compare(_ list: PageList, _ line: TraceLine) {
        guard !list.isToClear, var log = dirtyLogs[line.task] else { return }
        compare(line.number, "the dirty log is of slot", list.slot, log.slot)
        if let total = list.total {
            dirtyLogs[line.task] = nil
            if isParallel { log.drop(uncertain) }
            compare(line.number, "number of pages in the dirty log", total, log.listed &+ log.count)
            guard let page = log.first else { return }
            return differ(line.number, "the dirty log", expected: "page 0x\(hex(page)) is clean", got: "it is dirty")
        }
        for range in list.ranges {
            log.listed &+= UInt64(range.count)
            let base = log.base
            let missing = log.remove(range) { isParallel && uncertain.contains(base &+ $0) }
            guard let page = missing else { continue }
            differ(line.number, "the dirty log", expected: "page 0x\(hex(page)) is dirty", got: "it is clean")
        }
        dirtyLogs[line.task] = log
    }
}

/// Dirty rings.
extension Replayer {
    /// "DATA ring": entries that userspace took out of a vCPU's ring, in order.
    func harvest(vcpu: Int, _ entries: [RingEntry], _ line: TraceLine) throws(BadInput) {
        let machine = try requireMachine(line)
        for entry in entries {
            let index = harvested[vcpu, default: 0]
            guard let ours = machine.ringEntry(vcpu: vcpu, index, harvest: true) else {
                return differ(line.number, "the dirty ring of vCPU \(vcpu) has", expected: text(entry), got: "nothing more")
            }
            harvested[vcpu] = index &+ 1
            compare(line.number, "the dirty ring of vCPU \(vcpu) has", entry, ours, text)
        }
    }

    func resetDirtyRings(_ operation: Operation, _ count: UInt64?, _ machine: Machine) {
        let line = trace.lines[operation.begin].number
        for vcpu in machine.vcpuIDs where !isParallel {
            guard let more = machine.ringEntry(vcpu: vcpu, harvested[vcpu, default: 0], harvest: false) else { continue }
            differ(line, "the dirty ring of vCPU \(vcpu) has", expected: "nothing more", got: text(more))
        }
        let result = machine.resetDirtyRings()
        if let count { compare(line, "number of harvested entries", count, UInt64(clamping: result)) }
        compareChanges(operation)
    }

    private func text(_ entry: RingEntry) -> String {
        "slot 0x\(hex(UInt64(entry.slot))) page 0x\(hex(entry.offset))"
    }
}
