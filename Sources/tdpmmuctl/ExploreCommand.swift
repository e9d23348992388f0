// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace

/// The results of a campaign's jobs as one.
struct ExploreCommand: JSONPrinting {
    static let configuration = CommandConfiguration(
        commandName: "explore", abstract: "Put together what the jobs of an exploration found.",
        discussion: """
            Each job of a campaign runs the rig's program with --shard K/N and --result FILE. All N files are wanted, of \
            one scenario with one set of options. Exit status 1: a schedule failed, or a shard is missing or of another run.
            """)

    @Flag(help: "Merge the files.")
    var merge = false

    @Argument(help: "The results, in any order; - is standard input.", completion: .file())
    var files: [String]

    @OptionGroup
    var jsonOption: JSONOption

    func validate() throws {
        if !merge { throw ValidationError("explore takes --merge: scenarios are explored by the program that has them") }
        if files.isEmpty { throw ValidationError("no results") }
    }

    var printsJSON: Bool { jsonOption.json }

    func run() throws {
        var results: [ShardResult] = []
        for file in files { results.append(try ShardResult(file)) }
        let complaints = complaints(about: results)
        for complaint in complaints { printError("tdpmmuctl: \(complaint)") }
        let failures = results.compactMap(\.failure)
        if jsonOption.json {
            try Output.print(json(results, complaints, failures))
            if !complaints.isEmpty || !failures.isEmpty { throw ExitCode(1) }
            return
        }
        if complaints.isEmpty { try Output.print(summary(of: results, failed: !failures.isEmpty)) }
        for failure in failures { try Output.print(failure) }
        if !complaints.isEmpty || !failures.isEmpty { throw ExitCode(1) }
    }

    private func json(_ results: [ShardResult], _ complaints: [String], _ failures: [String]) -> JSON {
        let first = results[0]
        return ["scenario": .string(first.value("scenario")), "threads": Int(first.value("threads")).map(JSON.number).orNull,
                "mode": .string(first.value("mode")), "shards": .number(results.count),
                "schedules": .number(Int(clamping: results.map(\.schedules).reduce(0, +))),
                "left_early": .number(Int(clamping: results.map(\.left).reduce(0, +))),
                "seconds": .fraction(results.map(\.seconds).reduce(0, +)), "complaints": .array(complaints.map(JSON.string)),
                "failures": .array(failures.map(JSON.string))]
    }

    private func complaints(about results: [ShardResult]) -> [String] {
        var found: [String] = []
        let first = results[0]
        for result in results {
            // What threads share is found by the way, and each job must have come to the same.
            for name in ShardResult.common where result.value(name) != first.value(name) {
                found.append("\(result.name): \(name) is \(result.value(name)), in \(first.name) \(first.value(name))")
            }
            if result.shards != first.shards {
                found.append("\(result.name): one of \(result.shards) shards, \(first.name) of \(first.shards)")
            }
        }
        guard found.isEmpty else { return found }
        let byShard = Dictionary(grouping: results, by: \.shard)
        for shard in 1...first.shards {
            let files = byShard[shard] ?? []
            if files.isEmpty { found.append("shard \(shard)/\(first.shards) is missing") }
            if files.count > 1 { found.append("shard \(shard)/\(first.shards) is there \(files.count) times: \(files.map(\.name).joined(separator: ", "))") }
        }
        return found
    }

    private func summary(of results: [ShardResult], failed: Bool) -> String {
        let schedules = results.map(\.schedules).reduce(0, +), left = results.map(\.left).reduce(0, +)
        let seconds = Int(results.map(\.seconds).reduce(0, +).rounded())
        return "\(results[0].value("scenario")): \(results[0].value("threads")) threads, \(results[0].value("mode")): "
            + "\(schedules) schedules (\(left) left early) in \(results.count) shards, \(seconds) s of work: \(failed ? "FAILED" : "ok")"
    }
}
