// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace
import Replay

struct DumpCommand: JSONPrinting {
    static let configuration = CommandConfiguration(
        commandName: "dump",
        abstract: "Replay a trace up to a dump marker and print the VM's tables as a tree.",
        discussion: """
            A line per table entry: level, gfns, what it is, pfns, and its bits: RWX, A accessed (or T \
            tracked: no rights until the next access, where the CPU has no such bit), \
            D dirty, H writable for the host, M writable for the MMU; of EPT the memory type, with + where \
            the guest's PAT has a say. Neighbouring leaves with \
            the same bits share a line.

            Exit status: 0, 1 if the replay met differences on the way or output cannot be written, \
            2 input that cannot be replayed, 64 wrong usage.
            """)

    @Argument(help: "A trace or a recording, plain or .gz; - is standard input.", completion: .file())
    var file: String

    @OptionGroup
    var point: PointOptions

    @Flag(help: "A line for every leaf.")
    var full = false

    @OptionGroup
    var jsonOption: JSONOption

    @OptionGroup(title: "Options of the recorded machine")
    var machine: MachineOptions

    var printsJSON: Bool { jsonOption.json }

    func run() throws {
        let replay = try point.machine(file, options: machine.facts)
        if jsonOption.json {
            try Output.print(EntriesJSON.object(replay))
        } else {
            try Output.print(TreePrinter(isFull: full).text(replay.machine), terminator: "")
        }
        try replay.tellDifferences()
    }
}
