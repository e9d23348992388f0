// SPDX-License-Identifier: GPL-2.0-only

/// How many lists were compared, by what they have.
package struct Survey {
    package struct Row {
        package var lists = 0, operations = 0, differences = 0
    }

    package private(set) var total = Row()
    package private(set) var rows: [String: Row] = [:]
    /// How many lists differ first in what.
    package private(set) var kinds: [String: Int] = [:]

    package init() {}

    package mutating func note(_ list: OperationList, _ difference: Difference?) {
        total.add(list, difference != nil)
        for feature in list.features { rows[feature, default: Row()].add(list, difference != nil) }
        if let difference { kinds[difference.kind(in: list), default: 0] += 1 }
    }
}

extension Survey.Row {
    fileprivate mutating func add(_ list: OperationList, _ isDifferent: Bool) {
        lists += 1
        operations += list.operations.count
        differences += isDifferent ? 1 : 0
    }
}
