// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
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
        version: "tdpmmuctl, with libtdpmmu \(libraryVersion)",
        subcommands: [ReplayCommand.self, DumpCommand.self, TraceCommand.self])
}
