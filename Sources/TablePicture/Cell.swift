// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What an entry is, apart from where it leads: entries of one table with equal cells are alike.
package struct Cell: Hashable {
    package enum Kind: String { case hole, table, leaf, mmio, nonpresent }

    package let kind: Kind
    /// Of a leaf, all but its address; of what is neither, all.
    package let bits: UInt64

    static let hole = Cell(kind: .hole, bits: 0)

    init(_ entry: DumpEntry, _ layout: SPTELayout) {
        switch entry.kind {
        case .table: self = Cell(kind: .table, bits: 0)
        case .leaf: self = Cell(kind: .leaf, bits: entry.spte & ~SPTEBits.address)
        case .nonpresent where layout.isMMIO(entry.spte): self = Cell(kind: .mmio, bits: 0)
        case .nonpresent: self = Cell(kind: .nonpresent, bits: entry.spte)
        }
    }

    private init(kind: Kind, bits: UInt64) { (self.kind, self.bits) = (kind, bits) }
}

/// How an entry is drawn: in a strip there is room for little more than its rights.
package enum Paint: Character, CaseIterable {
    case hole = "."
    case table = "t"
    case readOnly = "r"
    case readWrite = "w"
    case readExecute = "x"
    case all = "a"
    case noAccess = "-"
    case mmio = "m"
    case nonpresent = "n"

    init(_ cell: Cell, _ layout: SPTELayout) {
        switch cell.kind {
        case .hole: self = .hole
        case .table: self = .table
        case .mmio: self = .mmio
        case .nonpresent: self = .nonpresent
        case .leaf:
            guard layout.isReadable(cell.bits) else {
                self = .noAccess
                return
            }
            let canWrite = cell.bits & SPTEBits.writable != 0, canExecute = layout.isExecutable(cell.bits)
            self = canWrite ? (canExecute ? .all : .readWrite) : (canExecute ? .readExecute : .readOnly)
        }
    }

    /// In a legend, and where it names a style.
    package var words: String {
        switch self {
        case .hole: "nothing here"
        case .table: "table"
        case .readOnly: "leaf, R"
        case .readWrite: "leaf, RW"
        case .readExecute: "leaf, RX"
        case .all: "leaf, RWX"
        case .noAccess: "leaf without rights"
        case .mmio: "MMIO"
        case .nonpresent: "nonpresent"
        }
    }

    package var name: String { String(describing: self) }
}
