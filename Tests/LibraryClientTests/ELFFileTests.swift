// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace
import Foundation
import XCTest

@testable import LibraryClient

/// Files that may be a library.
final class ELFFileTests: XCTestCase {
    private func bytes() throws -> [UInt8] { try FileBytes.read(try XCTUnwrap(LoadedLibrary.path)) }

    func testTheLibraryItself() throws {
        let path = try XCTUnwrap(LoadedLibrary.path)
        XCTAssertEqual(ELFFile(try bytes())?.soname, "libtdpmmu.so.1")
        XCTAssertTrue(LoadedLibrary.isLoaded(from: try LibraryFile(path)))
    }

    func testACopyIsNotTheLibraryItself() throws {
        let copy = NSTemporaryDirectory() + "libtdpmmu-\(UUID().uuidString)"
        try Data(try bytes()).write(to: URL(fileURLWithPath: copy))
        defer { try? FileManager.default.removeItem(atPath: copy) }
        XCTAssertFalse(LoadedLibrary.isLoaded(from: try LibraryFile(copy)))
    }

    func testGarbage() throws {
        let whole = try bytes()
        XCTAssertNil(ELFFile([]))
        XCTAssertNil(ELFFile(Array("#!/bin/sh\n".utf8)))
        for (offset, value) in [(4, 1), (5, 2), (16, 2), (18, 3)] {
            var other = whole
            other[offset] = UInt8(value)
            XCTAssertNil(ELFFile(other), "byte \(offset)")
        }
        // Whatever stands in it and wherever it ends, looking does no harm.
        for length in [0, 6, 63, 64, 100, 200, 500, 1000, 4096] {
            _ = ELFFile(Array(whole.prefix(length)))?.soname
        }
        for offset in 20..<1200 {
            for value in [0, 0x7f, 0x80, 0xff] {
                var other = whole
                other[offset] = UInt8(value)
                _ = ELFFile(other)?.soname
            }
        }
    }
}
