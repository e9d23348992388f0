// SPDX-License-Identifier: GPL-2.0-only
import Foundation
import KernelTrace
import LibraryClient
import RecordedTraces
import XCTest

/// The tool with other libraries: copies of the one that it has, some of them spoilt.
final class OtherLibraryTests: ToolTestCase {
    private enum Spoilt {
        static let returnsZero: [UInt8] = [0x31, 0xc0, 0xc3], crashes: [UInt8] = [0x0f, 0x0b], hangs: [UInt8] = [0xeb, 0xfe]
    }

    private func library() throws -> [UInt8] { try FileBytes.read(try XCTUnwrap(LoadedLibrary.path)) }

    private func copy(_ name: String = "copy.so") throws -> String { try write(name, try library()) }

    /// A copy in which a function begins with other instructions.
    private func spoilt(_ function: String, _ code: [UInt8]) throws -> String {
        let symbols = try execute(["/usr/bin/env", "nm", "-D", try copy()]).output.split(separator: "\n")
        let line = try XCTUnwrap(symbols.first { $0.contains(" T \(function)@") || $0.hasSuffix(" T \(function)") })
        let address = try XCTUnwrap(line.split(separator: " ").first.flatMap { Int($0, radix: 16) })
        var bytes = try library()
        let start = try XCTUnwrap(ELFFile(bytes)?.offset(ofAddress: address))
        bytes.replaceSubrange(start..<start + code.count, with: code)
        return try write("\(function).so", bytes)
    }

    /// The version says which one it is.
    private func renamed(_ name: String) throws -> String {
        var bytes = try library()
        let old = Array(LoadedLibrary.version.utf8) + [0], new = Array("9.9.9".utf8) + [0]
        XCTAssertEqual(old.count, new.count)
        for start in 0...bytes.count - old.count where Array(bytes[start..<start + old.count]) == old {
            bytes.replaceSubrange(start..<start + old.count, with: new)
        }
        return try write(name, bytes)
    }

    private func list(_ text: String) throws -> String { try write("list.ops", Array(text.utf8)) }

    func testRandomListsWithACopy() throws {
        let result = try run("compare", "--with", try copy(), "--lists", "12", "--seed", "3", "--steps", "30")
        XCTAssertEqual(result.status, 0, result.output + result.errors)
        XCTAssertEqual(result.errors, "")
        let rows = result.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        XCTAssertEqual(rows.first, ["lists", "with", "lists", "operations", "different"])
        XCTAssertEqual(rows.last?.first, "all")
        XCTAssertEqual(rows.last?[1], "12")
        XCTAssertEqual(rows.last?.last, "0")
        XCTAssertEqual(rows.filter { ["npt", "ept", "ept-noad"].contains($0[0]) }.map { $0[1] }, ["4", "4", "4"])
    }

    func testADifferenceIsShortenedAndReplays() throws {
        let bad = try spoilt("kvm_tdp_mmu_age_gfn_range", Spoilt.returnsZero), saved = "\(folder)/short.ops"
        let result = try run("compare", "--with", bad, "--lists", "200", "--seed", "3", "--without", "smm", "--save", saved)
        XCTAssertEqual(result.status, 1, result.output + result.errors)
        XCTAssertTrue(result.output.contains("# B is \(bad) ("), result.output)
        XCTAssertTrue(result.output.contains("#   A result: 1\n#   B result: 0\n"), result.output)
        let text = try read(saved), lines = text.split(separator: "\n").filter { !$0.hasPrefix("#") }
        XCTAssertTrue(result.output.hasSuffix(text), "what was saved is what was printed")
        XCTAssertEqual(lines.map { $0.split(separator: " ")[0] }.filter { $0 != "hostlevel" }, ["init", "slot", "vcpu", lines[lines.count - 2].split(separator: " ")[0], "age"], text)
        let again = try run("compare", "--with", bad, "--list", saved)
        XCTAssertEqual(again.status, 1)
        XCTAssertTrue(again.output.hasSuffix("1 list, 1 different\n"), again.output)
        XCTAssertEqual(try run("compare", "--with", try copy(), "--list", saved).status, 0)
        XCTAssertEqual(try run("compare", "--library", bad, "--with", bad, "--list", saved).status, 0, "the given library is the first")
    }

