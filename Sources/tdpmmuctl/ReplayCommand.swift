// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace
import LibraryClient
import Replay

struct ReplayCommand: JSONPrinting {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Perform what a trace records and compare everything with the kernel.",
        discussion: """
            Each recorded call is performed by the library with the arguments that the kernel's \
            function had. Return values, every SPTE change in its order, and the whole tables at \
            each dump must come out equal; host addresses of tables are renamed. The dump file of \
            X.txt or X.txt.gz is X.npt.txt or X.npt.txt.gz beside it; dump files among the FILEs \
            are passed over.

            With --guest only what userspace, the guest and the host did is taken from the trace: \
            which faults there were, which pages the host had for them and what it took away. The \
            level, the protection, when to split and what to zap must come out of the library alike.

            The machine is what the trace's line "INFO vendor=…" says, or what its events show: options \
            are for traces that show too little of it; wrong ones give differences, where the trace shows it.

            FILE may be - for standard input, and a recording of tdpmmu_trace_write() in place of a trace.

            With --library the library in FILE is the one that is compared with the kernel: the tool runs once more, \
            in a process that has loaded it.

            Exit status: 0 all equal, 1 differences, or output that cannot be written, 2 input that cannot be replayed, 64 wrong usage.
            """)

    @Argument(help: "Traces, plain or .gz; - is standard input.", completion: .file())
    var files: [String]

    @OptionGroup
    var dumpsOption: DumpsOption

    @Flag(help: "Perform each recorded call of the TDP MMU. (the default)")
    var calls = false

    @Flag(help: "Take only what userspace, the guest and the host did; what the TDP MMU does, is our own decision.")
    var guest = false

    @Option(help: ArgumentHelp("""
        Write what the library did, in a kernel's words, to a trace that can be replayed again; \
        its dumps go beside it. With --guest, one FILE, which it never takes the place of.
        """, valueName: "trace"))
    var record: String?

    @OptionGroup(title: "Options of the recorded machine")
    var machine: MachineOptions

    @Option(help: ArgumentHelp("Replay with this libtdpmmu.so.1.", valueName: "file"), completion: .file())
    var library: String?

    @Flag(help: .hidden)
    var preloaded = false

    @Option(help: ArgumentHelp("Show this many differences of each file.", valueName: "count"))
    var show = 1

    @OptionGroup
    var jsonOption: JSONOption

    func validate() throws {
        if calls, guest { throw ValidationError("--calls and --guest exclude each other") }
        if record != nil, !guest || files.count != 1 { throw ValidationError("--record takes --guest and one FILE") }
        if record == FileBytes.standardInput { throw ValidationError("--record takes a file, and - is none") }
        if dumpsOption.dumps != nil, files.count != 1 { throw ValidationError("--dumps takes one FILE") }
        if show < 0 { throw ValidationError("--show takes a count") }
    }

    var printsJSON: Bool { jsonOption.json }

    /// Of all files, or of the library, before any is replayed.
    func json(of problem: BadInput) -> JSON { ReplayOutcome(bad: [problem]).json(library: library) }

    func run() throws {
        if preloaded {
            try LoadedLibrary.requirePreloaded()
        } else if let library {
            throw try runAgain(with: try LibraryFile(library))
        }
        try replayAll()
    }

    /// The same arguments, but in a process that has loaded the library.
    private func runAgain(with library: LibraryFile) throws -> ExitCode {
        let arguments = CommandLine.arguments.dropFirst()
        let command = [Self.configuration.commandName ?? "", "--\(LibraryFile.isPreloadedFlag)"]
        // Behind the name of this command, wherever that stands.
        let end = try ToolProcess(arguments: command + arguments.dropFirst(), library: library).wait()
        switch end {
        case .exited(ToolProcess.loaderFailed): throw library.refused()
        case .exited(let status): return ExitCode(status)
        case .killed:
            printError("tdpmmuctl: \(FileBytes.displayName(library.path)): the replay \(end)")
            return ExitCode(1)
        }
    }

    private func replayAll() throws {
        try refuseToOverwriteInput()
        var outcome = ReplayOutcome()
        for file in files where !DumpFile.isOneByName(file) {
            do {
                let replayer = try replay(file)
                outcome.reports.append(replayer.report)
                if let record { try replayer.recording?.write(to: record) }
            } catch let failure as WriteFailure {
                printError("tdpmmuctl: \(failure)")
                outcome.unwritten = failure
            } catch let problem as BadInput {
                printError("tdpmmuctl: \(problem)")
                outcome.bad.append(problem)
            }
        }
        if outcome.reports.isEmpty, outcome.bad.isEmpty {
            let problem = BadInput(file: files[0], line: 0, problem: "dump files only; name the traces beside them")
            printError("tdpmmuctl: \(problem)")
            outcome.bad.append(problem)
        }
        if jsonOption.json { try Output.print(outcome.json(library: library)) } else { try printTable(outcome) }
        if let status = outcome.status { throw status }
    }

    private func printTable(_ outcome: ReplayOutcome) throws {
        guard !outcome.reports.isEmpty else { return }
        if let library { try Output.print("with \(FileBytes.displayName(library)), \(LoadedLibrary.version)") }
        try Output.print(ReportTable.text(outcome.reports))
        for report in outcome.reports { try Self.printDifferences(report) }
    }

    /// By whatever name.
    private func refuseToOverwriteInput() throws {
        guard let record, let file = files.first else { return }
        for output in Recording.files(record) {
            let dumps = dumpsOption.dumps.map { [$0] } ?? DumpFile.candidates(besides: file)
            for input in [file] + dumps where FileBytes.isSame(input, output) {
                throw ValidationError("--record would replace \(FileBytes.displayName(input)), which is replayed")
            }
        }
    }

    private func replay(_ file: String) throws(BadInput) -> Replayer {
        let progress = Progress()
        defer { progress.clear() }
        progress.show("\(FileBytes.displayName(file)): reading")
        let replayer = try Replayer(file: file, dumpFile: dumpsOption.dumps, mode: guest ? .guest : .calls, options: machine.facts)
        replayer.report.kept = show
        if record != nil { replayer.recording = try Recording(of: file) }
        replayer.onProgress = { progress.show("\(FileBytes.displayName(file)): \(Int($0 * 100)) %") }
        try replayer.run()
        return replayer
    }

    private static func printDifferences(_ report: Report) throws(WriteFailure) {
        guard report.differences > 0, !report.shown.isEmpty else { return }
        let more = report.differences - report.shown.count
        try Output.print("\n\(report.name): \(report.differences) \(report.differences == 1 ? "difference" : "differences")")
        for difference in report.shown { try Output.print(difference.description) }
        if more > 0 { try Output.print("and \(more) more") }
    }
}
