// SPDX-License-Identifier: GPL-2.0-only

/// A picture as one page, whose tables open and close without any script; narrow or wide, light or dark.
package struct HTMLWriter {
    private let picture: Picture
    private var body = ""

    package static func text(_ picture: Picture, _ rows: [PictureRow]) -> String {
        var writer = HTMLWriter(picture: picture)
        writer.head()
        if rows.isEmpty { writer.body += "<p>no vCPU has a root</p>\n" }
        for (row, tree) in zip(rows, picture.trees) { writer.root(row, tree) }
        return """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>\(SVGPieces.escaped(picture.names.joined(separator: " | ")))</title>
            <style>
            \(SVGPieces.style)
            \(style)
            </style>
            </head>
            <body>

            """ + writer.body + "</body>\n</html>\n"
    }

    private init(picture: Picture) { self.picture = picture }

    private static let style = """
        :root{color-scheme:light dark}
        body{background:var(--paper);color:var(--ink);font:13px/1.45 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;\
        margin:1rem auto;padding:0 1rem;max-width:78rem}
        h1{font-size:1.1rem;margin:.2rem 0}h2{font-size:1rem;margin:1.2rem 0 .2rem}p{margin:.1rem 0;color:var(--faint)}
        ul.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1rem;padding:0;margin:.6rem 0;color:var(--faint)}
        ul.legend svg{width:1.1em;height:.8em;margin-right:.4em;border:1px solid var(--line)}
        details>:not(summary){margin-left:.9rem}
        summary,.run{display:grid;grid-template-columns:minmax(0,26rem) minmax(0,1fr);column-gap:1rem;align-items:center;padding:.1rem 0}
        summary{cursor:pointer}summary:focus-visible{outline:2px solid var(--below)}
        summary>span:first-child::before{content:"\\25b8 "}details[open]>summary>span:first-child::before{content:"\\25be "}
        summary.leafless>span:first-child::before{content:"  "}
        .run>span:first-child{padding-left:1.2em}
        .strip{display:block;width:100%;height:.9rem;border:1px solid var(--line)}.strip.two{height:1.5rem}
        .faint{color:var(--faint)}.minus{color:var(--minus)}.plus{color:var(--plus)}.below{color:var(--below)}
        .mark{display:inline-block;width:1em}
        @media (max-width:44rem){summary,.run{grid-template-columns:minmax(0,1fr)}.run>span+span{padding-left:2.4em}\
        details>:not(summary){margin-left:.5rem}}
        @media print{details>*{display:block}}
        """

    private mutating func head() {
        for (side, name) in zip(["A ", "B "], picture.names) {
            body += "<h1>\(picture.isPair ? side : "")\(SVGPieces.escaped(name))</h1>\n"
        }
        let paints = picture.paints.map {
            "<li><svg viewBox=\"0 0 4 3\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect class=\"\($0.name)\" width=\"4\" height=\"3\"/></svg>\($0.words)</li>"
        }
        let marks = picture.isPair ? ["<li class=\"minus\">- only A</li>", "<li class=\"plus\">+ only B</li>", "<li class=\"below\">~ differs below</li>", "<li>\(SVGPieces.stripsOfTwo)</li>"] : []
        body += "<ul class=\"legend\">\((paints + marks).joined())</ul>\n"
    }

    private mutating func root(_ row: PictureRow, _ tree: Picture.Tree) {
        body += "<h2>root: \(SVGPieces.escaped(row.note))</h2>\n"
        for side in tree.table.totals.indices {
            let name = picture.isPair ? (side == 0 ? "A: " : "B: ") : ""
            body += "<p>\(name)\(tree.roots[side] == nil ? "has no such root" : tree.table.totals[side].text)</p>\n"
        }
        if picture.isPair { body += "<p>\(tree.differences)</p>\n" }
        append(row)
    }

    private mutating func append(_ row: PictureRow) {
        let style = SVGPieces.markClass(row)
        let mark = picture.isPair ? "<span class=\"mark\">\(row.mark == .same ? "" : row.mark.rawValue)</span>" : ""
        if row.kind == .run || row.kind == .more {
            let more = [row.bits, row.note, row.pages].filter { !$0.isEmpty }.map(SVGPieces.escaped).joined(separator: "&ensp;")
            body += "<div class=\"run \(style)\"><span>\(mark)\(SVGPieces.escaped(row.what))\(row.timesText) "
                + "<span class=\"faint\">gfn \(row.range)</span></span><span>\(more)</span></div>\n"
            return
        }
        let height = row.strips.count * 8 + (row.differing.isEmpty ? 0 : 3)
        let strips = row.strips.enumerated().map { SVGPieces.strip($1, y: $0 * 8, height: 7) }.joined()
        body += "<details\(row.isClosed ? "" : " open")><summary class=\"\(style)\"><span>\(mark)\(row.what) "
            + "<span class=\"faint\">gfn \(row.range)</span>\(row.timesText)</span>"
            + "<svg class=\"strip\(height > 8 ? " two" : "")\" viewBox=\"0 0 512 \(height)\" preserveAspectRatio=\"none\" role=\"img\" "
            + "aria-label=\"\(Self.words(row))\">\(strips)\(SVGPieces.differing(row, y: height - 3))</svg></summary>\n"
        for child in row.children { append(child) }
        body += "</details>\n"
    }

    /// For who does not see the strip.
    private static func words(_ row: PictureRow) -> String {
        let entries = (row.strips.first ?? []).reduce(into: [Paint: Int]()) { $0[$1.paint, default: 0] += $1.count }
        return Paint.allCases.compactMap { paint in entries[paint].map { "\($0) \(paint.words)" } }.joined(separator: ", ")
    }
}
