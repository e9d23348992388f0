// SPDX-License-Identifier: GPL-2.0-only

/// Lines as ftrace writes them, which FtraceLine reads.
package struct FtraceText {
    package private(set) var lines: [String] = []

    package init() {}

    /// Columns as ftrace has them; the clock counts lines.
    package mutating func add(_ event: String, _ text: String, task: Int, cpu: Int = 0) {
        let who = "tdpmmu-\(task)".padded(to: 20)
        let cpu = "\(cpu)".padded(to: 3, with: "0"), count = "\(lines.count + 1)".padded(to: 12)
        lines.append(" \(who) [\(cpu)] ..... \(count): \(event):\(text.isEmpty ? "" : " " + text)")
    }

    /// The whole file.
    package var text: String {
        let head = """
            # tracer: nop
            #
            # entries-in-buffer/entries-written: \(lines.count)/\(lines.count)   #P:1
            #

            """
        return head + lines.map { $0 + "\n" }.joined()
    }
}

extension String {
    /// To the right of as much filler as it takes.
    package func padded(to width: Int, with filler: String = " ") -> String {
        String(repeating: filler, count: max(0, width - utf8.count)) + self
    }
}
