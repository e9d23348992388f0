// SPDX-License-Identifier: GPL-2.0-only
import OperationLists

/// The table of random lists.  One list counts in several rows.
enum SurveyTable {
    static func text(_ survey: Survey) -> String {
        let rows = OperationList.featureOrder.compactMap { name in survey.rows[name].map { cells(name, $0) } }
        return TextTable.text([["lists with", "lists", "operations", "different"]] + rows + [cells("all", survey.total)])
    }

    private static func cells(_ name: String, _ row: Survey.Row) -> [String] {
        [name] + [row.lists, row.operations, row.differences].map(String.init)
    }
}
