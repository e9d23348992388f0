// SPDX-License-Identifier: GPL-2.0-only
import Replay

/// The table of all files.
enum ReportTable {
    static func text(_ reports: [Report]) -> String {
        let head = ["file", "calls", "SPTE changes", "dumps", "A/D applied", "differences"]
        let rows = reports.map(cells) + (reports.count > 1 ? [cells(Report(sumOf: reports, name: "total"))] : [])
        let widths = head.indices.map { column in
            ([head] + rows).map { $0[column].count }.max() ?? 0
        }
        return ([head] + rows).map { line($0, widths) }.joined(separator: "\n")
    }

    private static func cells(_ report: Report) -> [String] {
        [report.name] + [report.calls, report.changes, report.dumps, report.guestBits, report.differences]
            .map(String.init)
    }

    /// The name to the left, numbers to the right.
    private static func line(_ cells: [String], _ widths: [Int]) -> String {
        zip(cells, widths).enumerated().map { column, cell in
            let padding = String(repeating: " ", count: max(0, cell.1 - cell.0.count))
            return column == 0 ? cell.0 + padding : padding + cell.0
        }.joined(separator: "  ")
    }
}
