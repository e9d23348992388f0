// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace

struct JSONOption: ParsableArguments {
    @Flag(help: "Print it as JSON, on one line. (docs/TDPMMUCTL.md has the keys)")
    var json = false
}

/// A command whose output is JSON if one likes, also where a file cannot be read.
protocol JSONPrinting: ParsableCommand {
    var printsJSON: Bool { get }
    func json(of problem: BadInput) -> JSON
}

extension JSONPrinting {
    func json(of problem: BadInput) -> JSON { ["unreadable": [problem.json]] }
}

extension BadInput {
    var json: JSON { ["file": .string(file), "line": .number(line), "problem": .string(problem)] }
}
