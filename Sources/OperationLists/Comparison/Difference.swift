// SPDX-License-Identifier: GPL-2.0-only

/// The first place at which libraries differ about a list, or from what the list expects.
package struct Difference: Equatable {
    package enum Cause: Equatable {
        /// What came of an operation is another: in these fields.
        case fields([Answer.Field])
        /// A library's process ended in the middle of it, or did not come forward: for each library, how, or nil.
        case failure([String?])
        /// The library of this number does not come to what the list expects.
        case expectation(library: Int)
    }

    /// Of the answer: 0 for the VM's making, then the operations, one more for its end.
    package var index: Int
    package var cause: Cause

    /// Which operation of the list; nil for the VM's making and end.
    package func operation(of list: OperationList) -> Operation? {
        list.operations.indices.contains(index - 1) ? list.operations[index - 1] : nil
    }

    /// The operation and what of it, in a word or two.
    package func kind(in list: OperationList) -> String {
        let name = operation(of: list)?.kind.rawValue ?? (index == 0 ? "the VM's making" : "the VM's end")
        return switch cause {
        case .fields(let fields): "\(name): \(fields.first?.rawValue ?? "")"
        case .failure: "\(name): crash or hang"
        case .expectation: "\(name): expectation"
        }
    }

    /// Is it the same thing that goes wrong, in a shorter list?
    func isLike(_ other: Difference, _ list: OperationList, _ otherList: OperationList) -> Bool {
        guard operation(of: list)?.kind == other.operation(of: otherList)?.kind else { return false }
        switch (cause, other.cause) {
        case (.fields(let mine), .fields(let others)): return mine.first == others.first
        case (.failure(let mine), .failure(let others)): return mine.map { $0 == nil } == others.map { $0 == nil }
        case (.expectation(let mine), .expectation(let others)): return mine == others
        default: return false
        }
    }
}
