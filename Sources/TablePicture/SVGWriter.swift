// SPDX-License-Identifier: GPL-2.0-only

/// A picture as one SVG file, without any script; light or dark as its viewer wishes.
package struct SVGWriter {
    private let picture: Picture
    private static let width = 960, stripX = 432, line = 18
    private var y = 0
    private var body = ""

    package static func text(_ picture: Picture, _ rows: [PictureRow]) -> String {
        var writer = SVGWriter(picture: picture)
        writer.head()
        if rows.isEmpty { writer.say("no vCPU has a root") }
        for (row, tree) in zip(rows, picture.trees) { writer.root(row, tree) }
        writer.y += line / 2
        let size = "width=\"\(width)\" height=\"\(writer.y)\" viewBox=\"0 0 \(width) \(writer.y)\" style=\"max-width:100%;height:auto\""
        return """
            <svg xmlns="http://www.w3.org/2000/svg" \(size) role="img" aria-label="\(SVGPieces.escaped(picture.names.joined(separator: " beside ")))">
            <style>\(SVGPieces.style)
            text{font:11px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:var(--ink);white-space:pre}\
            .faint{fill:var(--faint)}.bold{font-weight:bold}.minus{fill:var(--minus)}.plus{fill:var(--plus)}.below{fill:var(--below)}
            </style>
            <rect width="100%" height="100%" fill="var(--paper)"/>

            """ + writer.body + "</svg>\n"
    }

    private init(picture: Picture) { self.picture = picture }

    private mutating func say(_ text: String, x: Int = 12, style: String = "") {
        y += Self.line
        put(text, x: x, style: style)
    }

    private mutating func put(_ text: String, x: Int, style: String = "") {
        let name = style.isEmpty ? "" : " class=\"\(style)\""
        body += "<text x=\"\(x)\" y=\"\(y)\"\(name)>\(SVGPieces.escaped(text))</text>\n"
    }

    private mutating func head() {
        y = 4
        for (side, name) in zip(["A  ", "B  "], picture.names) { say((picture.isPair ? side : "") + name, style: "bold") }
        y += Self.line
        var x = 12
        for paint in picture.paints {
            body += "<rect class=\"\(paint.name)\" x=\"\(x)\" y=\"\(y - 9)\" width=\"14\" height=\"10\" stroke=\"var(--line)\"/>"
            put(paint.words, x: x + 19, style: "faint")
            x += 40 + paint.words.count * 7
        }
        guard picture.isPair else { return }
        y += Self.line
        for (mark, words, place) in [(PictureRow.Mark.onlyA, "only A", 12), (.onlyB, "only B", 90), (.below, "differs below", 168)] {
            put("\(mark.rawValue) \(words)", x: place, style: SVGPieces.style(of: mark))
        }
        put(SVGPieces.stripsOfTwo, x: 300, style: "faint")
    }

    private mutating func root(_ row: PictureRow, _ tree: Picture.Tree) {
        y += Self.line / 2
        say("root  " + row.note, style: "bold")
        for side in tree.table.totals.indices {
            let name = picture.isPair ? (side == 0 ? "A  " : "B  ") : ""
            say(name + (tree.roots[side] == nil ? "has no such root" : tree.table.totals[side].text), x: 24, style: "faint")
        }
        if picture.isPair { say(tree.differences, x: 24, style: "faint") }
        y += 4
        append(row, depth: 0)
    }

    private mutating func append(_ row: PictureRow, depth: Int) {
        let x = 24 + depth * 16, style = SVGPieces.markClass(row)
        y += Self.line
        if row.mark != .same { put(row.mark.rawValue, x: 10, style: style) }
        if row.kind == .run || row.kind == .more {
            put(row.what + row.timesText, x: x, style: style)
            put("gfn \(row.range)", x: x + 120, style: "faint")
            put([row.bits, row.note, row.pages].filter { !$0.isEmpty }.joined(separator: "  "), x: Self.stripX, style: style)
            return
        }
        put("\(row.what) gfn \(row.range)\(row.timesText)\(row.isClosed && !row.children.isEmpty ? " .." : "")", x: x, style: style)
        let height = row.strips.count == 2 ? 6 : 11
        body += "<g transform=\"translate(\(Self.stripX) \(y - 10))\"><title>\(SVGPieces.escaped(Self.title(row)))</title>"
        for (side, parts) in row.strips.enumerated() { body += SVGPieces.strip(parts, y: side * 7, height: height) }
        body += SVGPieces.differing(row, y: row.strips.count == 2 ? 14 : 12)
        body += "<rect y=\"-0.5\" x=\"-0.5\" width=\"513\" height=\"\(row.strips.count == 2 ? 14 : 12)\" fill=\"none\" stroke=\"var(--line)\"/></g>\n"
        y += row.strips.count == 2 || !row.differing.isEmpty ? 5 : 0
        guard !row.isClosed else { return }
        for child in row.children { append(child, depth: depth + 1) }
    }

    private static func title(_ row: PictureRow) -> String {
        "level \(row.level), gfn \(row.range)\(row.times > 1 ? ", \(row.times) tables that are alike" : "")"
    }
}
