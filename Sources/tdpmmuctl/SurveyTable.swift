// SPDX-License-Identifier: GPL-2.0-only
import OperationLists

/// The table of random lists.  One list counts in several rows.
enum SurveyTable {
    static func text(_ survey: Survey) -> String {
        let rows = OperationList.featureOrder.compactMap { name in survey.rows[name].map { cells(name, $0) } }
        return TextTable.text([["lists with", "lists", "operations", "different"]] + rows + [cells("all", survey.total)])
    }

    /// What differs first, and in how many lists.
    static func kinds(_ survey: Survey) -> String {
        let rows = sortedKinds(survey).map { [$0.key, String($0.value)] }
        return TextTable.text([["first difference", "lists"]] + rows)
    }

    static func json(_ survey: Survey) -> (rows: JSON, kinds: JSON) {
        let rows = OperationList.featureOrder.compactMap { name in survey.rows[name].map { object(name, $0) } }
        let kinds = sortedKinds(survey).map { kind -> JSON in ["first_difference": .string(kind.key), "lists": .number(kind.value)] }
        return (.array(rows + [object("all", survey.total)]), .array(kinds))
    }

    private static func object(_ name: String, _ row: Survey.Row) -> JSON {
        ["with": .string(name), "lists": .number(row.lists), "operations": .number(row.operations),
         "different": .number(row.differences)]
    }

    private static func sortedKinds(_ survey: Survey) -> [(key: String, value: Int)] {
        survey.kinds.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
    }

    private static func cells(_ name: String, _ row: Survey.Row) -> [String] {
        [name] + [row.lists, row.operations, row.differences].map(String.init)
    }
}
