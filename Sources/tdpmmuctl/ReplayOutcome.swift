// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import KernelTrace
import LibraryClient
import Replay

/// What came of all files of a replay.
struct ReplayOutcome {
    var reports: [Report] = []
    var bad: [BadInput] = []
    var unwritten: WriteFailure?

    /// nil: all is well.
    var status: ExitCode? {
        if !bad.isEmpty { return ExitCode(2) }
        return unwritten != nil || reports.contains { $0.differences > 0 } ? ExitCode(1) : nil
    }

    func json(library: String?) -> JSON {
        let (files, total) = ReportTable.json(reports)
        return ["library": library.map(JSON.string).orNull, "version": .string(LoadedLibrary.version), "files": files,
                "total": total, "unreadable": .array(bad.map(\.json)), "unwritten": unwritten.map { .string("\($0)") }.orNull]
    }
}
