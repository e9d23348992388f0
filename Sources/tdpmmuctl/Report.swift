// SPDX-License-Identifier: GPL-2.0-only

/// One thing that is not as the kernel had it.
struct Difference: Equatable {
    var file: String
    var line: Int
    var what: String
    var expected: String
    var got: String

    var description: String {
        "\(file):\(line): \(what)\n  expected  \(expected)\n  got       \(got)"
    }
}

/// What the replay of one file came to.
struct Report {
    var name: String
    var calls = 0
    var changes = 0
    var dumps = 0
    /// Accesses of the guest that set an Accessed or Dirty bit.
    var guestBits = 0
    private(set) var differences = 0
    /// The first of them, as many as `kept`.
    private(set) var shown: [Difference] = []
    var kept = 1
    var first: Difference? { shown.first }

    mutating func differ(_ difference: Difference) {
        differences += 1
        if shown.count < kept { shown.append(difference) }
    }
}

/// The table of all files.
enum ReportTable {
    static func text(_ reports: [Report]) -> String {
        let head = ["file", "calls", "SPTE changes", "dumps", "A/D applied", "differences"]
        let rows = reports.map(cells) + (reports.count > 1 ? [cells(total(reports))] : [])
        let widths = head.indices.map { column in
            ([head] + rows).map { $0[column].count }.max() ?? 0
        }
        return ([head] + rows).map { line($0, widths) }.joined(separator: "\n")
    }

    private static func cells(_ report: Report) -> [String] {
        [report.name] + [report.calls, report.changes, report.dumps, report.guestBits, report.differences]
            .map(String.init)
    }

    private static func total(_ reports: [Report]) -> Report {
        var total = Report(name: "total")
        for report in reports {
            total.calls += report.calls
            total.changes += report.changes
            total.dumps += report.dumps
            total.guestBits += report.guestBits
        }
        total.add(differences: reports.reduce(0) { $0 + $1.differences })
        return total
    }

    /// The name to the left, numbers to the right.
    private static func line(_ cells: [String], _ widths: [Int]) -> String {
        zip(cells, widths).enumerated().map { column, cell in
            let padding = String(repeating: " ", count: max(0, cell.1 - cell.0.count))
            return column == 0 ? cell.0 + padding : padding + cell.0
        }.joined(separator: "  ")
    }
}

extension Report {
    fileprivate mutating func add(differences count: Int) {
        differences += count
    }
}
