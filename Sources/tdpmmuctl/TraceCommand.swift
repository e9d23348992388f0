// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace
import Replay

struct TraceCommand: JSONPrinting {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "Print events that a program recorded with tdpmmu_trace_write(), as ftrace does.",
        discussion: """
            A recording with the marks of a rig (see traces/README.md) can be given to \
            "tdpmmuctl replay" again.

            Exit status: 0, 1 output that cannot be written, 2 a file that is no recording, 64 wrong usage.
            """)

    @Argument(help: "Recordings, plain or .gz; - is standard input.", completion: .file())
    var files: [String]

    @OptionGroup
    var jsonOption: JSONOption

    var printsJSON: Bool { jsonOption.json }

    func run() throws {
        if jsonOption.json { return try Output.print(.array(files.map { try json($0, EventFile(file: $0)) })) }
        for file in files {
            let recording = try EventFile(file: file)
            try Output.print(recording.text, terminator: "")
            if recording.lost > 0 { printError("tdpmmuctl: \(FileBytes.displayName(file)): \(recording.lost) events were overwritten") }
        }
    }

    private func json(_ file: String, _ recording: EventFile) -> JSON {
        let events = recording.events.map { event -> JSON in
            ["task": .number(event.task), "cpu": .number(event.cpu), "event": .string(event.name), "text": .string(event.text)]
        }
        return ["file": .string(file), "lost": .number(Int(clamping: recording.lost)), "events": .array(events)]
    }
}
