// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace
import XCTest

@testable import OperationLists

/// Lists as text.
final class ListTextTests: XCTestCase {
    private func list(_ text: String) throws -> OperationList { try OperationList(file: "X.ops", bytes: Array(text.utf8)) }

    private func problem(_ text: String) -> String? { problem(Array(text.utf8)) }

    private func problem(_ bytes: [UInt8]) -> String? {
        do {
            _ = try OperationList(file: "X.ops", bytes: bytes)
            return nil
        } catch {
            return "\(error)"
        }
    }

    func testAList() throws {
        let read = try list("""
            # a comment
            init ept root=5 phys=52 nx=1 pml=1 l1tf=44 log=initset ring=16384 eager=0 zapslot=1

            slot 0 1 0x40000 4096 0x80000 1 # with a log
            vcpu 7 1\r
            \tfault 7 262144 wp 2   #=  fixed\u{20}
            hostlevel 0 * 3
            meanwhile 2 unmap 0 0x40000 0x40001
            """)
        XCTAssertEqual(read.text, """
            init ept root=5 phys=52 nx=1 pml=1 l1tf=44 log=initset ring=16384 eager=0 zapslot=1
            slot 0 1 0x40000 0x1000 0x80000 1
            vcpu 7 1
            fault 7 0x40000 wp 2
            hostlevel 0 * 3
            meanwhile 2 unmap 0 0x40000 0x40001

            """)
        XCTAssertEqual(read.operations.map(\.expected), [nil, nil, "fixed", nil, nil])
        XCTAssertEqual(read.operations.map(\.line), [4, 5, 6, 7, 8])
        XCTAssertEqual(read.operations[4].afterYields, 2)
        XCTAssertEqual(read.operations[2].arguments, [7, 0x40000, 1 << 0 | 1 << 1 | 1 << 2, 2])
    }

    func testDefaults() throws {
        let read = try list("vcpu 0\nfault 0 5 r\n")
        XCTAssertEqual(read.setup, Setup())
        XCTAssertEqual(read.text, "init npt\nvcpu 0\nfault 0 0x5 r\n")
        XCTAssertEqual(try list("init\n").setup, Setup())
    }

    func testEveryOperationIsReadAsItIsWritten() throws {
        for kind in OperationKind.allCases {
            let (parameters, required) = kind.signature
            for count in required...parameters.count {
                let arguments = parameters.prefix(count).map { parameter -> UInt64 in
                    switch parameter {
                    case .access: 1 << 2 | 1 << 4
                    case .mask, .pfn, .errorCode: 1 << 63
                    case .frame: Parameter.allFrames
                    default: 1
                    }
                }
                let operation = Operation(kind, arguments: arguments)
                let read = try list("slot 1 0 0 1 1\nvcpu 1\n\(operation.text)\n").operations[2]
                XCTAssertEqual(read.text, operation.text)
                XCTAssertEqual(read.arguments, arguments, operation.text)
            }
        }
    }

    func testBadInput() {
        let cases = [
            ("", "X.ops: the list has no operations"),
            ("# nothing\n", "X.ops: the list has no operations"),
            ("vcpu 0\ninit npt\n", "X.ops:2: init must be the first operation"),
            ("init npt\ninit npt\n", "X.ops:2: init must be the first operation"),
            ("init root=6\n", "X.ops:1: \"root=6\" is no word of init, or cannot be"),
            ("init phys\n", "X.ops:1: \"phys\" is no word of init, or cannot be"),
            ("init l1tf=35\n", "X.ops:1: \"l1tf=35\" is no word of init, or cannot be"),
            ("init log=no\n", "X.ops:1: \"log=no\" is no word of init, or cannot be"),
            ("init\nfly 1\n", "X.ops:2: unknown operation \"fly\""),
            ("vcpu\n", "X.ops:1: vcpu takes 1 argument at least"),
            ("vcpu 1 0 0\n", "X.ops:1: vcpu takes 2 arguments at most"),
            ("vcpu 8\n", "X.ops:1: \"8\" is not a vCPU (0 to 7)"),
            ("slot 64 0 0 1 1\n", "X.ops:1: \"64\" is not a slot (0 to 63)"),
            ("slot 0 0 0x1g 1 1\n", "X.ops:1: \"0x1g\" is not a gfn"),
            ("slot 0 0 0x10000000001 1 1\n", "X.ops:1: \"0x10000000001\" is not a gfn"),
            ("slot 0 0 0 1 0x10000000000000000\n", "X.ops:1: \"0x10000000000000000\" is not a pfn"),
            ("slot 0 2 0 1 1\n", "X.ops:1: \"2\" is not an address space (0 or 1)"),
            ("vcpu 0\nfault 0 5 rwz\n", "X.ops:2: \"rwz\" is not an access (letters of rwxp)"),
            ("vcpu 0\nfault 0 -5 r\n", "X.ops:2: \"-5\" is not a gfn"),
            ("vcpu 0\nfault 1 5 r\n", "X.ops:2: there is no vCPU 1"),
            ("slot 0 0 0 1 1\nage 1\n", "X.ops:2: there is no slot 1"),
            ("#= ok\n", "X.ops:1: there is no operation that could come to this"),
            ("meanwhile\n", "X.ops:1: meanwhile takes a count and an operation"),
            ("meanwhile 0 zapall\n", "X.ops:1: meanwhile takes a count and an operation"),
            ("meanwhile 1\n", "X.ops:1: an operation is missing"),
            ("meanwhile 1 zapall\n", "X.ops:1: zapall cannot be made in the middle of another operation"),
            ("meanwhile 1 meanwhile 1 zapleafs 0 1\n", "X.ops:1: zapleafs cannot be made in the middle of another operation"),
        ]
        for (text, expected) in cases { XCTAssertEqual(problem(text), expected) }
        XCTAssertEqual(problem([0x69, 0xff, 0x0a]), "X.ops:1: binary data")
        XCTAssertEqual(problem(Array("vcpu 0\n".utf8) + [0]), "X.ops:2: unknown operation \"\0\"")
    }
}
