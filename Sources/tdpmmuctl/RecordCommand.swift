// SPDX-License-Identifier: GPL-2.0-only
import ArgumentParser
import Glibc
import HostRecorder
import KernelTrace

struct RecordCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "record",
        abstract: "Record what the KVM of this host does for one process; needs root.",
        discussion: """
            It is done by a shell script, which --print-script prints: it makes an ftrace instance and kprobes of its \
            own, and takes both away when it ends, by Ctrl-C, with the process, or after --seconds. The probes are \
            for the structs of Linux \(RecorderScript.release).

            What it writes is ftrace text, for reading and for "tdpmmuctl watch --once". A replay also wants to know what \
            userspace and the guest did: that is what the marks STEP and DONE of traces/README.md are for, which the \
            program itself can write to instances/tdpmmu-PID/trace_marker.

            Exit status: 0, 1 output that cannot be written, 2 a host or a process that cannot be recorded, 64 wrong usage.
            """)

    @Option(help: ArgumentHelp("The process that has the VM.", valueName: "process"))
    var pid: Int?

    @Option(name: .customShort("o"), help: ArgumentHelp("The trace, which is there when all is recorded. (default: tdpmmu-PID.txt)", valueName: "file"),
            completion: .file())
    var output: String?

    @Option(help: ArgumentHelp("End after so long. (default: by Ctrl-C, or with the process)", valueName: "seconds"))
    var seconds: Int?

    @Option(help: ArgumentHelp("Room for events of each CPU.", valueName: "MiB"))
    var buffer = 32

    @Flag(name: .customLong("all-tasks"), help: "What other tasks do as well, as reclaim and KSM; of all VMs of the host.")
    var allTasks = false

    @Flag(name: .customLong("any-kernel"), help: "Whatever kernel this is: the probes may read nonsense.")
    var anyKernel = false

    @Option(help: ArgumentHelp("Where tracefs is mounted.", valueName: "folder"), completion: .directory)
    var tracefs = "/sys/kernel/tracing"

    @Flag(name: .customLong("print-script"), help: "Print the script, and do nothing.")
    var printScript = false

    /// For tests: a host that is not this one.
    @Option(help: .hidden) var proc = "/proc"
    @Option(help: .hidden) var sys = "/sys"

    func validate() throws {
        if pid == nil, !printScript { throw ValidationError("--pid is missing") }
        if let pid, pid < 1 { throw ValidationError("--pid takes a process") }
        if let seconds, !(1...1_000_000).contains(seconds) { throw ValidationError("--seconds takes 1 to 1000000") }
        if !(1...65536).contains(buffer) { throw ValidationError("--buffer takes 1 to 65536") }
        for path in [tracefs, proc, sys, output ?? "x"] where path.isEmpty || path.utf8.contains(10) {
            throw ValidationError("a path is empty, or has a line's end in it")
        }
        if output == FileBytes.standardInput { throw ValidationError("-o takes a file, and - is none") }
    }

    func run() throws {
        var script = RecorderScript(pid: pid, output: output)
        (script.seconds, script.megabytes) = (seconds ?? 0, buffer)
        (script.isForAnyKernel, script.recordsAllTasks) = (anyKernel, allTasks)
        (script.tracefs, script.proc, script.sys) = (tracefs, proc, sys)
        guard !printScript else { return try Output.print(script.text, terminator: "") }
        try Self.become(["sh", "-c", script.text])
    }

    /// This process goes on as the shell.
    private static func become(_ command: [String]) throws(BadInput) {
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        execv("/bin/sh", &arguments)
        throw BadInput(file: "/bin/sh", line: 0, problem: "cannot be run: \(String(cString: strerror(errno)))")
    }
}
