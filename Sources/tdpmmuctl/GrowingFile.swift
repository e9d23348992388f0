// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import KernelTrace

/// A file that somebody goes on writing, or a pipe: what has come since it was asked last.
struct GrowingFile {
    let path: String
    private let descriptor: Int32
    /// A pipe has an end; a file may always grow.
    private let isPipe: Bool
    private var position = 0
    private(set) var hasEnded = false
    private static let chunk = 1 << 20

    init(_ path: String) throws(BadInput) {
        self.path = path
        // A named pipe without a writer is waited for later.
        descriptor = path == FileBytes.standardInput ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else {
            throw BadInput(file: path, line: 0, problem: String(cString: strerror(errno)))
        }
        guard status.st_mode & S_IFMT != S_IFDIR else { throw BadInput(file: path, line: 0, problem: "is a directory") }
        isPipe = status.st_mode & S_IFMT != S_IFREG
    }

    /// Empty: nothing more for now, or for ever (`hasEnded`).
    mutating func takeNew() throws(BadInput) -> [UInt8] {
        if isPipe, !isReady { return [] }
        if !isPipe { try refuseShrinking() }
        var bytes = [UInt8](repeating: 0, count: Self.chunk)
        let count = read(descriptor, &bytes, bytes.count)
        if count < 0, errno == EAGAIN || errno == EINTR { return [] }
        guard count >= 0 else { throw BadInput(file: path, line: 0, problem: String(cString: strerror(errno))) }
        if count == 0 { hasEnded = isPipe }
        if position == 0, bytes.prefix(min(count, 2)).elementsEqual([0x1f, 0x8b]) {
            throw BadInput(file: path, line: 0, problem: "a packed file does not grow")
        }
        position += count
        return Array(bytes.prefix(count))
    }

    private var isReady: Bool {
        var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return poll(&wanted, 1, 0) > 0
    }

    private func refuseShrinking() throws(BadInput) {
        var status = stat()
        guard fstat(descriptor, &status) == 0, Int(status.st_size) < position else { return }
        throw BadInput(file: path, line: 0, problem: "has become shorter, and what it had is gone")
    }
}
