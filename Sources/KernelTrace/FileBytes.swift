// SPDX-License-Identifier: GPL-2.0-only
import CZlib
import Glibc

/// A file's bytes, unpacked if it is gzip.
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
        var bytes: [UInt8] = []
        let problem = try forEachChunk(path) { chunk in
            bytes.append(contentsOf: chunk)
            return nil
        }
        if let problem { throw BadInput(file: path, line: bytes.lineCount + 1, problem: problem) }
        return bytes
    }

    /// Hands the file over piece by piece; `take` returns what ends the reading.  Returns what is wrong
    /// with the file where it ends: a stream that was cut shows at its end only.
    static func forEachChunk(_ path: String, _ take: (UnsafeBufferPointer<UInt8>) -> BadInput?) throws(BadInput) -> String? {
        try refuseWhatIsNoFile(path)
        guard let stream = gzopen(path, "rb") else {
            throw BadInput(file: path, line: 0, problem: String(cString: strerror(errno)))
        }
        gzbuffer(stream, 1 << 17)
        let end = chunks(of: stream, take)
        let closed = gzclose(stream)
        if case .refused(let badInput) = end { throw badInput }
        if case .damaged(let problem) = end { return problem }
        return problem(ofClose: closed)
    }

    private enum End {
        case reached
        case damaged(String)
        case refused(BadInput)
    }

    private static func chunks(of stream: gzFile, _ take: (UnsafeBufferPointer<UInt8>) -> BadInput?) -> End {
        var chunk = [UInt8](repeating: 0, count: 1 << 18), total = 0
        while true {
            let count = Int(gzread(stream, &chunk, UInt32(chunk.count)))
            if count == 0 { return problem(ofStream: stream).map { .damaged($0) } ?? .reached }
            if count < 0 { return .damaged(problem(ofStream: stream) ?? "cannot be read") }
            total += count
            guard total <= limit else { return .damaged("longer than 1 GiB") }
            let refused = chunk.withUnsafeBufferPointer { take(UnsafeBufferPointer(rebasing: $0[0..<count])) }
            if let refused { return .refused(refused) }
        }
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
