// SPDX-License-Identifier: GPL-2.0-only

/// A reply, read.
package struct Transcript {
    package var answers: [Answer] = []
    /// Of the answer that was to be shown.
    package var details: [Substring] = []
    package var failure: String?

    package init(_ reply: Reply) {
        let text = String(decoding: reply.text, as: UTF8.self)
        for line in text.split(separator: "\n", omittingEmptySubsequences: true) {
            if line.first == DriverProtocol.detail {
                details.append(line.dropFirst())
            } else {
                answers.append(Answer(line: line))
            }
        }
        failure = reply.failure
    }
}
