// SPDX-License-Identifier: GPL-2.0-only
import Foundation
import XCTest

/// The script that records a process, on a host that is made of files: what it would do on one.
final class RecordTests: ToolTestCase {
    private var out: String { "\(folder)/out.txt" }

    /// A host with an Intel machine, on which process 77 has a VM.
    override func setUpWithError() throws {
        try super.setUpWithError()
        for path in ["t/instances", "p/77/fd", "p/77/task/77", "p/77/task/78", "p/90", "p/91/fd", "p/sys/kernel", "bin", "removed",
                     "s/module/kvm_intel/parameters", "s/module/kvm/parameters"] {
            try FileManager.default.createDirectory(atPath: "\(folder)/\(path)", withIntermediateDirectories: true)
        }
        try put("t/kprobe_events", "")
        try put("p/sys/kernel/osrelease", "6.12.48-amd64\n")
        try put("p/cpuinfo", "address sizes\t: 46 bits physical, 48 bits virtual\n")
        try put("p/90/comm", "kvm-nx-lpage-recovery-77\n")
        try put("s/module/kvm_intel/parameters/eptad", "Y\n")
        try put("s/module/kvm_intel/parameters/pml", "N\n")
        try put("s/module/kvm/parameters/tdp_mmu", "Y\n")
        try FileManager.default.createSymbolicLink(atPath: "\(folder)/p/77/fd/9", withDestinationPath: "anon_inode:kvm-vm")
        // tracefs makes an instance's files, and takes them away with it.
        try put("bin/mkdir", """
            #!/bin/sh
            /bin/mkdir "$1" && printf '# tracer: nop\\n#\\n# entries-in-buffer/entries-written: 2/2   #P:1\\n#\\n' >"$1/trace" &&
                printf ' q-77 [000] ..... 1: map: x\\n q-77 [000] ..... 2: map_ret: y\\n' >>"$1/trace"
            """, mode: 0o755)
        try put("bin/rmdir", "#!/bin/sh\nmv \"$1\" \"\(folder)/removed\"\n", mode: 0o755)
        try put("bin/id", "#!/bin/sh\necho 0\n", mode: 0o755)
    }

    private func put(_ name: String, _ text: String, mode: Int = 0o644) throws {
        let path = try write(name, Array(text.utf8))
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    }

    private func record(_ arguments: String..., pid: String = "77", seconds: String? = "1") throws -> Result {
        let limit = seconds.map { ["--seconds", $0] } ?? []
        return try execute(["/usr/bin/env", "PATH=\(folder)/bin:\(ProcessInfo.processInfo.environment["PATH"] ?? "")", tool, "record", "--pid", pid, "-o", out,
                            "--tracefs", "\(folder)/t", "--proc", "\(folder)/p", "--sys", "\(folder)/s"] + limit + arguments)
    }

    private func instance(_ file: String) throws -> [String] {
        try read("\(folder)/removed/tdpmmu-77/\(file)").split(separator: "\n").map(String.init)
    }

    func testARecording() throws {
        let result = try record()
        XCTAssertEqual(result.status, 0, result.errors)
        XCTAssertEqual(result.errors, "tdpmmuctl record: recording process 77; Ctrl-C ends it\ntdpmmuctl record: 2 events in \(out)\n")
        XCTAssertTrue(try read(out).hasSuffix("2: map_ret: y\n"))
        XCTAssertEqual(try instance("set_event_pid"), ["77", "78", "90"], "its threads, and the one that recovers huge pages")
        XCTAssertEqual(try instance("trace_options"), ["event-fork"])
        XCTAssertEqual(try instance("trace_clock"), ["counter"])
        XCTAssertEqual(try instance("trace_marker"), ["INFO vendor=ept ad=1 pml=0 maxphyaddr=46"])
        XCTAssertEqual(try instance("tracing_on"), ["0"])
        XCTAssertEqual(try instance("set_event"), [], "nothing is on any more")
        let left = try FileManager.default.contentsOfDirectory(atPath: folder)
        XCTAssertEqual(left.filter { $0.hasPrefix("out") }, ["out.txt"])
    }

    /// Each probe that was placed is taken away, under its own group's name; those of the other vendor are not placed.
    func testProbes() throws {
        XCTAssertEqual(try record().status, 0)
        let lines = try read("\(folder)/t/kprobe_events").split(separator: "\n").map(String.init)
        let placed = lines.filter { !$0.hasPrefix("-:") }, removed = lines.filter { $0.hasPrefix("-:") }
        XCTAssertGreaterThan(placed.count, 30)
        XCTAssertEqual(placed.compactMap { $0.split(separator: " ")[0].split(separator: ":").last.map { "-:\($0)" } }, removed)
        XCTAssertTrue(removed.allSatisfy { $0.hasPrefix("-:tdpmmu_77/") })
        XCTAssertTrue(placed.contains { $0.contains("vmx_load_mmu_pgd") })
        XCTAssertFalse(placed.contains { $0.contains("svm_load_mmu_pgd") || $0.contains("vmx_handle_exit") })
    }

    func testAllTasks() throws {
        XCTAssertEqual(try record("--all-tasks", "--buffer", "3").status, 0)
        XCTAssertFalse(FileManager.default.fileExists(atPath: "\(folder)/removed/tdpmmu-77/set_event_pid"))
        XCTAssertEqual(try instance("buffer_size_kb"), ["3072"])
    }

