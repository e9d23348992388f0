// SPDX-License-Identifier: GPL-2.0-only

/// Says whether replies to a list are alike, as far as they must be.
package struct Judge {
    package var ignored: Set<Answer.Field> = []

    package init() {}

    /// Where a library may do otherwise than Linux 6.12: docs/KERNELS.md, "Where the library departs".
    private static let departures: [OperationKind: Set<Answer.Field>] = [
        // One flush for each valid root, which the kernel's only caller has no need of.
        .zapall: [.flushes],
        // CPUs that log are asked to leave the guest first.
        .resetring: [.requests],
        // The kernel warns of a table whose slot is gone, which userspace can bring about.
        .recover: [.warned],
    ]

    package func difference(_ list: OperationList, _ replies: [Reply]) -> Difference? {
        let isExpecting = list.operations.contains { $0.expected != nil }
        if !isExpecting, replies.allSatisfy({ $0 == replies[0] && $0.failure == nil }) { return nil }
        return difference(list, transcripts: replies.map { Transcript($0) })
    }

    func difference(_ list: OperationList, transcripts: [Transcript]) -> Difference? {
        let failures = transcripts.map(\.failure)
        for index in 0..<list.operations.count + 2 {
            if transcripts.contains(where: { !$0.answers.indices.contains(index) }) {
                return Difference(index: index, cause: .failure(failures))
            }
            let answers = transcripts.map { $0.answers[index] }
            let operation = list.operations.indices.contains(index - 1) ? list.operations[index - 1] : nil
            if let expected = operation?.expected, let wrong = answers.firstIndex(where: { $0[.result] != expected }) {
                return Difference(index: index, cause: .expectation(library: wrong))
            }
            let fields = answers.dropFirst().flatMap { answers[0].differences(to: $0) }.filter { counts($0, operation?.kind) }
            if !fields.isEmpty { return Difference(index: index, cause: .fields(fields)) }
        }
        return nil
    }

    private func counts(_ field: Answer.Field, _ kind: OperationKind?) -> Bool {
        !ignored.contains(field) && !(kind.flatMap { Self.departures[$0] }?.contains(field) ?? false)
    }
}
