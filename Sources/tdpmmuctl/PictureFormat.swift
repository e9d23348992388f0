// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import TablePicture

enum PictureFormat: String, ExpressibleByArgument, CaseIterable {
    case text, svg, html, dot, json

    func text(_ picture: Picture, gfns: ClosedRange<UInt64>?, full: Bool) -> String {
        let rows = RowMaker.rows(picture, gfns: gfns, full: full)
        return switch self {
        case .text: TextWriter.text(picture, rows)
        case .svg: SVGWriter.text(picture, rows)
        case .html: HTMLWriter.text(picture, rows)
        case .dot: DotWriter.text(picture, rows)
        case .json: PictureJSON.object(picture, rows).text + "\n"
        }
    }
}