    /// A signal ends it, and so does the process; both as if all had been recorded.
    func testItsEnd() throws {
        try put("bin/sleep", "#!/bin/sh\nkill -INT $PPID\n", mode: 0o755)
        XCTAssertEqual(try record(seconds: nil).status, 0)
        XCTAssertTrue(FileManager.default.fileExists(atPath: out))
        try FileManager.default.removeItem(atPath: "\(folder)/removed/tdpmmu-77")
        try put("bin/sleep", "#!/bin/sh\nmv \"\(folder)/p/77\" \"\(folder)/p/gone\"\n", mode: 0o755)
        XCTAssertEqual(try record(seconds: nil).status, 0)
        XCTAssertEqual(try instance("tracing_on"), ["0"])
    }

    /// It may end while the probes are placed.
    func testAProcessThatEndsTooEarly() throws {
        try put("bin/mkdir", "#!/bin/sh\n/bin/mkdir \"$1\" && mv \"\(folder)/p/77\" \"\(folder)/p/gone\"\n", mode: 0o755)
        let result = try record()
        XCTAssertEqual(result.status, 2)
        XCTAssertEqual(result.errors, "tdpmmuctl record: process 77 ended before all was set up\n")
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/t/instances"), [])
        XCTAssertFalse(FileManager.default.fileExists(atPath: out))
    }

    /// One line each, and nothing is touched.
    func testHostsThatCannotBeRecorded() throws {
        func refused(_ words: String, pid: String = "77", status: Int32 = 2, _ arguments: String...) throws {
            let result = try execute(["/usr/bin/env", "PATH=\(folder)/bin:\(ProcessInfo.processInfo.environment["PATH"] ?? "")", tool, "record",
                                      "--pid", pid, "-o", out, "--tracefs", "\(folder)/t", "--proc", "\(folder)/p", "--sys", "\(folder)/s"] + arguments)
            XCTAssertEqual(result.status, status, result.errors)
            XCTAssertTrue(result.errors.hasPrefix("tdpmmuctl record: ") && result.errors.contains(words), result.errors)
            XCTAssertEqual(result.errors.filter { $0 == "\n" }.count, 1, result.errors)
            XCTAssertEqual(try? read("\(folder)/t/kprobe_events"), words.hasPrefix("no kprobes") ? nil : "")
            XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/t/instances"), [])
            XCTAssertFalse(try FileManager.default.contentsOfDirectory(atPath: folder).contains { $0.hasPrefix("out") })
        }
        try refused("there is no process 12", pid: "12")
        try refused("process 91 has no VM", pid: "91")
        try refused("out.txt: cannot be written", status: 1, "-o", "\(folder)/nowhere/out.txt")
        try put("p/sys/kernel/osrelease", "6.120.1\n")
        try refused("this is 6.120.1, whose structs may differ")
        try put("p/sys/kernel/osrelease", "6.12.48-amd64\n")
        try put("s/module/kvm/parameters/tdp_mmu", "N\n")
        try refused("kvm runs without its TDP MMU")
        try FileManager.default.removeItem(atPath: "\(folder)/s/module/kvm_intel")
        try refused("neither kvm_amd nor kvm_intel")
        try FileManager.default.removeItem(atPath: "\(folder)/t/kprobe_events")
        try refused("no kprobes in \(folder)/t")
    }

    func testAnyKernelAndMissingProbes() throws {
        try put("p/sys/kernel/osrelease", "6.1.0\n")
        XCTAssertEqual(try record("--any-kernel").status, 0)
    }

    /// What was made is taken away though something failed in the middle.
    func testAFailureInTheMiddle() throws {
        try put("bin/mkdir", "#!/bin/sh\n/bin/mkdir -p \"$1/trace_marker\"\n", mode: 0o755)
        let result = try record()
        XCTAssertEqual(result.status, 2, result.errors)
        XCTAssertEqual(result.errors, "tdpmmuctl record: \(folder)/t/instances/tdpmmu-77/trace_marker does not take "
                       + "\"INFO vendor=ept ad=1 pml=0 maxphyaddr=46\"\n")
        XCTAssertEqual(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/t/instances"), [])
        let lines = try read("\(folder)/t/kprobe_events").split(separator: "\n")
        XCTAssertEqual(lines.filter { $0.hasPrefix("-:") }.count * 2, lines.count)
        XCTAssertFalse(FileManager.default.fileExists(atPath: out))
    }

    /// What is printed is what is run; paths are words, whatever is in them.
    func testThePrintedScript() throws {
        let name = "\(folder)/a b'c$(exit 9)"
        let script = try run("record", "--print-script", "--pid", "77", "-o", name, "--seconds", "1", "--tracefs", "\(folder)/t", "--proc", "\(folder)/p",
                             "--sys", "\(folder)/s")
        XCTAssertEqual(script.status, 0)
        let file = try write("script.sh", Array(script.output.utf8))
        let result = try execute(["/usr/bin/env", "PATH=\(folder)/bin:\(ProcessInfo.processInfo.environment["PATH"] ?? "")", "sh", file])
        XCTAssertEqual(result.status, 0, result.errors)
        XCTAssertTrue(FileManager.default.fileExists(atPath: name))
        let any = try run("record", "--print-script")
        XCTAssertTrue(any.output.contains("\npid=${1-}\nout=tdpmmu-$pid.txt\n"), any.output)
        XCTAssertFalse(any.output.contains("@P"))
    }

    func testWrongUsage() throws {
        for wrong in [[], ["--pid", "0"], ["--pid", "x"], ["--pid", "1", "--seconds", "0"], ["--pid", "1", "--buffer", "0"], ["--pid", "1", "-o", "-"],
                      ["--pid", "1", "-o", ""], ["--pid", "1", "--tracefs", "a\nb"]] {
            let result = try execute([tool, "record"] + wrong)
            XCTAssertEqual(result.status, 64, "\(wrong)")
            XCTAssertEqual(result.errors.filter { $0 == "\n" }.count, 1, result.errors)
        }
    }
}
