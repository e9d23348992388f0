// SPDX-License-Identifier: GPL-2.0-only

/// A picture for graphviz: a box for each table, a line in it for each run, arrows to the tables below.
package struct DotWriter {
    private let picture: Picture
    private var lines: [String] = []
    private var boxes = 0

    package static func text(_ picture: Picture, _ rows: [PictureRow]) -> String {
        var writer = DotWriter(picture: picture)
        for row in rows { _ = writer.box(row) }
        let head = [
            "digraph tables {", "  label=\"\(quoted(picture.names.joined(separator: " | ")))\"; labelloc=t; rankdir=LR;",
            "  graph [fontname=monospace]; node [shape=plain fontname=monospace fontsize=10]; edge [arrowsize=0.6];",
        ]
        return (head + writer.lines + ["}"]).map { $0 + "\n" }.joined()
    }

    private init(picture: Picture) { self.picture = picture }

    /// Returns its name.
    private mutating func box(_ row: PictureRow) -> String {
        let name = "t\(boxes)"
        boxes += 1
        let title = row.kind == .root ? "root, \(row.note)\n" : ""
        var cells = [Self.cell("\(title)\(row.what) gfn \(row.range)\(row.timesText)", mark: row.mark, isHead: true)], edges: [String] = []
        for (index, child) in (row.isClosed ? [] : row.children).enumerated() {
            let words = child.kind == .table ? [child.what, "gfn \(child.range)"] : [child.what + child.timesText, child.range, child.bits, child.note, child.pages]
            cells.append(Self.cell(words.filter { !$0.isEmpty }.joined(separator: "  "), mark: child.mark, port: index))
            if child.kind == .table { edges.append("  \(name):p\(index) -> \(box(child));") }
        }
        lines.append("  \(name) [label=<<TABLE BORDER=\"0\" CELLBORDER=\"1\" CELLSPACING=\"0\" CELLPADDING=\"3\">\(cells.joined())</TABLE>>];")
        lines += edges
        return name
    }

    private static func cell(_ text: String, mark: PictureRow.Mark, port: Int? = nil, isHead: Bool = false) -> String {
        let colour = switch mark {
        case .same: isHead ? "#e8ebee" : "white"
        case .onlyA: "#ffd8d3"
        case .onlyB: "#cdf3d3"
        case .below: "#e7d9ff"
        }
        let port = port.map { " PORT=\"p\($0)\"" } ?? ""
        let words = (mark == .same ? "" : "\(mark.rawValue) ") + text
        let lines = words.split(separator: "\n").map { SVGPieces.escaped(String($0)) }.joined(separator: "<BR/>")
        return "<TR><TD ALIGN=\"LEFT\" BGCOLOR=\"\(colour)\"\(port)>\(lines)</TD></TR>"
    }

    private static func quoted(_ text: String) -> String {
        text.unicodeScalars.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : $0.value < 0x20 ? "?" : "\($0)" }.joined()
    }
}
