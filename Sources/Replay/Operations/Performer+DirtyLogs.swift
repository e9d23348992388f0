// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Dirty bitmaps.
extension Performer {
    func getDirtyLog(_ operation: Operation, _ slot: UInt32, _ machine: Machine) {
        if place.isParallel { logs.noteFaults(during: operation) }
        let (result, bitmap) = machine.getDirtyLog(slot: slot)
        compareResult(operation, result)
        compareChanges(operation)
        logs.copies[trace.lines[operation.begin].task] = DirtyLogCopy(
            slot: slot, base: machine.slot(id: slot)?.base ?? 0, bitmap: bitmap)
        guard let base = machine.slot(id: slot)?.base else { return }
        logs.compareHarvest(operation, logs.mode.isManual ? [] : bitmap, base: base)
    }

    func clearDirtyLog(_ operation: Operation, _ slot: UInt32, first: UInt64, count: UInt64, _ machine: Machine) {
        guard let (base, pages, _) = machine.slot(id: slot), first <= pages, count <= pages &- first else {
            // More than there is: the kernel says EINVAL.
            return compareResult(operation, -22)
        }
        let asked = pagesToClear(operation, slot, first: first, count: count)
        // With manual protection a look at the bitmap changes nothing.
        let dirty = logs.mode.isManual ? machine.getDirtyLog(slot: slot).bitmap : []
        let result = machine.clearDirtyLog(slot: slot, first: first, count: count, asked)
        compareResult(operation, result)
        compareChanges(operation)
        guard result == 0 else { return logs.compareHarvest(operation, [], base: base) }
        guard logs.mode.isManual else { return }
        let harvested = asked.indices.map { index in
            let word = index + Int(first / 64)
            return word < dirty.count ? asked[index] & dirty[word] : 0
        }
        logs.compareHarvest(operation, harvested, base: base &+ first)
    }

    /// "DATA clear": one bit a page from `first` on.
    private func pagesToClear(_ operation: Operation, _ slot: UInt32, first: UInt64, count: UInt64) -> [UInt64] {
        var bitmap = [UInt64](repeating: 0, count: Int((count + 63) / 64))
        var listed: UInt64 = 0
        for index in operation.details {
            guard case .pages(let list) = trace.lines[index].event, list.isToClear else { continue }
            verdict.compare(trace.lines[index].number, "pages to clear are of slot", list.slot, slot)
            for range in list.ranges {
                listed &+= UInt64(range.count)
                for page in range where page >= first && page - first < count {
                    bitmap[Int((page - first) / 64)] |= 1 << ((page - first) % 64)
                }
            }
            if let total = list.total {
                verdict.compare(trace.lines[index].number, "number of pages to clear", total, listed)
                verdict.compare(trace.lines[index].number, "number of pages to clear in range", listed,
                                bitmap.reduce(0) { $0 + UInt64($1.nonzeroBitCount) })
            }
        }
        return bitmap
    }
}

/// Dirty rings.
extension Performer {
    func resetDirtyRings(_ operation: Operation, _ count: UInt64?, _ machine: Machine) {
        let line = trace.lines[operation.begin].number
        logs.compareLeft(machine, line)
        let result = machine.resetDirtyRings()
        compareResult(operation, result)
        if let count { verdict.compare(line, "number of harvested entries", count, UInt64(clamping: result)) }
        compareChanges(operation)
    }
}
