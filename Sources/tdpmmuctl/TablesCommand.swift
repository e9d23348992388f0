// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace
import Replay
import TablePicture

struct TablesCommand: JSONPrinting {
    static let configuration = CommandConfiguration(
        commandName: "tables",
        abstract: "Draw a VM's tables as a picture: levels, leaf sizes, rights, holes.",
        discussion: """
            FILE is a trace or a recording, replayed up to a dump marker; or a dump file (X.npt.txt), whose tables \
            are drawn as they were recorded. Neighbouring entries that are alike are one line, and so are \
            neighbouring tables that are alike to their last entry; of tables with very many runs some are summed up, \
            unless with --full.

            With two FILEs, or with --beside, two VMs lie beside each other, A and B, each at the dump of --at \
            unless --beside names B's; what differs is marked: \
            - only A has it, or has it so; + the same of B; ~ something below differs. Addresses of tables are \
            no difference.

            dot's pictures are for graphviz: tdpmmuctl tables --format dot FILE | dot -Tpdf

            Exit status: 0, 1 if the replay met differences on the way or output cannot be written, \
            2 input that cannot be drawn, 64 wrong usage.
            """)

    @Argument(help: "One or two traces, recordings or dump files, plain or .gz; - is standard input.", completion: .file())
    var files: [String]

    @Option(help: ArgumentHelp("How it is drawn: text (80 columns), svg, html, dot, json.", valueName: "format"))
    var format = PictureFormat.text

    @OptionGroup
    var point: PointOptions

    @Option(help: ArgumentHelp("Lay this recorded dump beside it, of the second FILE if there is one.", valueName: "id"))
    var beside: Int?

    @Flag(name: .customLong("no-pages"), help: "That a page lies elsewhere in the host is no difference.")
    var ignoresPages = false

    @Option(name: .customLong("gfn"),
            help: ArgumentHelp("Look at these alone: hexadecimal, one or FIRST-LAST. Strips go on showing whole tables.", valueName: "gfns"))
    var gfns: GFNRange?

    @Flag(help: "All runs of all tables.")
    var full = false

    @Option(name: .customShort("o"), help: ArgumentHelp("Write it to a file, which is never one of those that are read.", valueName: "file"),
            completion: .file())
    var output: String?

    @OptionGroup
    var jsonOption: JSONOption

    @OptionGroup(title: "Options of the recorded machine")
    var machine: MachineOptions

    func validate() throws {
        if files.count > 2 { throw ValidationError("two FILEs lie beside each other, no more") }
        if jsonOption.json, ![.text, .json].contains(format) { throw ValidationError("--json and --format \(format.rawValue) exclude each other") }
        if point.dumpsOption.dumps != nil, files.count > 1 { throw ValidationError("--dumps takes one FILE") }
        if point.atEnd, beside != nil { throw ValidationError("--at-end and --beside exclude each other") }
        if output == FileBytes.standardInput { throw ValidationError("-o takes a file, and - is none") }
    }

    /// To a file only what is whole is written.
    var printsJSON: Bool { output == nil && (jsonOption.json || format == .json) }

    func run() throws {
        try refuseToOverwriteInput()
        try refuseWhatDumpFilesHaveNot()
        var sources = [try TableSource(files[0], point, at: point.dump, machine.facts)]
        if files.count == 2 {
            sources.append(try TableSource(files[1], point, at: beside ?? point.dump, machine.facts))
        } else if let beside {
            sources.append(try TableSource(files[0], point, at: beside, machine.facts))
        }
        let text = (jsonOption.json ? .json : format).text(Picture(sources.map(\.snapshot), looksAtPages: !ignoresPages),
                                                               gfns: gfns?.gfns, full: full)
        if let output { try NewFile(output, text).put() } else { try Output.print(text, terminator: "") }
        for source in sources { try source.replay?.tellDifferences() }
    }

    /// They are read as they are: nothing stands beside them, and nothing is replayed.
    private func refuseWhatDumpFilesHaveNot() throws {
        guard point.dumpsOption.dumps != nil || point.atEnd, files.allSatisfy(TableSource.isDumpFile) else { return }
        throw ValidationError("\(point.atEnd ? "--at-end" : "--dumps") takes a trace, and \(FileBytes.displayName(files[0])) is a dump file")
    }

    private func refuseToOverwriteInput() throws {
        guard let output else { return }
        let dumps = point.dumpsOption.dumps.map { [$0] } ?? files.flatMap(DumpFile.candidates)
        for input in files + dumps where FileBytes.isSame(input, output) {
            throw ValidationError("-o would replace \(FileBytes.displayName(input)), which is read")
        }
    }
}

/// "40a00-40bff", "0x40a00"
struct GFNRange: ExpressibleByArgument {
    let gfns: ClosedRange<UInt64>

    init?(argument: String) {
        let ends = argument.split(separator: "-", omittingEmptySubsequences: false).map { end in
            UInt64(end.hasPrefix("0x") ? end.dropFirst(2) : end, radix: 16)
        }
        guard ends.count <= 2, let first = ends[0], let last = ends[ends.count - 1], first <= last else { return nil }
        gfns = first...last
    }
}

/// Where the tables come from.
struct TableSource {
    let snapshot: TableSnapshot
    /// nil: they were recorded.
    let replay: StoppedReplay?

    static func isDumpFile(_ file: String) -> Bool { FileBytes.begins(file, with: "DUMP ") }

    init(_ file: String, _ point: PointOptions, at id: Int?, _ options: MachineFacts) throws(BadInput) {
        if Self.isDumpFile(file) {
            (snapshot, replay) = (try Self.recorded(file, at: id, options), nil)
        } else {
            let replay = try point.machine(file, at: id, options: options)
            (snapshot, self.replay) = (replay.snapshot, replay)
        }
    }

    private static func recorded(_ file: String, at id: Int?, _ options: MachineFacts) throws(BadInput) -> TableSnapshot {
        let dumps = try DumpFile(file: file), known = dumps.dumps.keys.sorted()
        guard let id = id ?? known.last, let dump = dumps.dumps[id] else {
            let list = known.map(String.init).joined(separator: ", ")
            throw BadInput(file: file, line: 0, problem: "no dump \(id ?? 0) is recorded; there are: \(list)")
        }
        guard (4...5).contains(dump.rootLevel) else {
            throw BadInput(file: file, line: dump.line, problem: "no root has \(dump.rootLevel) levels")
        }
        return TableSnapshot(name: "\(FileBytes.displayName(file)), dump \(id)", layout: dumps.layout(options), dump)
    }
}
