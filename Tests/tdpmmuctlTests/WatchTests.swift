// SPDX-License-Identifier: GPL-2.0-only
import Foundation
import RecordedTraces
import XCTest

/// Recordings that are counted, some while they grow.
final class WatchTests: ToolTestCase {
    private static let header: [UInt8] = Array("TDPMMU1\n".utf8) + [24, 0, 0, 0, 88, 0, 0, 0] + [UInt8](repeating: 0, count: 8)

    /// kvm_mmu_zap_all_fast is event 6, a mark 57.
    private static func event(_ id: UInt8) -> [UInt8] {
        [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 77, 0, 0, 0, 3, 0, id, 0] + [UInt8](repeating: 0, count: 64)
    }

    private func object(_ line: Substring) throws -> [String: Any] {
        try XCTUnwrap(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    }

    func testOnce() throws {
        let file = try write("events", Self.header + Self.event(6) + Self.event(57) + Self.header + Self.event(6) + [1, 2, 3])
        let result = try run("watch", "--once", file)
        XCTAssertEqual(result.status, 0, result.errors)
        XCTAssertEqual(result.output, "event                 events\nkvm_mmu_zap_all_fast       2\ntracing_mark_write         1\nall                        3\n")
        let value = try object(Substring(try run("watch", "--once", "--json", file).output))
        XCTAssertEqual(value.keys.sorted(), ["events", "kinds", "lost", "per_second", "seconds"])
        XCTAssertEqual(value["events"] as? Int, 3)
        let kinds = try XCTUnwrap(value["kinds"] as? [[String: Any]])
        XCTAssertEqual(kinds.map { $0["event"] as? String }, ["kvm_mmu_zap_all_fast", "tracing_mark_write"])
        XCTAssertEqual(kinds[0].keys.sorted(), ["event", "events", "per_second"])
    }

    /// As ftrace prints it, with a clock of seconds or a counter, packed or not.
    func testTextOnce() throws {
        let text = "# tracer: nop\n q-1 [000] ..... 1.000001: map: x\nCPU:1 [LOST 12 EVENTS]\n q-1 [000] ..... 2: map_ret: y\n q x-1 [003] d..1. 3.5: map: z\n"
        let result = try run("watch", "--once", try write("trace.txt", Array(text.utf8)))
        XCTAssertEqual(result.output, "event    events\nmap           2\nmap_ret       1\nall           3\n12 events were lost\n")
        let recorded = try run("watch", "--once", Recorded.path("612-14_prefault"))
        XCTAssertTrue(recorded.output.contains("\nkvm_tdp_mmu_spte_changed "), recorded.output)
    }

    func testWhatIsNoRecording() throws {
        for (name, bytes) in [("garbage", Array("hello world\n".utf8)), ("broken", Self.header + Self.event(200)), ("packed.gz", [0x1f, 0x8b, 8, 0])] {
            let file = try write(name, bytes)
            for arguments in [["watch", "--once", file], ["watch", file]] {
                let result = try execute([tool] + arguments)
                XCTAssertEqual(result.status, 2, name)
                XCTAssertTrue(result.errors.hasPrefix("tdpmmuctl: \(file):"), result.errors)
                XCTAssertEqual(result.errors.filter { $0 == "\n" }.count, 1, result.errors)
            }
        }
        XCTAssertEqual(try run("watch", folder).status, 2)
        XCTAssertEqual(try run("watch", "\(folder)/none").errors, "tdpmmuctl: \(folder)/none: No such file or directory\n")
        for wrong in [["--interval", "0"], ["--interval", "nan"], ["--interval", "x"]] {
            XCTAssertEqual(try execute([tool, "watch"] + wrong + [folder]).status, 64, "\(wrong)")
        }
    }

    /// A pipe ends, and the watching with it: its sums are complete.
    func testAPipeThatEnds() throws {
        let file = try write("events", Self.header + (0..<5000).flatMap { _ in Self.event(6) })
        let result = try execute(["/bin/sh", "-c", "cat \"$1\" | \"$0\" watch -", tool, file])
        XCTAssertEqual(result.status, 0, result.errors)
        XCTAssertTrue(result.output.hasSuffix("kvm_mmu_zap_all_fast    5000"
                                              + "         0\nall                     5000         0\n")
                      || result.output.contains("all "), result.output)
        let last = try XCTUnwrap(result.output.split(separator: "\n").last).split(separator: " ")
        XCTAssertEqual(last.prefix(2), ["all", "5000"])
    }

    /// As long as it takes on a busy machine.
    private func comesTrue(_ condition: () throws -> Bool) throws -> Bool {
        for _ in 0..<3000 {
            if try condition() { return true }
            usleep(20_000)
        }
        return false
    }

    /// Starts it upon a file, and waits until it has said that it counted so many.
    private func watch(_ file: String, _ body: (Process, (Int) throws -> Void) throws -> Void) throws -> String {
        let process = Process(), output = "\(folder)/watched"
        process.executableURL = URL(fileURLWithPath: tool)
        process.arguments = ["watch", "--json", "--interval", "0.1", file]
        _ = FileManager.default.createFile(atPath: output, contents: nil)
        process.standardOutput = FileHandle(forWritingAtPath: output)
        _ = FileManager.default.createFile(atPath: output + ".errors", contents: nil)
        process.standardError = FileHandle(forWritingAtPath: output + ".errors")
        try process.run()
        try body(process) { wanted in
            let has = try comesTrue {
                let lines = try read(output).split(separator: "\n")
                guard let line = lines.last, line.hasSuffix("}") else { return !process.isRunning }
                return try object(line)["events"] as? Int == wanted
            }
            let said = try read(output)
            XCTAssertTrue(has, "it never counted \(wanted): \(said)")
        }
        XCTAssertTrue(try comesTrue { !process.isRunning }, "it does not end")
        if process.isRunning { process.terminate() }
        process.waitUntilExit()
        XCTAssertEqual(process.terminationReason, .exit)
        XCTAssertEqual(process.terminationStatus, file.hasSuffix("shrinks") ? 2 : 0)
        return try read(output) + read(output + ".errors")
    }

    /// Events that come in two writes are whole in the end; Ctrl-C is no failure.
    func testAFileThatGrows() throws {
        let file = try write("grows", Self.header + Self.event(6))
        let output = try watch(file) { process, wait in
            try wait(1)
            let handle = try XCTUnwrap(FileHandle(forWritingAtPath: file)), event = Self.event(57)
            handle.seekToEndOfFile()
            handle.write(Data(Self.event(6) + event.prefix(30)))
            try wait(2)
            handle.write(Data(event.dropFirst(30)))
            try wait(3)
            process.interrupt()
        }
        let kinds = try XCTUnwrap(try object(try XCTUnwrap(output.split(separator: "\n").last))["kinds"] as? [[String: Any]])
        XCTAssertEqual(kinds.map { $0["events"] as? Int }, [2, 1])
        for line in output.split(separator: "\n") { XCTAssertNotNil(try object(line)["per_second"]) }
    }

    func testAFileThatShrinks() throws {
        let file = try write("shrinks", Self.header + Self.event(6))
        let output = try watch(file) { _, wait in
            try wait(1)
            truncate(file, 8)
        }
        XCTAssertTrue(output.hasSuffix("tdpmmuctl: \(file): has become shorter, and what it had is gone\n"), output)
    }
}
