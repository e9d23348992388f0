// SPDX-License-Identifier: GPL-2.0-only

/// What an SVG and an HTML page have in common: colours, strips, legend, escapes.
enum SVGPieces {
    /// Colours that are told apart by who sees fewer of them, each light and dark.
    static let style = """
        :root{--paper:#fff;--ink:#1c2126;--faint:#667079;--line:#c9ced3;--hole:#f1f3f5;--table:#8a949e;\
        --readOnly:#56b4e9;--readWrite:#e69f00;--readExecute:#009e73;--all:#d55e00;--noAccess:#cc79a7;--mmio:#f0e442;\
        --nonpresent:#333;--minus:#b3261e;--plus:#1a7f37;--below:#8250df}
        @media (prefers-color-scheme:dark){:root{--paper:#15191d;--ink:#e4e8eb;--faint:#9aa4ad;--line:#3d444b;--hole:#23292f;\
        --table:#6c7681;--nonpresent:#d0d5da;--minus:#ff7b72;--plus:#56d364;--below:#c297ff}}

        """ + Paint.allCases.map { ".\($0.name){fill:var(--\($0.name))}" }.joined()

    static let stripsOfTwo = "of two strips the upper is A's; red below: not the same"

    static func escaped(_ text: String) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "\"": out += "&quot;"
            // No XML may have these, however written.
            case _ where scalar.value < 0x20: out += "\u{fffd}"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }

    /// An entry is one unit wide; a path for each paint.
    static func strip(_ parts: [PictureRow.StripPart], y: Int = 0, height: Int) -> String {
        var paths: [Paint: String] = [:]
        for part in parts where part.paint != .hole {
            paths[part.paint, default: ""] += "M\(part.start) \(y)h\(part.count)v\(height)h-\(part.count)z"
        }
        let drawn = Paint.allCases.compactMap { paint in paths[paint].map { "<path class=\"\(paint.name)\" d=\"\($0)\"/>" } }
        return "<rect class=\"hole\" y=\"\(y)\" width=\"512\" height=\"\(height)\"/>" + drawn.joined()
    }

    /// Below a strip, where the sides are not the same.
    static func differing(_ row: PictureRow, y: Int) -> String {
        guard !row.differing.isEmpty else { return "" }
        // One entry of 512 would hardly be seen.
        let marks = row.differing.map { run in
            let start = max(0, run.start - 1), width = min(512, run.start + run.count + 1) - start
            return "M\(start) \(y)h\(width)v3h-\(width)z"
        }
        return "<path fill=\"var(--minus)\" d=\"\(marks.joined())\"/>"
    }

    static func markClass(_ row: PictureRow) -> String { row.isHole && row.mark == .same ? "faint" : style(of: row.mark) }

    static func style(of mark: PictureRow.Mark) -> String {
        switch mark {
        case .same: ""
        case .onlyA: "minus"
        case .onlyB: "plus"
        case .below: "below"
        }
    }
}
