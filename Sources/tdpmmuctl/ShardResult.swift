// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What one job of a campaign wrote: `--result` of tdpmmu_explore_main().
struct ShardResult {
    /// As a user is told.
    let name: String
    private let fields: [String: String]
    let shard: Int, shards: Int, schedules: UInt64

    private static let heading = "tdpmmu-explore 1"
    private static let needed = ["scenario", "threads", "mode", "limit", "shard", "shared", "schedules", "left", "seconds", "failed"]
    /// What all shards of a campaign have in common.
    static let common = ["scenario", "threads", "mode", "limit", "shared"]

    init(_ path: String) throws(BadInput) {
        let lines = String(decoding: try FileBytes.read(path), as: UTF8.self).split(separator: "\n").map(String.init)
        guard lines.first == Self.heading else { throw BadInput(file: path, line: 0, problem: "not a result of an exploration") }
        guard lines.last == "end" else { throw BadInput(file: path, line: 0, problem: "cut off") }
        var fields: [String: String] = [:]
        for line in lines.dropFirst().dropLast() {
            let parts = line.split(separator: " ", maxSplits: 1).map(String.init)
            guard parts.count == 2, fields.updateValue(parts[1], forKey: parts[0]) == nil else {
                throw BadInput(file: path, line: 0, problem: "what is \"\(line)\"?")
            }
        }
        for name in Self.needed where fields[name] == nil { throw BadInput(file: path, line: 0, problem: "no line \"\(name)\"") }
        let numbers = fields["shard"]!.split(separator: "/").map { Int($0) ?? 0 }
        guard numbers.count == 2, numbers[0] >= 1, numbers[0] <= numbers[1], let schedules = UInt64(fields["schedules"]!) else {
            throw BadInput(file: path, line: 0, problem: "shard or schedules are no numbers")
        }
        (name, self.fields, shard, shards, self.schedules) = (FileBytes.displayName(path), fields, numbers[0], numbers[1], schedules)
    }

    func value(_ name: String) -> String { fields[name] ?? "" }
    var left: UInt64 { UInt64(value("left")) ?? 0 }
    var seconds: Double { Double(value("seconds")) ?? 0 }
    var failure: String? { value("failed") == "0" ? nil : "\(value("failure"))\n    --scenario \(value("scenario")) --schedule \(value("schedule"))" }
}
