// SPDX-License-Identifier: GPL-2.0-only

/// A file of dumps as the recorder writes it, which DumpFile reads.
package struct DumpText {
    private var lines: [String] = []
    private var count = 0

    package init() {}

    package var isEmpty: Bool { lines.isEmpty }
    package var text: String { lines.map { $0 + "\n" }.joined() }

    package mutating func begin(_ id: Int, root: UInt64, level: Int) {
        count = 0
        lines.append("DUMP id=\(id) root=0x\(hex(root)) root_level=\(level)")
    }

    package mutating func add(level: Int, gfn: UInt64, spte: UInt64, kind: DumpEntry.Kind, address: UInt64) {
        count += 1
        lines.append("SPTE level=\(level) gfn=\(hex(gfn)) spte=\(hex(spte)) kind=\(kind.rawValue) sptep=\(hex(address))")
    }

    package mutating func end(_ id: Int) {
        lines.append("END id=\(id) n=\(count)")
    }
}
