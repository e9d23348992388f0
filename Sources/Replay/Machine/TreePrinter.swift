// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Prints tables as an indented tree.
package struct TreePrinter {
    private let isFull: Bool

    package init(isFull: Bool) { self.isFull = isFull }

    /// All roots that vCPUs use, each once.
    package func text(_ machine: Machine) -> String {
        let users = machine.rootsInUse
        guard !users.isEmpty else { return "no vCPU has a root\n" }
        return users.map { tree(machine, $0.address, $0.vcpus) }.joined(separator: "\n")
    }

    private func tree(_ machine: Machine, _ address: UInt64, _ vcpus: [Int]) -> String {
        guard let first = vcpus.first, let root = machine.root(vcpu: first) else { return "" }
        let entries = TableWalk.listed(root: root, address: address)
        let names = vcpus.map(String.init).joined(separator: ", ")
        let head = "root  \(machine.rootLevel) levels, role 0x\(hex(UInt64(machine.role(vcpu: first) ?? 0))), "
            + "address space \(machine.addressSpace(vcpu: first)), "
            + "\(vcpus.count == 1 ? "vCPU" : "vCPUs") \(names)\n"
        let lines = rows(entries).map { line($0, machine) }
        return head + lines.joined() + summary(entries, machine.layout)
    }
}

/// Runs: neighbouring leaves that differ in nothing but where they point.
extension TreePrinter {
    struct Row {
        var first: TableEntry
        var last: TableEntry
        var count = 1
        var isContiguous = true
        var isConstant = true

        fileprivate mutating func take(_ entry: TableEntry) -> Bool {
            let pages = Paging.pages(level: first.level)
            guard entry.level == first.level, entry.kind != .table, first.kind == entry.kind,
                entry.table == first.table, entry.gfn == last.gfn &+ pages, flags(entry) == flags(first)
            else { return false }
            if pfn(entry) != pfn(last) &+ pages { isContiguous = false }
            if pfn(entry) != pfn(first) { isConstant = false }
            last = entry
            count += 1
            return true
        }

        private func flags(_ entry: TableEntry) -> UInt64 { entry.spte & ~SPTEBits.address }
        fileprivate func pfn(_ entry: TableEntry) -> UInt64 {
            (entry.spte & SPTEBits.address) >> Paging.pageShift
        }
    }

    private func rows(_ entries: [TableEntry]) -> [Row] {
        var rows: [Row] = []
        for entry in entries {
            if !isFull, let index = rows.indices.last, rows[index].take(entry) { continue }
            rows.append(Row(first: entry, last: entry))
        }
        return rows
    }
}

/// One line each.
extension TreePrinter {
    private func line(_ row: Row, _ machine: Machine) -> String {
        let entry = row.first
        let indent = String(repeating: "  ", count: max(0, machine.rootLevel - entry.level + 1))
        let end = row.last.gfn &+ Paging.pages(level: entry.level) &- 1
        let range = end == entry.gfn ? hex(entry.gfn) : "\(hex(entry.gfn))-\(hex(end))"
        let head = indent + "level \(entry.level)  gfn \(range)"
        return padded(head, 38) + "  " + what(row, machine) + "\n"
    }

    private func what(_ row: Row, _ machine: Machine) -> String {
        let spte = row.first.spte
        let times = row.count > 1 ? " x \(row.count)" : ""
        switch row.first.kind {
        case .table:
            return "table"
        case .leaf:
            return padded("\(Paging.sizeName(level: row.first.level)) leaf\(times)", 14) + "  "
                + padded(machine.layout.letters(spte), 8) + "  " + pfns(row)
        case .nonpresent:
            guard machine.layout.isMMIO(spte) else { return "nonpresent \(hex(spte))" }
            return padded("MMIO\(times)", 14) + "  generation \(hex(machine.generation(ofMMIO: spte)))"
        }
    }

    private func pfns(_ row: Row) -> String {
        let first = row.pfn(row.first)
        let last = row.pfn(row.last)
        let end = last &+ Paging.pages(level: row.first.level) &- 1
        if row.count > 1, row.isConstant { return "pfn \(hex(first)), each" }
        if row.isContiguous { return end == first ? "pfn \(hex(first))" : "pfn \(hex(first))-\(hex(end))" }
        return "pfn \(hex(first)), \(row.count > 2 ? "…, " : "")\(hex(last))"
    }

    private func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }

    private func summary(_ entries: [TableEntry], _ layout: SPTELayout) -> String {
        let tables = 1 + entries.filter { $0.kind == .table }.count
        let leaves = [1, 2, 3].compactMap { level -> String? in
            let count = entries.filter { $0.kind == .leaf && $0.level == level }.count
            return count > 0 ? "\(count) \(count == 1 ? "leaf" : "leaves") of \(Paging.sizeName(level: level))" : nil
        }
        let mmio = entries.filter { layout.isMMIO($0.spte) }.count
        let parts = ["\(tables) \(tables == 1 ? "table" : "tables")"] + leaves + (mmio > 0 ? ["\(mmio) MMIO"] : [])
        return parts.joined(separator: ", ") + "\n"
    }
}
