// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import Glibc
import KernelTrace

/// The libtdpmmu that this process runs with.
package enum LoadedLibrary {
    package static var version: String { String(cString: tdpmmu_version()) }

    /// The file that is mapped where its functions are.
    package static var path: String? {
        guard let symbol = dlsym(nil, "tdpmmu_create_vm"), let maps = try? FileBytes.read("/proc/self/maps") else { return nil }
        let address = UInt64(UInt(bitPattern: symbol))
        for line in String(decoding: maps, as: UTF8.self).split(separator: "\n") {
            // start-end permissions offset device inode path
            let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
            let ends = fields[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            if fields.count == 6, ends.count == 2, (ends[0]..<ends[1]).contains(address) {
                return String(fields[5].drop { $0 == " " })
            }
        }
        return nil
    }

    /// In a process that was started with a library of its own (ToolProcess): is it that one?
    package static func requirePreloaded() throws(BadInput) {
        guard isLoaded(from: ToolProcess.libraryDescriptor) else {
            throw BadInput(file: path ?? LibraryFile.soname, line: 0, problem: "was loaded in place of the given library")
        }
    }

    package static func isLoaded(from file: LibraryFile) -> Bool { isLoaded(from: file.descriptor) }

    /// Is it this file, by whatever name?
    private static func isLoaded(from descriptor: Int32) -> Bool {
        var (loaded, given) = (stat(), stat())
        guard let path, stat(path, &loaded) == 0, fstat(descriptor, &given) == 0 else { return false }
        return loaded.st_dev == given.st_dev && loaded.st_ino == given.st_ino
    }
}
