// SPDX-License-Identifier: GPL-2.0-only

/// The script that records one process on a host: what is printed is what is run.
package struct RecorderScript {
    /// nil: the script's first argument.
    package var pid: Int?
    /// nil: tdpmmu-PID.txt.
    package var output: String?
    package var seconds = 0
    package var megabytes = 32
    package var isForAnyKernel = false
    package var recordsAllTasks = false
    package var tracefs = "/sys/kernel/tracing", proc = "/proc", sys = "/sys"

    /// Of the kernel whose structs the probes know.
    package static let release = "6.12"

    package init(pid: Int?, output: String?) { (self.pid, self.output) = (pid, output) }

    package var text: String {
        let values = [
            "PID": pid.map(String.init) ?? "${1-}", "OUT": output.map(Self.quoted) ?? "tdpmmu-$pid.txt", "SECONDS": "\(seconds)", "MEGABYTES": "\(megabytes)",
            "RELEASE": isForAnyKernel ? "any" : Self.release, "TASKS": recordsAllTasks ? "all" : "process",
            "TRACEFS": Self.quoted(tracefs), "PROC": Self.quoted(proc), "SYS": Self.quoted(sys), "PROBES": Self.probes,
        ]
        return Self.template.split(separator: "\n", omittingEmptySubsequences: false).map { Self.filled($0, values) }.joined(separator: "\n")
    }

    private static var template: String { String(decoding: PackageResources.record_host_sh, as: UTF8.self) }

    private static var probes: String {
        let text = String(decoding: PackageResources.kprobes_txt, as: UTF8.self)
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }

    /// A line has one "@NAME@" at most.
    private static func filled(_ line: Substring, _ values: [String: String]) -> String {
        let parts = line.split(separator: "@", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, let value = values[String(parts[1])] else { return String(line) }
        return parts[0] + value + parts[2]
    }

    /// A word of a shell, whatever is in it.
    private static func quoted(_ text: String) -> String {
        let isPlain = !text.isEmpty && text.utf8.allSatisfy { byte in
            byte >= 48 && byte <= 57 || byte >= 65 && byte <= 90 || byte >= 97 && byte <= 122 || "/._-+,:".utf8.contains(byte)
        }
        return isPlain ? text : "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}
