// SPDX-License-Identifier: GPL-2.0-only

/// What came of an operation, as a line: its fields, with tabs between.  Those that may be long are sums.
package struct Answer: Equatable {
    package enum Field: String, CaseIterable {
        /// What it returned.
        case result
        /// Whether the library warned.
        case warned
        /// Leaves by size, tables that stand in for a huge page, yields.
        case counters
        /// Calls of spte_changed, in order.
        case changes
        /// Calls of flush_tlb, in order.
        case flushes
        /// Calls of vcpu_request, in order.
        case requests
        /// All roots, and every SPTE below them.
        case tables
    }

    /// Of each field, in their order; less if the line was cut.
    package var values: [Substring]

    package init(line: Substring) {
        values = line.split(separator: "\t", omittingEmptySubsequences: false)
    }

    package subscript(field: Field) -> Substring {
        let index = Field.allCases.firstIndex(of: field) ?? 0
        return values.indices.contains(index) ? values[index] : "(nothing)"
    }

    /// In which fields two differ.
    package func differences(to other: Answer) -> [Field] {
        Field.allCases.filter { self[$0] != other[$0] }
    }
}
