// SPDX-License-Identifier: GPL-2.0-only
import Replay

/// The table of all files.
enum ReportTable {
    static func text(_ reports: [Report]) -> String {
        let head = ["file", "calls", "SPTE changes", "dumps", "A/D applied", "differences"]
        let rows = reports.map(cells) + (reports.count > 1 ? [cells(Report(sumOf: reports, name: "total"))] : [])
        return TextTable.text([head] + rows)
    }

    private static func cells(_ report: Report) -> [String] {
        [report.name] + [report.calls, report.changes, report.dumps, report.guestBits, report.differences]
            .map(String.init)
    }
}
