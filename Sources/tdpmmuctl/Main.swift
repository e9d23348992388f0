// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace
import LibraryClient
import Replay

@main
struct TDPMMUCtl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tdpmmuctl",
        abstract: "Replay recorded page faults of a Linux kernel through libtdpmmu.",
        discussion: """
            A trace is ftrace text of KVM's TDP MMU (plain or .gz): tracepoints and probes of one \
            VM from its creation to its end, with the real page tables dumped at chosen points.
            """,
        version: "tdpmmuctl, with libtdpmmu \(LoadedLibrary.version)",
        subcommands: [ReplayCommand.self, DumpCommand.self, TablesCommand.self, TraceCommand.self, WatchCommand.self, RecordCommand.self, CompareCommand.self, ExploreCommand.self,
                      PerformListsCommand.self])

    static func main() {
        Output.noteSignals()
        var command: (any ParsableCommand)?
        do {
            try refuseUnknownCommand()
            command = try parseAsRoot()
            try command?.run()
        } catch {
            end(error, of: command)
        }
    }

    /// "tdpmmuctl tabels", "tdpmmuctl help tabels": the parser takes the first for arguments too many, and the second for a
    /// wish for all help.
    private static func refuseUnknownCommand() throws {
        let words = CommandLine.arguments.dropFirst()
        let names = configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
        guard let name = words.first == "help" ? words.dropFirst().first : words.first, !name.hasPrefix("-"), !names.contains(name) else { return }
        throw ValidationError("there is no command \"\(FileBytes.escaped(name))\"")
    }

    /// One line: what is wrong, and where more is to be read.
    private static func usageProblem(_ error: any Error, of command: (any ParsableCommand)?) -> String {
        let lines = fullMessage(for: error).split(separator: "\n").map(String.init)
        let problem = lines.first.map { $0.hasPrefix("Error: ") ? String($0.dropFirst(7)) : $0 } ?? ""
        // What a command refuses when it runs does not name it.
        let name = command.flatMap { type(of: $0).configuration.commandName }.map { "tdpmmuctl \($0) --help" }
        let help = name ?? lines.last { $0.hasPrefix("  See '") }?.split(separator: "'").dropFirst().first .map(String.init) ?? "tdpmmuctl --help"
        return "\(problem)\(problem.hasSuffix(".") ? "" : ".") See \(help)"
    }

    /// command: nil, if its arguments were not understood.
    private static func end(_ error: any Error, of command: (any ParsableCommand)? = nil) -> Never {
        switch error {
        case let problem as BadInput:
            printError("tdpmmuctl: \(problem)")
            if let command = command as? any JSONPrinting, command.printsJSON {
                do { try Output.print(command.json(of: problem)) } catch { end(error) }
            }
            exit(withError: ExitCode(2))
        case let failure as WriteFailure:
            printError("tdpmmuctl: \(failure)")
            exit(withError: ExitCode(1))
        case _ where exitCode(for: error) == .validationFailure:
            printError("tdpmmuctl: \(usageProblem(error, of: command))")
            exit(withError: ExitCode.validationFailure)
        case _ where exitCode(for: error) == .success && !fullMessage(for: error).isEmpty:
            // Help and the version are output like any other.
            do { try Output.print(fullMessage(for: error)) } catch { end(error) }
            exit(withError: nil)
        default:
            exit(withError: error)
        }
    }
}
