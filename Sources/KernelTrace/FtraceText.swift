// SPDX-License-Identifier: GPL-2.0-only

/// Lines as ftrace writes them, which FtraceLine reads.
package struct FtraceText {
    package struct Event {
        package let name: String, text: String
        package let task: Int, cpu: Int
    }

    package private(set) var events: [Event] = []

    package init() {}

    package mutating func add(_ event: String, _ text: String, task: Int, cpu: Int = 0) {
        events.append(Event(name: event, text: text, task: task, cpu: cpu))
    }

    /// Columns as ftrace has them; the clock counts lines.
    package var lines: [String] {
        events.enumerated().map { index, event in
            let who = "tdpmmu-\(event.task)".padded(to: 20)
            let cpu = "\(event.cpu)".padded(to: 3, with: "0"), count = "\(index + 1)".padded(to: 12)
            return " \(who) [\(cpu)] ..... \(count): \(event.name):\(event.text.isEmpty ? "" : " " + event.text)"
        }
    }

    /// The whole file.
    package var text: String {
        let head = """
            # tracer: nop
            #
            # entries-in-buffer/entries-written: \(events.count)/\(events.count)   #P:1
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
