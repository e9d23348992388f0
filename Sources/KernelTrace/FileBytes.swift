// SPDX-License-Identifier: GPL-2.0-only
import CZlib
import Glibc
import Synchronization

/// A file's bytes, unpacked if it is gzip.  "-" is standard input.
package enum FileBytes {
    /// More than any trace has; a gzip file can claim to be endless.
    package static let limit = 1 << 30

    package static let standardInput = "-"

    /// What a user is told.
    package static func displayName(_ path: String) -> String { path == standardInput ? "standard input" : escaped(path) }

    /// A file's name may have any character, and stays on the line where it is told.
    package static func escaped(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { out, scalar in
            switch scalar {
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7f: out += "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            default: out.unicodeScalars.append(scalar)
            }
        }
    }

    package static func exists(_ path: String) -> Bool {
        access(path, F_OK) == 0
    }

    /// Do two paths lead to one file?
    package static func isSame(_ one: String, _ other: String) -> Bool {
        guard let first = status(one), let second = status(other) else { return false }
        return first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }

    private static func status(_ path: String) -> stat? {
        var found = stat()
        return (path == standardInput ? fstat(STDIN_FILENO, &found) : stat(path, &found)) == 0 ? found : nil
    }

    /// Does the file begin so?  A file that cannot be read does not.
    package static func begins(_ path: String, with beginning: String) -> Bool {
        var bytes: [UInt8] = []
        _ = try? forEachChunk(path) { chunk in
            bytes.append(contentsOf: chunk.prefix(beginning.utf8.count - bytes.count))
            // Enough is no problem, but ends the reading.
            return bytes.count < beginning.utf8.count ? nil : BadInput(file: path, line: 0, problem: "")
        }
        return bytes.elementsEqual(beginning.utf8)
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
        guard canBeReadOnceOnly(path) else { return try forEachChunkOfFile(path, take) }
        return try InputOnce.of(path).hand(to: take)
    }

    private static func canBeReadOnceOnly(_ path: String) -> Bool {
        path == standardInput || status(path).map { [S_IFIFO, S_IFSOCK].contains($0.st_mode & S_IFMT) } ?? false
    }

    fileprivate static func forEachChunkOfFile(
        _ path: String, _ take: (UnsafeBufferPointer<UInt8>) -> BadInput?
    ) throws(BadInput) -> String? {
        try refuseWhatIsNoFile(path)
        guard let stream = path == standardInput ? inputStream() : gzopen(path, "rb") else {
            throw BadInput(file: path, line: 0, problem: String(cString: strerror(errno)))
        }
        gzbuffer(stream, 1 << 17)
        let end = chunks(of: stream, take)
        let closed = gzclose(stream)
        if case .refused(let badInput) = end { throw badInput }
        if case .damaged(let problem) = end { return problem }
        return problem(ofClose: closed)
    }

    /// Standard input itself stays open.
    private static func inputStream() -> gzFile? {
        let descriptor = dup(STDIN_FILENO)
        guard descriptor >= 0 else { return nil }
        if let stream = gzdopen(descriptor, "rb") { return stream }
        close(descriptor)
        return nil
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
        guard let status = status(path) else {
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

/// Standard input and pipes can be read once only, and who replays what comes there wants it twice: it is kept.
private struct InputOnce {
    private var bytes: [UInt8] = []
    private var problem: String?

    private static let kept = Mutex<[String: Result<InputOnce, BadInput>]>([:])

    static func of(_ path: String) throws(BadInput) -> InputOnce {
        let result = kept.withLock { kept in
            let found = kept[path] ?? Result { () throws(BadInput) in try InputOnce(path) }
            kept[path] = found
            return found
        }
        return try result.get()
    }

    private init(_ path: String) throws(BadInput) {
        var bytes: [UInt8] = []
        problem = try FileBytes.forEachChunkOfFile(path) { chunk in
            bytes.append(contentsOf: chunk)
            return nil
        }
        self.bytes = bytes
    }

    func hand(to take: (UnsafeBufferPointer<UInt8>) -> BadInput?) throws(BadInput) -> String? {
        let refused = bytes.withUnsafeBufferPointer { $0.isEmpty ? nil : take($0) }
        if let refused { throw refused }
        return problem
    }
}

extension [UInt8] {
    /// Complete lines.
    var lineCount: Int {
        reduce(0) { $0 + ($1 == .newline ? 1 : 0) }
    }
}
