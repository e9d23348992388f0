// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import KernelTrace

/// This very program once more, in a process of its own, with another libtdpmmu.so.1 if one is given.
///
/// The file is opened here and preloaded there by its descriptor, so that no character of its path means
/// anything to the loader; and as it has the soname that the program asks for, no other is looked for.
package struct ToolProcess {
    package let pid: pid_t

    /// The program's exit status when the loader could not start it.
    package static let loaderFailed: Int32 = 127
    static let libraryDescriptor: Int32 = 3

    /// streams: what its descriptors are, for those that are not this process's; all out of the way.
    package init(arguments: [String], library: LibraryFile?, streams: [(number: Int32, source: Int32)] = []) throws(BadInput) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for stream in streams { posix_spawn_file_actions_adddup2(&actions, stream.source, stream.number) }
        var environment = Self.environment
        if let library {
            posix_spawn_file_actions_adddup2(&actions, library.descriptor, Self.libraryDescriptor)
            environment = Self.preloading(environment)
        }
        var child: pid_t = 0
        let failure = Self.withStrings([CommandLine.arguments.first ?? "tdpmmuctl"] + arguments) { arguments in
            Self.withStrings(environment) { posix_spawn(&child, "/proc/self/exe", &actions, nil, arguments, $0) }
        }
        guard failure == 0 else {
            throw BadInput(file: "/proc/self/exe", line: 0, problem: "cannot be started: \(String(cString: strerror(failure)))")
        }
        pid = child
    }

    /// Waits for its end.
    package func wait() -> ProcessEnd {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        return ProcessEnd(status)
    }

    /// Ends it at once, and waits.
    @discardableResult
    package func kill() -> ProcessEnd {
        Glibc.kill(pid, SIGKILL)
        return wait()
    }

    private static var environment: [String] {
        var found: [String] = []
        var next = environ
        while let entry = next.pointee {
            found.append(String(cString: entry))
            next += 1
        }
        return found
    }

    /// With the library first of all, and everything bound at once: what it lacks is told at the start.
    private static func preloading(_ environment: [String]) -> [String] {
        let name = "LD_PRELOAD="
        let others = environment.first { $0.hasPrefix(name) }.map { ":" + $0.dropFirst(name.count) } ?? ""
        return environment.filter { !$0.hasPrefix(name) && !$0.hasPrefix("LD_BIND_NOW=") }
            + ["\(name)/proc/self/fd/\(libraryDescriptor)\(others)", "LD_BIND_NOW=1"]
    }

    private static func withStrings<Result>(
        _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        var copies: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) } + [nil]
        defer { for copy in copies { free(copy) } }
        return copies.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
    }
}

/// How a process ended.
package enum ProcessEnd: Equatable, CustomStringConvertible {
    case exited(Int32)
    case killed(signal: Int32)

    fileprivate init(_ status: Int32) {
        self = status & 0x7f == 0 ? .exited(status >> 8 & 0xff) : .killed(signal: status & 0x7f)
    }

    package var description: String {
        switch self {
        case .exited(let status): "ended with status \(status)"
        case .killed(let signal): "was killed by signal \(signal) (\(String(cString: strsignal(signal))))"
        }
    }
}
