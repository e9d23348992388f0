// SPDX-License-Identifier: GPL-2.0-only

/// A picture for a terminal of 80 columns.
package struct TextWriter {
    private let picture: Picture
    private static let width = 80, stripWidth = 32

    package static func text(_ picture: Picture, _ rows: [PictureRow]) -> String {
        let writer = TextWriter(picture: picture)
        var lines = zip(["A  ", "B  "], picture.names).map { picture.isPair ? $0 + $1 : $1 }
        if rows.isEmpty { lines.append("no vCPU has a root") }
        for (row, tree) in zip(rows, picture.trees) {
            lines.append("")
            lines.append("root  \(row.note)")
            lines += writer.totals(tree)
            writer.append(row, depth: 0, isOpen: false, to: &lines)
        }
        return (lines + writer.legend).map { $0 + "\n" }.joined()
    }

    private func totals(_ tree: Picture.Tree) -> [String] {
        guard picture.isPair else { return ["      \(tree.table.totals[0].text)"] }
        let sides = zip(["A", "B"], zip(tree.table.totals, tree.roots)).map { name, side in
            "   \(name)  \(side.1 == nil ? "has no such root" : side.0.text)"
        }
        return sides + ["      " + tree.differences]
    }

    private func append(_ row: PictureRow, depth: Int, isOpen: Bool, to lines: inout [String]) {
        let head = (picture.isPair ? "\(row.mark.rawValue) " : "") + String(repeating: "  ", count: depth)
        if row.kind == .root || row.kind == .table {
            lines += table(row, head)
            guard !row.isClosed else { return }
            for child in row.children { append(child, depth: depth + 1, isOpen: isOpen, to: &lines) }
        } else {
            lines += run(row, head)
        }
    }

    private func table(_ row: PictureRow, _ head: String) -> [String] {
        var label = "\(head)\(row.what) \(row.range)\(row.timesText)"
        if row.isClosed, !row.children.isEmpty { label += " .." }
        let leftWidth = Self.width - Self.stripWidth - 4
        var lines = row.strips.enumerated().map { side, parts in
            let name = row.strips.count == 2 ? (side == 0 ? "A" : "B") : " "
            return "\(Self.padded(side == 0 ? label : "", leftWidth))\(name) |\(Self.strip(parts))|"
        }
        if !row.differing.isEmpty { lines.append(Self.padded("", leftWidth + 3) + Self.marks(row.differing)) }
        return lines
    }

    /// Below a strip: where the sides are not the same.
    private static func marks(_ differing: [(start: Int, count: Int)]) -> String {
        let each = 512 / stripWidth
        var marks = [Character](repeating: " ", count: stripWidth)
        for run in differing {
            for place in run.start / each...(run.start + run.count - 1) / each { marks[place] = "^" }
        }
        return String(String(marks).reversed().drop { $0 == " " }.reversed())
    }

    /// A character for so many entries: capital if there is no hole among them, a star if they are not all painted alike.
    private static func strip(_ parts: [PictureRow.StripPart]) -> String {
        let each = 512 / stripWidth
        var characters: [Character] = []
        for place in 0..<stripWidth {
            let start = place * each
            let paints = Set(parts.filter { $0.start < start + each && $0.start + $0.count > start }.map(\.paint))
            let some = paints.subtracting([.hole]), letter = (some.first ?? .hole).rawValue
            characters.append(some.count > 1 ? "*" : some.count == paints.count ? Character(letter.uppercased()) : letter)
        }
        return String(characters)
    }

    private func run(_ row: PictureRow, _ head: String) -> [String] {
        let left = Self.padded(head + row.what + row.timesText, head.count + 15)
        let middle = Self.padded(left + " " + row.range, head.count + 30)
        let text = [middle, row.bits, row.note].filter { !$0.isEmpty }.joined(separator: "  ")
        guard !row.pages.isEmpty else { return [text] }
        if text.count + 2 + row.pages.count <= Self.width { return ["\(text)  \(row.pages)"] }
        return [text, String(repeating: " ", count: head.count + 16) + row.pages]
    }

    private var legend: [String] {
        let used = picture.paints
        guard !used.isEmpty else { return [] }
        var words = used.map { "\($0.rawValue) \($0.words)" } + ["* several"]
        if picture.isPair { words += ["- A", "+ B", "~ differs below", "^ differs here"] }
        var lines = ["", "Numbers are gfns. A character of a strip is 16 entries, a capital all of them:"], line = " "
        for word in words {
            if line.count + word.count + 3 > Self.width {
                lines.append(line)
                line = " "
            }
            line += "  \(word)"
        }
        return lines + [line]
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
