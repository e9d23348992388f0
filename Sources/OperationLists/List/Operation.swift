// SPDX-License-Identifier: GPL-2.0-only

/// One line of a list.
package struct Operation: Equatable {
    package var kind: OperationKind
    /// As many as were given.
    package var arguments: [UInt64]
    /// Not now, but when operations from here on have let go of mmu_lock so many times.
    package var afterYields: UInt64?
    /// What it must come to, whatever another library says.
    package var expected: String?
    /// In its file, or 0.
    package var line = 0

    package init(_ kind: OperationKind, _ arguments: UInt64..., afterYields: UInt64? = nil) {
        self.init(kind, arguments: arguments)
        self.afterYields = afterYields
    }

    package init(_ kind: OperationKind, arguments: [UInt64]) {
        (self.kind, self.arguments) = (kind, arguments)
    }

    func argument(_ index: Int) -> UInt64? { arguments.indices.contains(index) ? arguments[index] : nil }

    package var text: String {
        let words = zip(kind.signature.parameters, arguments).map { $0.text($1) }
        return ((afterYields.map { ["meanwhile", String($0)] } ?? []) + [kind.rawValue] + words).joined(separator: " ")
    }
}

/// A VM, and what is done with it.
package struct OperationList: Equatable {
    package var setup: Setup
    package var operations: [Operation]

    package init(_ setup: Setup, _ operations: [Operation]) { (self.setup, self.operations) = (setup, operations) }

    package var lines: [String] { [setup.text] + operations.map(\.text) }
    package var text: String { lines.map { $0 + "\n" }.joined() }
}
