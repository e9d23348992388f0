// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace
import Replay

struct WatchCommand: JSONPrinting {
    static let configuration = CommandConfiguration(
        commandName: "watch",
        abstract: "Count the events of a recording that still grows: kinds, and how many a second.",
        discussion: """
            FILE is what a program goes on writing with tdpmmu_trace_write(), or ftrace text; a pipe as well, and \
            standard input: cat /sys/kernel/tracing/trace_pipe | tdpmmuctl watch -. On a terminal it is one table, \
            elsewhere a line each time, and at the end the table. It ends by Ctrl-C, and where a pipe ends.

            Exit status: 0, 1 output that cannot be written, 2 a file that is no recording, 64 wrong usage.
            """)

    @Argument(help: "A recording; - is standard input.", completion: .file())
    var file: String

    @Flag(help: "Count what is there, and end.")
    var once = false

    @Option(help: ArgumentHelp("Look so often.", valueName: "seconds"))
    var interval = 1.0

    @OptionGroup
    var jsonOption: JSONOption

    func validate() throws {
        if !(0.1...3600).contains(interval) { throw ValidationError("--interval takes 0.1 to 3600") }
    }

    var printsJSON: Bool { jsonOption.json }

    func run() throws {
        if once { return try countOnce() }
        let pause = Pause()
        var file = try GrowingFile(file), count = EventCount(), view = WatchView(), screen = Screen()
        // What was there before it began is counted, but came at no speed.
        try take(&file, &count)
        view.take(count, interval: 0)
        var goesOn = true, last = Pause.now
        while goesOn {
            goesOn = try wait(until: last + interval, pause, &file, &count) && !file.hasEnded
            let now = Pause.now
            view.take(count, interval: now - last)
            last = now
            if goesOn || Screen.isTerminal || jsonOption.json { try show(view, &screen) }
        }
        view.finish()
        if !Screen.isTerminal, !jsonOption.json { try Output.print("\n" + view.table(lines: .max)) }
    }

    private func countOnce() throws {
        var count = EventCount(), view = WatchView()
        if let problem = count.take(try FileBytes.read(file)) { throw BadInput(file: file, line: 0, problem: problem) }
        view.take(count, interval: nil)
        try Output.print(jsonOption.json ? view.json.text : view.table(lines: .max))
    }

    private func show(_ view: WatchView, _ screen: inout Screen) throws(WriteFailure) {
        if jsonOption.json { return try Output.print(view.json) }
        guard Screen.isTerminal else { return try Output.print(view.line) }
        try Output.print(screen.show(view.table(lines: Screen.height - 1)), terminator: "")
    }

    /// False: somebody has had enough.
    private func wait(until end: Double, _ pause: Pause, _ file: inout GrowingFile, _ count: inout EventCount) throws -> Bool {
        // A pipe is emptied meanwhile, lest its writer wait.
        while case let left = end - Pause.now, left > 0, !file.hasEnded {
            if !pause.wait(seconds: min(left, 0.05)) { return false }
            try take(&file, &count)
        }
        return true
    }

    private func take(_ file: inout GrowingFile, _ count: inout EventCount) throws(BadInput) {
        while case let bytes = try file.takeNew(), !bytes.isEmpty {
            if let problem = count.take(bytes) { throw BadInput(file: file.path, line: 0, problem: problem) }
        }
    }
}
