// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import KernelTrace

/// A file that can be loaded as libtdpmmu.so.1, opened.
package final class LibraryFile {
    package static let soname = "libtdpmmu.so.1"
    /// Tells a command that it runs in a process of its own, with the library that was given.
    package static let isPreloadedFlag = "preloaded"

    package let path: String
    /// Open as long as this is there, and closed when another program is executed.
    package let descriptor: Int32

    package init(_ path: String) throws(BadInput) {
        let problem = "is no \(Self.soname)"
        // It is mapped by whoever loads it.
        guard path != FileBytes.standardInput else {
            throw BadInput(file: path, line: 0, problem: "\(problem): a library has to be a file")
        }
        let bytes = try FileBytes.read(path)
        guard let file = ELFFile(bytes) else {
            throw BadInput(file: path, line: 0, problem: "\(problem): no shared library for this machine")
        }
        guard let soname = file.soname else {
            throw BadInput(file: path, line: 0, problem: "\(problem): a shared library without a soname")
        }
        guard soname == Self.soname else {
            throw BadInput(file: path, line: 0, problem: "\(problem): its soname is \(soname)")
        }
        descriptor = Descriptor.outOfTheWay(open(path, O_RDONLY | O_CLOEXEC))
        guard descriptor >= 0 else {
            throw BadInput(file: path, line: 0, problem: String(cString: strerror(errno)))
        }
        self.path = path
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// What is to be said where nothing could be done with it; nil: the loader did not take it.
    package func refused(_ why: String? = nil) -> BadInput {
        BadInput(file: path, line: 0, problem: "cannot take the place of this tool's own \(Self.soname): "
                 + (why ?? "something is missing in it, or the loader does not take it"))
    }
}
