// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import KernelTrace

/// What the commands print.
enum Output {
    static func print(_ text: String, terminator: String = "\n") throws(WriteFailure) {
        try writeAll(text + terminator, to: STDOUT_FILENO, named: "standard output")
    }
}
