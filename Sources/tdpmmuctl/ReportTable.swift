// SPDX-License-Identifier: GPL-2.0-only
import Replay

/// The table of all files.
enum ReportTable {
    static func text(_ reports: [Report]) -> String {
        let head = ["file", "calls", "SPTE changes", "dumps", "A/D applied", "differences"]
        let rows = reports.map(cells) + (reports.count > 1 ? [cells(Report(sumOf: reports, name: "total"))] : [])
        return TextTable.text([head] + rows)
    }

    static func json(_ reports: [Report]) -> (files: JSON, total: JSON) {
        (.array(reports.map(object)), object(Report(sumOf: reports, name: "total")))
    }

    private static func object(_ report: Report) -> JSON {
        .object([
            ("file", .string(report.name)), ("calls", .number(report.calls)), ("spte_changes", .number(report.changes)),
            ("dumps", .number(report.dumps)), ("ad_applied", .number(report.guestBits)),
            ("differences", .number(report.differences)), ("shown", .array(report.shown.map(object))),
        ])
    }

    static func object(_ difference: Difference) -> JSON {
        ["file": .string(difference.file), "line": .number(difference.line), "what": .string(difference.what),
         "expected": .string(difference.expected), "got": .string(difference.got)]
    }

    private static func cells(_ report: Report) -> [String] {
        [report.name] + [report.calls, report.changes, report.dumps, report.guestBits, report.differences]
            .map(String.init)
    }
}
