// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// The entries of tables that lie beside each other, index by index; indices where no side has one are passed over.
struct SideBySide {
    let sides: [TableNode?]
    private var next: [Int]

    init(_ sides: [TableNode?]) { (self.sides, next) = (sides, sides.map { _ in 0 }) }

    mutating func takeNext() -> (index: Int, entries: [TableNode.Entry?])? {
        guard let index = sides.indices.compactMap({ entry($0)?.index }).min() else { return nil }
        let entries = sides.indices.map { side -> TableNode.Entry? in
            guard let entry = entry(side), entry.index == index else { return nil }
            next[side] += 1
            return entry
        }
        return (index, entries)
    }

    private func entry(_ side: Int) -> TableNode.Entry? {
        guard let node = sides[side], next[side] < node.entries.count else { return nil }
        return node.entries[next[side]]
    }
}
