// SPDX-License-Identifier: GPL-2.0-only
import CZlib
import Glibc

/// The whole of a file, unpacked if it is gzip.
package enum FileBytes {
    /// More than any trace has; a gzip file can claim to be endless.
    package static let limit = 1 << 30

    package static func exists(_ path: String) -> Bool {
        access(path, F_OK) == 0
    }

    /// Do two paths lead to one file?
    package static func isSame(_ one: String, _ other: String) -> Bool {
        var (first, second) = (stat(), stat())
        guard stat(one, &first) == 0, stat(other, &second) == 0 else { return false }
        return first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }

    package static func read(_ path: String) throws(BadInput) -> [UInt8] {
        try refuseWhatIsNoFile(path)
        guard let stream = gzopen(path, "rb") else {
            throw BadInput(file: path, line: 0, problem: String(cString: strerror(errno)))
        }
        gzbuffer(stream, 1 << 17)
        var bytes: [UInt8] = []
        let problem = append(from: stream, to: &bytes)
        // A stream that was cut is only complained of here.
        let closed = gzclose(stream)
        if let problem = problem ?? Self.problem(ofClose: closed) {
            throw BadInput(file: path, line: bytes.lineCount + 1, problem: problem)
        }
        return bytes
    }

    /// gzread() reports a directory as an empty file on some systems.
    private static func refuseWhatIsNoFile(_ path: String) throws(BadInput) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw BadInput(file: path, line: 0, problem: String(cString: strerror(errno)))
        }
        guard status.st_mode & S_IFMT != S_IFDIR else {
            throw BadInput(file: path, line: 0, problem: "is a directory")
        }
    }

    private static func append(from stream: gzFile, to bytes: inout [UInt8]) -> String? {
        var chunk = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = gzread(stream, &chunk, UInt32(chunk.count))
            if count == 0 { return Self.problem(ofStream: stream) }
            if count < 0 { return Self.problem(ofStream: stream) ?? "cannot be read" }
            guard bytes.count + Int(count) <= limit else { return "longer than 1 GiB" }
            bytes.append(contentsOf: chunk[0..<Int(count)])
        }
    }

    private static func problem(ofStream stream: gzFile) -> String? {
        var code: Int32 = 0
        guard let text = gzerror(stream, &code), code != Z_OK, code != Z_STREAM_END else {
            return nil
        }
        if code == Z_ERRNO { return String(cString: strerror(errno)) }
        if code == Z_BUF_ERROR { return "the gzip file is truncated" }
        return "the gzip file is damaged (\(String(cString: text)))"
    }

    private static func problem(ofClose code: Int32) -> String? {
        switch code {
        case Z_OK: nil
        case Z_BUF_ERROR: "the gzip file is truncated"
        default: "cannot be read to its end (zlib error \(code))"
        }
    }
}

extension [UInt8] {
    /// Complete lines.
    var lineCount: Int {
        reduce(0) { $0 + ($1 == .newline ? 1 : 0) }
    }
}
