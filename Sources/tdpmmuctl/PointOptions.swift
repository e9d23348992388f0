// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace
import Replay

/// Where in a trace a replay is to stop.
struct PointOptions: ParsableArguments {
    @Option(name: .customLong("at"), help: ArgumentHelp("Stop at this recorded dump. (default: the last one)", valueName: "id"))
    var dump: Int?

    @Flag(name: .customLong("at-end"), help: "Stop where the VM is about to be destroyed.")
    var atEnd = false

    @OptionGroup
    var dumpsOption: DumpsOption

    func validate() throws {
        if atEnd, dump != nil { throw ValidationError("--at and --at-end exclude each other") }
    }

    /// `dump`: in place of --at.
    func machine(_ file: String, at dump: Int? = nil, options: MachineFacts) throws(BadInput) -> StoppedReplay {
        let replayer = try Replayer(file: file, dumpFile: dumpsOption.dumps, options: options)
        let stop = try stop(of: replayer, file, dump ?? self.dump)
        try replayer.run(until: stop)
        guard let machine = replayer.machine else {
            replayer.finish()
            throw BadInput(file: file, line: replayer.trace.lineCount, problem: "there is no VM at this point")
        }
        return StoppedReplay(replayer: replayer, machine: machine, stop: stop)
    }

    private func stop(of replayer: Replayer, _ file: String, _ dump: Int?) throws(BadInput) -> Replayer.Stop {
        if atEnd, dump == nil { return .beforeTeardown }
        let known = replayer.dumpIDs
        guard let id = dump ?? known.last else { return .beforeTeardown }
        guard known.contains(id) else {
            let list = known.isEmpty ? "none" : known.map(String.init).joined(separator: ", ")
            throw BadInput(file: file, line: 0, problem: "no dump \(id) is recorded; there are: \(list)")
        }
        return .afterDump(id)
    }
}

/// A replay that has come there, with the VM as it is then.
final class StoppedReplay {
    private let replayer: Replayer
    let machine: Machine
    private let stop: Replayer.Stop

    init(replayer: Replayer, machine: Machine, stop: Replayer.Stop) {
        (self.replayer, self.machine, self.stop) = (replayer, machine, stop)
    }

    deinit { replayer.finish() }

    var report: Report { replayer.report }

    var snapshot: TableSnapshot {
        let name = report.name
        guard case .afterDump(let id) = stop else { return machine.snapshot(name: "\(name) at its end") }
        return machine.snapshot(name: "\(name) at dump \(id)")
    }

    /// They do not keep the tables from being shown, but are told.
    func tellDifferences() throws {
        guard let first = report.first else { return }
        printError("tdpmmuctl: \(report.differences) differences on the way, the first:")
        printError(first.description)
        throw ExitCode(1)
    }
}
