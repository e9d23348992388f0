// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import KernelTrace

/// What the commands print.
enum Output {
    /// A reader who has seen enough ends the tool as it does any other, unless who started it wants to be told.
    /// `compare` ignores the signal, as its libraries' processes may end at any time.
    private static let endsWithItsReader: Bool = {
        var action = sigaction()
        return sigaction(SIGPIPE, nil, &action) == 0 && action.__sigaction_handler.sa_handler == nil
    }()

    /// Before anything else.
    static func noteSignals() { _ = endsWithItsReader }

    static func print(_ text: String, terminator: String = "\n") throws(WriteFailure) {
        do throws(WriteFailure) {
            try writeAll(text + terminator, to: STDOUT_FILENO, named: "standard output")
        } catch {
            if errno == EPIPE, endsWithItsReader {
                signal(SIGPIPE, SIG_DFL)
                raise(SIGPIPE)
            }
            throw error
        }
    }

    static func print(_ value: JSON) throws(WriteFailure) { try print(value.text) }
}
