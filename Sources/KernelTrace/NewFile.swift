// SPDX-License-Identifier: GPL-2.0-only
import Glibc

/// Output that could not be written: where, and why.  Always exit status 1.
package struct WriteFailure: Error, Equatable, CustomStringConvertible {
    package var file: String
    package var problem: String

    package init(file: String, problem: String) { (self.file, self.problem) = (file, problem) }

    package var description: String { "\(FileBytes.escaped(file)): \(problem)" }

    fileprivate static func now(_ file: String) -> WriteFailure {
        WriteFailure(file: file, problem: "cannot be written: \(String(cString: strerror(errno)))")
    }
}

/// A file that is there as a whole or not at all: it is written beside its place under another
/// name, and renamed.  What is no regular file, a device or a pipe, is written where it is.
package struct NewFile {
    /// Where it will be, with links followed: they go on leading to it.
    private let place: String
    /// nil: it is there already.
    private let temporary: String?

    /// Writes it, but does not put it in its place yet.
    package init(_ path: String, _ text: String) throws(WriteFailure) {
        var status = stat()
        let exists = stat(path, &status) == 0
        place = exists ? Self.resolved(path) : path
        temporary = exists && status.st_mode & S_IFMT != S_IFREG ? nil : "\(place).\(getpid()).new"
        let flags = temporary == nil ? O_WRONLY : O_WRONLY | O_CREAT | O_EXCL
        let descriptor = open(temporary ?? place, flags | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw .now(path) }
        if let temporary { UnfinishedFiles.begin(temporary) }
        do throws(WriteFailure) {
            try Self.write(text, to: descriptor, named: path, isFile: temporary != nil)
        } catch {
            discard()
            throw error
        }
    }

    private static func resolved(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// Closes it, too: a file system may tell only then that it is full.
    private static func write(_ text: String, to descriptor: Int32, named name: String, isFile: Bool) throws(WriteFailure) {
        do throws(WriteFailure) {
            try writeAll(text, to: descriptor, named: name)
            if isFile, fsync(descriptor) != 0 { throw .now(name) }
        } catch {
            close(descriptor)
            throw error
        }
        guard close(descriptor) == 0 else { throw .now(name) }
    }

    /// Puts it in its place.
    package func put() throws(WriteFailure) {
        guard let temporary else { return }
        guard rename(temporary, place) == 0 else {
            let failure = WriteFailure.now(place)
            discard()
            throw failure
        }
        UnfinishedFiles.end(temporary)
    }

    /// It was not worth it.
    package func discard() {
        guard let temporary else { return }
        unlink(temporary)
        UnfinishedFiles.end(temporary)
    }

    package var isRegular: Bool { temporary != nil }
}

/// All of a text, or an error.
package func writeAll(_ text: String, to descriptor: Int32, named name: String) throws(WriteFailure) {
    var text = text
    let isWritten = text.withUTF8 { bytes in
        var rest = UnsafeRawBufferPointer(bytes)[...]
        while !rest.isEmpty {
            let count = write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
    if !isWritten { throw .now(name) }
}
