// SPDX-License-Identifier: GPL-2.0-only

/// Input that cannot be replayed: the file, the line (0: the file as a whole)
/// and what is wrong there.  Always exit status 2.
struct BadInput: Error, Equatable, CustomStringConvertible {
    var file: String
    var line: Int
    var problem: String

    var description: String {
        line > 0 ? "\(file):\(line): \(problem)" : "\(file): \(problem)"
    }
}
