// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// A VM's tables, or two VMs' beside each other, folded: what every writer draws.
package struct Picture {
    package struct Tree {
        /// By side; nil where that has no such root.
        package let roots: [TableSnapshot.Root?]
        package let table: PictureTable

        var differences: String {
            let count = table.differences
            return count == 0 ? "no difference" : "\(count) \(count == 1 ? "entry differs" : "entries differ")"
        }
    }

    package let names: [String]
    package let layouts: [SPTELayout]
    package let trees: [Tree]

    package var isPair: Bool { names.count == 2 }
    package var differences: Int { trees.reduce(0) { $0 + $1.table.differences + ($1.table.onlySide == nil ? 0 : 1) } }

    /// snapshots: one or two.
    package init(_ snapshots: [TableSnapshot], looksAtPages: Bool = true) {
        names = snapshots.map(\.name)
        layouts = snapshots.map(\.layout)
        trees = Self.pairs(snapshots).compactMap { roots in
            var folding = Folding(looksAtPages: looksAtPages)
            let nodes = zip(roots, snapshots).map { root, snapshot in root.map { TableNode.tree($0, snapshot.layout) } }
            return folding.fold(nodes).map { Tree(roots: roots, table: $0.table) }
        }
    }

    /// Roots that belong together: of the same level and address space, in their order.
    private static func pairs(_ snapshots: [TableSnapshot]) -> [[TableSnapshot.Root?]] {
        guard snapshots.count == 2 else { return snapshots[0].roots.map { [$0] } }
        var others = snapshots[1].roots
        var pairs: [[TableSnapshot.Root?]] = snapshots[0].roots.map { root in
            let index = others.firstIndex { $0.level == root.level && ($0.addressSpace ?? 0) == (root.addressSpace ?? 0) }
            return [root, index.map { others.remove(at: $0) }]
        }
        pairs += others.map { [nil, $0] }
        return pairs
    }

    /// The paints that occur.
    package var paints: [Paint] {
        var found: Set<Paint> = []
        var tables = trees.map(\.table)
        while let table = tables.popLast() {
            for run in table.runs {
                for (side, layout) in zip(run.sides, layouts) { found.insert(Paint(side.cell, layout)) }
                if let child = run.child { tables.append(child) }
            }
        }
        return Paint.allCases.filter(found.contains)
    }
}