    func testALibraryThatCrashes() throws {
        let bad = try spoilt("kvm_tdp_mmu_wrprot_slot", Spoilt.crashes)
        let result = try run("compare", "--with", bad, "--lists", "50", "--without", "slotflags")
        XCTAssertEqual(result.status, 1, result.errors)
        XCTAssertTrue(result.output.contains("#   A comes through it\n#   B was killed by signal 4 ("), result.output)
        let lines = result.output.split(separator: "\n").suffix(3)
        XCTAssertEqual(lines.map { $0.split(separator: " ")[0] }, ["init", "slot", "wrprot"], result.output)
        // All lists, too: it is started again after each.
        let all = try run("compare", "--with", bad, "--lists", "6", "--all")
        XCTAssertTrue(all.output.contains("\nall "), all.output)
        XCTAssertEqual(all.status, 1)
    }

    func testALibraryThatHangs() throws {
        let bad = try spoilt("kvm_tdp_mmu_zap_all", Spoilt.hangs)
        let result = try run("compare", "--with", bad, "--patience", "2", "--list", try list("init npt\nzapall\n"))
        XCTAssertEqual(result.status, 1)
        XCTAssertTrue(result.output.contains("# operation 1 of 1, zapall: a library does not come through it\n"), result.output)
        XCTAssertTrue(result.output.contains("#   B did not come forward: slept "), result.output)
        XCTAssertTrue(result.output.contains("; thread "), "it says where it stands: \(result.output)")
    }

    /// Before it has said that it is there.
    func testALibraryThatHangsOrCrashesAtOnce() throws {
        let bad = try spoilt("tdpmmu_version", Spoilt.hangs)
        let result = try run("compare", "--with", bad, "--patience", "1", "--lists", "3")
        XCTAssertEqual(result.status, 2)
        XCTAssertTrue(result.errors.hasPrefix("tdpmmuctl: \(bad): cannot take the place of this tool's own libtdpmmu.so.1: "
                                              + "its process did not come forward: slept "), result.errors)
        XCTAssertEqual(result.errors.filter { $0 == "\n" }.count, 1, result.errors)
        let crashing = try run("compare", "--with", try spoilt("tdpmmu_version", Spoilt.crashes), "--lists", "3")
        XCTAssertEqual(crashing.status, 2)
        XCTAssertTrue(crashing.errors.contains("libtdpmmu.so.1: its process was killed by signal 4 ("), crashing.errors)
    }

    /// What stands on a library's standard output is no answer.
    func testALibraryThatPrints() throws {
        let source = try write("printing.c", Array("""
            #include <stdio.h>
            #include <string.h>
            __attribute__((constructor)) static void print(int count, char **words)
            {
                if (count > 1 && !strcmp(words[1], "perform-lists")) {
                    puts("ready 7\\n.");
                    fflush(stdout);
                }
            }
            """.utf8)), file = "\(folder)/printing.so"
        let compiled = try execute(["/usr/bin/env", "cc", "-shared", "-fPIC", "-o", file, source])
        XCTAssertEqual(compiled.status, 0, compiled.errors)
        let result = try execute(["/usr/bin/env", "LD_PRELOAD=\(file)", tool, "compare", "--with", try copy(), "--lists", "3"])
        XCTAssertEqual(result.status, 0, result.output + result.errors)
        XCTAssertTrue(result.output.hasPrefix("lists with "), result.output)
    }

    func testExpectations() throws {
        let good = try list("vcpu 0 #= ok\nfault 0 5 r #= emulate\n")
        XCTAssertEqual(try run("compare", "--list", good).output, "1 list, 0 different\n")
        let bad = try write("bad.ops", Array("vcpu 0 #= ok\nfault 0 5 r #= fixed\n".utf8))
        let result = try run("compare", "--list", good, bad)
        XCTAssertEqual(result.status, 1)
        XCTAssertTrue(result.output.contains("# \(bad) differs\n"), result.output)
        XCTAssertTrue(result.output.contains("fault 0 0x5 r: not what the list expects: fixed\n#   A result: emulate\n"), result.output)
        XCTAssertTrue(result.output.hasSuffix("2 lists, 1 different\n"), result.output)
        let spoilt = try spoilt("kvm_tdp_mmu_page_fault", Spoilt.returnsZero)
        XCTAssertEqual(try run("compare", "--library", spoilt, "--list", good).status, 1)
    }

