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
        subcommands: [ReplayCommand.self, DumpCommand.self, TraceCommand.self, CompareCommand.self, ExploreCommand.self,
                      PerformListsCommand.self])

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            end(error)
        }
    }

    private static func end(_ error: any Error) -> Never {
        switch error {
        case let problem as BadInput:
            printError("tdpmmuctl: \(problem)")
            exit(withError: ExitCode(2))
        case let failure as WriteFailure:
            printError("tdpmmuctl: \(failure)")
            exit(withError: ExitCode(1))
        case _ where exitCode(for: error) == .success && !fullMessage(for: error).isEmpty:
            // Help and the version are output like any other.
            do { try Output.print(fullMessage(for: error)) } catch { end(error) }
            exit(withError: nil)
        default:
            exit(withError: error)
        }
    }
}
