// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// One thing that is not as the kernel had it.
package struct Difference: Equatable {
    package var file: String
    package var line: Int
    package var what: String
    package var expected: String
    package var got: String

    package var description: String {
        "\(FileBytes.displayName(file)):\(line): \(what)\n  expected  \(expected)\n  got       \(got)"
    }
}

/// What the replay of one file came to.
package struct Report {
    package var name: String
    package var calls = 0
    package var changes = 0
    package var dumps = 0
    /// Accesses of the guest that set an Accessed or Dirty bit.
    package var guestBits = 0
    package private(set) var differences = 0
    /// The first of them, as many as `kept`.
    package private(set) var shown: [Difference] = []
    package var kept = 1
    package var first: Difference? { shown.first }

    init(name: String) { self.name = name }

    /// What all of them came to.
    package init(sumOf reports: [Report], name: String) {
        self.init(name: name)
        for report in reports {
            calls += report.calls
            changes += report.changes
            dumps += report.dumps
            guestBits += report.guestBits
            differences += report.differences
        }
    }

    package mutating func differ(_ difference: Difference) {
        differences += 1
        if shown.count < kept { shown.append(difference) }
    }
}
