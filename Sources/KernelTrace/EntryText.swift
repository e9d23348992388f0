// SPDX-License-Identifier: GPL-2.0-only

/// Words for SPTEs, the same wherever they are printed.
extension SPTELayout {
    /// "RWX AD", "HM" behind it, of EPT the memory type; a dash for each bit that is not set.
    package func letters(_ spte: UInt64) -> String {
        let rights: [(String, Bool)] = [
            ("R", isReadable(spte)), ("W", spte & SPTEBits.writable != 0), ("X", isExecutable(spte)), (" ", true),
            accessed == 0 ? ("T", isAccessTracked(spte)) : ("A", spte & accessed != 0), ("D", spte & dirty != 0),
            ("H", spte & hostWritable != 0), ("M", spte & mmuWritable != 0),
        ]
        return rights.map { $0.1 ? $0.0 : "-" }.joined() + memoryTypeName(spte)
    }

    /// Of EPT: " WB", " UC+" where the guest's PAT has a say.
    private func memoryTypeName(_ spte: UInt64) -> String {
        guard let (type, ignoresPAT) = memoryType(spte) else { return "" }
        let names = [0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB"]
        return " " + (names[type] ?? "?\(type)") + (ignoresPAT ? "" : "+")
    }
}

extension Paging {
    /// What one entry of a table of that level covers.
    package static func sizeName(level: Int) -> String { ["4K", "2M", "1G", "512G", "256T"][max(0, min(level - 1, 4))] }
}
