// SPDX-License-Identifier: GPL-2.0-only
import Glibc

/// Where the threads of a process stand: what each waits for in the kernel, and how it came there.
package enum ThreadPlace {
    /// So many places in code are told of a stack, of so much of it.
    private static let shownPlaces = 12, stackBytes = 16384

    /// One line; nothing of what the kernel does not show.
    package static func text(of pid: pid_t) -> String {
        let code = CodeMap(pid)
        return ProcessThreads(of: pid).threads.map { text(pid, $0, code) }.joined(separator: "; ")
    }

    private static func text(_ pid: pid_t, _ thread: ProcessThreads.Thread, _ code: CodeMap) -> String {
        let folder = "/proc/\(pid)/task/\(thread.id)"
        var words = ["thread \(thread.id) \(thread.state), \(thread.ran / 1_000_000) ms on a CPU"]
        if let place = ProcFile.text("\(folder)/wchan"), !["", "0"].contains(place) { words.append("in \(place)") }
        if let call = ProcFile.text("\(folder)/syscall")?.split(separator: "\n").first {
            words.append("system call \(call)")
            // Number, six arguments, stack pointer, program counter; only the last two outside of a call, and none of one that runs.
            let numbers = call.split(separator: " ").suffix(2).compactMap { UInt64($0.dropFirst(2), radix: 16) }
            if numbers.count == 2 { words.append("at \(places(pid, numbers[0], numbers[1], code))") }
        }
        return words.joined(separator: ", ")
    }

    /// The program counter, and words of the stack that point into code: some may be old.
    private static func places(_ pid: pid_t, _ stack: UInt64, _ counter: UInt64, _ code: CodeMap) -> String {
        var found = [code.name(counter) ?? "0x\(String(counter, radix: 16))"]
        for word in words(pid, at: stack) where found.count < shownPlaces {
            if let name = code.name(word) { found.append(name) }
        }
        return found.joined(separator: " < ")
    }

    private static func words(_ pid: pid_t, at address: UInt64) -> [UInt64] {
        let memory = open("/proc/\(pid)/mem", O_RDONLY | O_CLOEXEC)
        guard memory >= 0, let offset = off_t(exactly: address) else { return [] }
        defer { close(memory) }
        var words = [UInt64](repeating: 0, count: stackBytes / 8)
        let count = words.withUnsafeMutableBytes { pread(memory, $0.baseAddress, $0.count, offset) }
        return Array(words.prefix(max(0, count) / 8))
    }
}

/// What code a process has where.
private struct CodeMap {
    private var code: [(range: Range<UInt64>, file: Substring)] = []
    /// Where each file begins in memory: an address less that is one that symbols are looked up by.
    private var starts: [Substring: UInt64] = [:]

    init(_ pid: pid_t) {
        for line in (ProcFile.text("/proc/\(pid)/maps") ?? "").split(separator: "\n") {
            // start-end permissions offset device inode path
            let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
            let ends = fields[0].split(separator: "-").compactMap { UInt64($0, radix: 16) }
            guard fields.count == 6, ends.count == 2, ends[0] < ends[1] else { continue }
            let path = fields[5].drop { $0 == " " }
            if starts[path] == nil { starts[path] = ends[0] }
            if fields[1].contains("x") { code.append((ends[0]..<ends[1], path)) }
        }
    }

    func name(_ address: UInt64) -> String? {
        guard let found = code.first(where: { $0.range.contains(address) }), let start = starts[found.file] else { return nil }
        return "\(found.file.split(separator: "/").last ?? "")+0x\(String(address - start, radix: 16))"
    }
}
