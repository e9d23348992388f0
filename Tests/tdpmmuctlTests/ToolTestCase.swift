// SPDX-License-Identifier: GPL-2.0-only
import Foundation
import XCTest

/// The built tdpmmuctl, run as a process.
class ToolTestCase: XCTestCase {
    struct Result {
        var status: Int32
        var output: String
        var errors: String
    }

    private(set) var folder = ""

    override func setUpWithError() throws {
        folder = NSTemporaryDirectory() + "tdpmmuctl-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws {
        try FileManager.default.removeItem(atPath: folder)
    }

    var tool: String {
        let beside = Bundle.main.bundleURL.appendingPathComponent("tdpmmuctl").path
        if FileManager.default.isExecutableFile(atPath: beside) { return beside }
        return URL(fileURLWithPath: CommandLine.arguments[0])
            .deletingLastPathComponent().appendingPathComponent("tdpmmuctl").path
    }

    func run(_ arguments: String...) throws -> Result { try execute([tool] + arguments) }

    /// Output goes through files: a full pipe must not stop the tool.
    func execute(_ command: [String], output: String? = nil) throws -> Result {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command[1...])
        let paths = ["\(folder)/stdout", "\(folder)/stderr"]
        for path in paths { _ = FileManager.default.createFile(atPath: path, contents: nil) }
        process.standardOutput = FileHandle(forWritingAtPath: output ?? paths[0])
        process.standardError = FileHandle(forWritingAtPath: paths[1])
        try process.run()
        process.waitUntilExit()
        XCTAssertEqual(process.terminationReason, .exit)
        return Result(status: process.terminationStatus, output: try read(paths[0]), errors: try read(paths[1]))
    }

    func read(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
        return "\(folder)/\(name)"
    }
}
