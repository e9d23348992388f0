// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace
import LibraryClient
import OperationLists

/// What `compare` starts for each library: nothing for a user.
struct PerformListsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: DriverCommandName.hidden, abstract: "Perform lists that come on standard input.", shouldDisplay: false)

    @Flag(help: .hidden)
    var preloaded = false

    func run() throws {
        if preloaded { try LoadedLibrary.requirePreloaded() }
        try ListDriver.run()
    }
}
