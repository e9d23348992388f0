// SPDX-License-Identifier: GPL-2.0-only

/// Input that cannot be replayed: the file, the line (0: the file as a whole)
/// and what is wrong there.  Always exit status 2.
package struct BadInput: Error, Equatable, CustomStringConvertible {
    package var file: String
    package var line: Int
    package var problem: String

    package init(file: String, line: Int, problem: String) {
        (self.file, self.line, self.problem) = (file, line, problem)
    }

    package var description: String {
        let name = FileBytes.displayName(file)
        return line > 0 ? "\(name):\(line): \(problem)" : "\(name): \(problem)"
    }
}
