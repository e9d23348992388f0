// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace
import LibraryClient
import OperationLists

struct CompareCommand: JSONPrinting {
    static let configuration = CommandConfiguration(
        commandName: "compare",
        abstract: "Perform lists of operations with two libraries and compare all that comes of them.",
        discussion: """
            Each library is loaded in a process of its own. After every operation are compared: what it \
            returned, every SPTE of all roots (addresses of tables aside), the SPTE changes, flushes and \
            requests that the library told on the way, its counters, and whether it warned. A library that \
            crashes, or hangs, differs.

            Without --list, the lists are random: VMs of all sorts, faults, zaps, dirty logs and rings, aging, \
            huge pages, slots that come and go, and what comes in the middle of a walk that gives way. The first that \
            differs is shortened to what still shows the difference, and printed: a file with it can be given to \
            --list. docs/LISTS.md tells how lists are written.

            With --list and without --with, the lists are performed by one library, and compared with the results \
            that stand in them behind "#=".

            Exit status: 0 no difference, 1 a difference, or output that cannot be written, 2 bad input, 64 wrong usage.
            """)

    @Option(name: .customLong("with"), help: ArgumentHelp("The other library.", valueName: "file"), completion: .file())
    var other: String?

    @Option(help: ArgumentHelp("A library in place of this tool's own.", valueName: "file"), completion: .file())
    var library: String?

    @Option(name: .customLong("list"), parsing: .upToNextOption,
            help: ArgumentHelp("Perform these lists, and none that is random; - is standard input.", valueName: "file"), completion: .file())
    var files: [String] = []

    @Option(help: ArgumentHelp("How many random lists. (default: 1000)", valueName: "count"))
    var lists: Int?

    @Option(help: ArgumentHelp("Another seed, other lists. (default: 1)", valueName: "number"))
    var seed: UInt64?

    @Option(help: ArgumentHelp("Steps of a random list, of one operation or some. (default: 100)", valueName: "count"))
    var steps: Int?

    @Option(help: ArgumentHelp("Random lists of these vendors: npt, ept, ept-noad, with commas between. (default: all)", valueName: "names"))
    var vendor: String?

    @Option(name: .customLong("init"),
            help: ArgumentHelp("Words of init that all random lists have, as \"root=5 nx=1\"; what they leave open is random.",
                               valueName: "words"))
    var setup: String?

    @Option(help: ArgumentHelp("In random lists, walks give way each time after being asked so often; 0: never. (default: random)",
                               valueName: "count"))
    var yield: UInt64?

    @Option(help: ArgumentHelp("""
        Operations that random lists have not, with commas between; smm: no second address space; meanwhile: \
        nothing in the middle of others.
        """, valueName: "names"))
    var without: String?

    @Option(help: ArgumentHelp("What is not compared: some of \(Answer.Field.allCases.map(\.rawValue).joined(separator: ", ")).",
                               valueName: "fields"))
    var ignore: String?

    @Option(help: ArgumentHelp("A library that is silent so long hangs: seconds of sleep and of CPU.", valueName: "seconds"))
    var patience = 60

    @Option(help: ArgumentHelp("Write the shortened list to a file.", valueName: "file"), completion: .file())
    var save: String?

    @Flag(help: "Go on behind a difference, and count all.")
    var all = false

    @OptionGroup
    var jsonOption: JSONOption

    func validate() throws {
        if files.isEmpty, other == nil { throw ValidationError("--with, or --list, is missing") }
        if lists ?? 1 < 1 || steps ?? 1 < 1 || patience < 1 { throw ValidationError("--lists, --steps and --patience take a count from 1 on") }
        if !files.isEmpty, let option = randomOption { throw ValidationError("\(option) is for random lists, and with --list there are none") }
        if save == FileBytes.standardInput { throw ValidationError("--save takes a file, and - is none") }
        _ = try options()
        _ = try judge()
    }

    var printsJSON: Bool { jsonOption.json }

    func run() throws {
        let comparison = Comparison(comparer: try comparer(), save: save, goesOn: all, isJSON: jsonOption.json)
        let isDifferent = files.isEmpty
            ? try comparison.runRandom(Generator(try options()), count: lists ?? 1000, seed: seed ?? 1) : try comparison.run(files)
        if isDifferent { throw ExitCode(1) }
    }

    /// One that was given, of those that say what random lists are like.
    private var randomOption: String? {
        let options: [(name: String, value: Any?)] = [
            ("--lists", lists), ("--seed", seed), ("--steps", steps), ("--vendor", vendor), ("--init", setup), ("--yield", yield),
            ("--without", without),
        ]
        return options.first { $0.value != nil }?.name
    }

    private func comparer() throws -> Comparer {
        let first = try library.map(LibraryFile.init)
        var drivers = [try DriverProcess(library: first, name: library ?? LoadedLibrary.path ?? LibraryFile.soname, patienceSeconds: patience)]
        if let other { drivers.append(try DriverProcess(library: try LibraryFile(other), name: other, patienceSeconds: patience)) }
        let comparer = Comparer(drivers)
        comparer.judge = try judge()
        return comparer
    }

    private func judge() throws -> Judge {
        var judge = Judge()
        for name in (ignore ?? "").split(separator: ",") {
            guard let field = Answer.Field(rawValue: String(name)) else { throw ValidationError("--ignore: there is no field \(name)") }
            judge.ignored.insert(field)
        }
        return judge
    }

    private func options() throws -> GeneratorOptions {
        var options = GeneratorOptions()
        options.steps = steps ?? 100
        options.yield = yield
        if let vendor {
            options.vendors = try vendor.split(separator: ",").map { name in
                guard let vendor = Setup.Vendor(rawValue: String(name)) else { throw ValidationError("--vendor: there is no \(name)") }
                return vendor
            }
            if options.vendors.isEmpty { throw ValidationError("--vendor: none is named") }
        }
        if let setup, let problem = options.fix(setup) { throw ValidationError("--init: \(problem)") }
        if let without, let name = options.leaveOut(without) { throw ValidationError("--without: there is no \(name)") }
        return options
    }
}
