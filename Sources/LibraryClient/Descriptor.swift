// SPDX-License-Identifier: GPL-2.0-only
import Glibc

package enum Descriptor {
    /// From here on none has a meaning in a process that this one starts.
    private static let firstFree: Int32 = 10

    /// The same file by a number that is given to no other process, and closed when another program is executed.
    package static func outOfTheWay(_ descriptor: Int32) -> Int32 {
        guard descriptor >= 0 else { return descriptor }
        let moved = fcntl(descriptor, F_DUPFD_CLOEXEC, firstFree)
        close(descriptor)
        return moved
    }
}
