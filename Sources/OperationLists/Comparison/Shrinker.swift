// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Makes a list that shows a difference as short as it can be and still show it: what is left out in bigger and
/// then in smaller pieces, operation by operation at last, until nothing more can be.
package struct Shrinker {
    /// Where libraries differ about a list.
    private let difference: (OperationList) throws(BadInput) -> Difference?
    /// So many lists are tried, no more.
    package var limit = 5000
    /// Asked before each.
    package var hasTime: () -> Bool = { true }
    package var onProgress: ((_ operations: Int) -> Void)?

    package init(_ difference: @escaping (OperationList) throws(BadInput) -> Difference?) { self.difference = difference }

    private struct State {
        var list: OperationList
        var found: Difference
        let wanted: (list: OperationList, found: Difference)
        var tries = 0
    }

    package func shortest(_ list: OperationList, _ found: Difference) throws(BadInput) -> (list: OperationList, found: Difference) {
        var state = State(list: list, found: found, wanted: (list, found))
        cutBehind(&state)
        var piece = max(1, state.list.operations.count / 2)
        while goesOn(state) {
            let isShorter = try leaveOut(piece, &state)
            if piece > 1 {
                piece /= 2
            } else {
                let isSimpler = try simplify(&state)
                if !isShorter, !isSimpler { break }
            }
        }
        return (state.list, state.found)
    }

    /// What comes behind the difference has no part in it.
    private func cutBehind(_ state: inout State) {
        state.list.operations = Array(state.list.operations.prefix(max(state.found.index, 0)))
    }

    /// Whether a shorter list was found.
    private func leaveOut(_ piece: Int, _ state: inout State) throws(BadInput) -> Bool {
        var start = 0, isShorter = false
        while start < state.list.operations.count, goesOn(state) {
            var shorter = state.list
            shorter.operations.removeSubrange(start..<min(start + piece, shorter.operations.count))
            if try take(shorter, &state) {
                isShorter = true
            } else {
                start += piece
            }
        }
        return isShorter
    }

    /// Words of `init` that have no part in it, arguments that may be left out, what need not come in the middle.
    private func simplify(_ state: inout State) throws(BadInput) -> Bool {
        var isSimpler = false
        for word in state.list.setup.wordNames where goesOn(state) {
            var simpler = state.list
            simpler.setup.putBack(word)
            if simpler.setup != state.list.setup, try take(simpler, &state) { isSimpler = true }
        }
        var index = 0
        while index < state.list.operations.count, goesOn(state) {
            let operation = state.list.operations[index]
            if operation.arguments.count > operation.kind.signature.required {
                var simpler = state.list
                simpler.operations[index].arguments.removeLast()
                if try take(simpler, &state) {
                    isSimpler = true
                    continue
                }
            }
            index += 1
        }
        return isSimpler
    }

    private func goesOn(_ state: State) -> Bool { state.tries < limit && hasTime() }

    private func take(_ list: OperationList, _ state: inout State) throws(BadInput) -> Bool {
        state.tries += 1
        guard let found = try difference(list), found.isLike(state.wanted.found, list, state.wanted.list) else { return false }
        (state.list, state.found) = (list, found)
        cutBehind(&state)
        onProgress?(state.list.operations.count)
        return true
    }
}
