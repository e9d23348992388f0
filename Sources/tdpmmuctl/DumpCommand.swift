// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace
import Replay

struct DumpCommand: ParsableCommand {
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

    @Argument(help: "A trace, plain or .gz.", completion: .file())
    var file: String

    @Option(name: .customLong("at"),
            help: ArgumentHelp("Stop at this recorded dump. (default: the last one)", valueName: "id"))
    var dump: Int?

    @Flag(name: .customLong("at-end"), help: "Stop where the VM is about to be destroyed.")
    var atEnd = false

    @Flag(help: "A line for every leaf.")
    var full = false

    @OptionGroup(title: "Options of the recorded machine")
    var machine: MachineOptions

    func validate() throws {
        if atEnd, dump != nil { throw ValidationError("--at and --at-end exclude each other") }
    }

    func run() throws {
        let replayer = try Replayer(file: file, options: machine.facts)
        try replayer.run(until: try stop(of: replayer))
        defer { replayer.finish() }
        guard let machine = replayer.machine else {
            throw BadInput(file: file, line: replayer.trace.lineCount, problem: "there is no VM at this point")
        }
        try Output.print(TreePrinter(isFull: full).text(machine), terminator: "")
        guard let first = replayer.report.first else { return }
        printError("tdpmmuctl: \(replayer.report.differences) differences on the way, the first:")
        printError(first.description)
        throw ExitCode(1)
    }

    private func stop(of replayer: Replayer) throws(BadInput) -> Replayer.Stop {
        if atEnd { return .beforeTeardown }
        let known = replayer.dumpIDs
        guard let id = dump ?? known.last else { return .beforeTeardown }
        guard known.contains(id) else {
            let list = known.isEmpty ? "none" : known.map(String.init).joined(separator: ", ")
            throw BadInput(file: file, line: 0, problem: "no dump \(id) is recorded; there are: \(list)")
        }
        return .afterDump(id)
    }
}
