// SPDX-License-Identifier: GPL-2.0-only
import TablePicture

enum PictureJSON {
    static func object(_ picture: Picture, _ rows: [PictureRow]) -> JSON {
        let roots = zip(picture.trees, rows).map { tree, row -> JSON in
            ["sides": .array(tree.roots.map { $0.map { .object(EntriesJSON.head($0)) }.orNull }),
             "totals": .array(tree.table.totals.map(totals)), "differences": .number(tree.table.differences), "rows": object(row)]
        }
        return ["names": .array(picture.names.map(JSON.string)), "vendors": .array(picture.layouts.map { .string($0.vendor.rawValue) }),
                "differences": .number(picture.differences), "roots": .array(roots)]
    }

    private static func totals(_ totals: Totals) -> JSON {
        ["tables": .number(totals.tables), "leaves": .array(totals.leaves.dropFirst().map(JSON.number)), "mmio": .number(totals.mmio),
         "nonpresent": .number(totals.nonpresent), "pages": .number(Int(clamping: totals.mappedPages))]
    }

    private static func object(_ row: PictureRow) -> JSON {
        ["kind": .string(row.kind.rawValue), "mark": .string(row.mark.rawValue), "level": .number(row.level), "first": .hexadecimal(row.first),
         "last": .hexadecimal(row.last), "times": .number(row.times), "what": .string(row.what), "bits": .string(row.bits),
         "pages": .string(row.pages), "note": .string(row.note), "rows": .array(row.children.map(object))]
    }
}