    func testReplayWithAnotherLibrary() throws {
        let trace = Recorded.path("612-14_prefault")
        // A name that means something to the loader, if it is not kept from it.
        let other = try renamed("a b:c.so")
        let result = try run("replay", "--library", other, trace)
        XCTAssertEqual(result.status, 0, result.output + result.errors)
        XCTAssertTrue(result.output.hasPrefix("with \(other), 9.9.9\nfile "), result.output)
        XCTAssertEqual(try run("replay", "--guest", "--library=\(other)", trace).status, 0)
        let spoilt = try spoilt("kvm_tdp_mmu_map", Spoilt.returnsZero)
        let bad = try run("replay", "--library", spoilt, trace)
        XCTAssertEqual(bad.status, 1)
        XCTAssertTrue(bad.output.contains("differences"), bad.output)
        let crashing = try run("replay", "--library", try self.spoilt("kvm_tdp_mmu_map", Spoilt.crashes), trace)
        XCTAssertEqual(crashing.status, 1)
        XCTAssertTrue(crashing.errors.contains("the replay was killed by signal 4"), crashing.errors)
    }

    func testWhatIsNoLibrary() throws {
        let trace = Recorded.path("612-14_prefault"), empty = try list("")
        var otherName = try library()
        let soname = Array("libtdpmmu.so.1\0".utf8)
        for start in 0...otherName.count - soname.count where Array(otherName[start..<start + soname.count]) == soname {
            otherName[start + 2] = UInt8(ascii: "d")
        }
        let cases = [
            ("\(folder)/none.so", "No such file or directory"),
            (folder, "is a directory"),
            (empty, "is no libtdpmmu.so.1: no shared library for this machine"),
            (try write("other.so", otherName), "is no libtdpmmu.so.1: its soname is lidtdpmmu.so.1"),
        ]
        for (file, problem) in cases {
            for arguments in [["replay", "--library", file, trace], ["compare", "--with", file],
                              ["compare", "--library", file, "--list", empty]] {
                let result = try execute([tool] + arguments)
                XCTAssertEqual(result.status, 2, "\(arguments)")
                XCTAssertEqual(result.errors, "tdpmmuctl: \(file): \(problem)\n")
                XCTAssertEqual(result.output, "")
            }
        }
    }

    /// The name is right, but functions are missing.
    func testALibraryThatLacksFunctions() throws {
        let source = try write("lacking.c", Array("int tdpmmu_create_vm(void) { return 0; }\n".utf8)), file = "\(folder)/lacking.so"
        let compiled = try execute(["/usr/bin/env", "cc", "-shared", "-fPIC", "-Wl,-soname,libtdpmmu.so.1", "-o", file, source])
        XCTAssertEqual(compiled.status, 0, compiled.errors)
        for arguments in [["replay", "--library", file, Recorded.path("612-14_prefault")], ["compare", "--with", file]] {
            let result = try execute([tool] + arguments)
            XCTAssertEqual(result.status, 2, "\(arguments)")
            XCTAssertTrue(result.errors.contains("tdpmmuctl: \(file): cannot take the place of this tool's own libtdpmmu.so.1"), result.errors)
            XCTAssertTrue(result.errors.contains("undefined symbol: "), result.errors)
        }
    }

    func testBadInput() throws {
        let bad = try list("init npt\nfault 0 5 r\n")
        let result = try run("compare", "--list", bad)
        XCTAssertEqual(result.status, 2)
        XCTAssertEqual(result.errors, "tdpmmuctl: \(bad):2: there is no vCPU 0\n")
        XCTAssertEqual(try run("compare", "--list", "\(folder)/none.ops").status, 2)
        XCTAssertEqual(try run("compare", "--with", try copy(), "--lists", "1", "--save", "\(folder)/none/x").status, 0, "nothing to save")
        for arguments in [[], ["--with"], ["--with", "x", "--lists", "0"], ["--with", "x", "--vendor", "ppt"], ["--with", "x", "--ignore", "all"],
                          ["--with", "x", "--init", "root=9"], ["--with", "x", "--without", "fly"], ["--with", "x", "--steps", "0"]] {
            XCTAssertEqual(try execute([tool, "compare"] + arguments).status, 64, "\(arguments)")
        }
        XCTAssertFalse(try run("--help").output.contains("perform-lists"), "that is for the tool itself")
    }

    func testOutputThatCannotBeWritten() throws {
        let result = try execute([tool, "compare", "--with", try copy(), "--lists", "2"], output: "/dev/full")
        XCTAssertEqual(result.status, 1)
        XCTAssertEqual(result.errors, "tdpmmuctl: standard output: cannot be written: No space left on device\n")
    }
}
