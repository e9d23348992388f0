// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import KernelTrace

/// How the threads of another process stand, by what the kernel shows of them in /proc.
package struct ProcessThreads {
    package struct Thread {
        package let id: Int
        /// A letter, as in proc(5): R runs or waits for a CPU, D for a disk, S sleeps.
        package let state: Character
        /// Nanoseconds on a CPU, and ready for one but without.
        package let ran: Int, waited: Int

        fileprivate init?(_ folder: String, _ id: Int) {
            // The name stands in parentheses, and may have any character.
            guard let stat = ProcFile.text("\(folder)/stat"), let end = stat.lastIndex(of: ")"),
                let state = stat[end...].dropFirst(2).first
            else { return nil }
            (self.id, self.state) = (id, state)
            let times = (ProcFile.text("\(folder)/schedstat") ?? "").split(separator: " ").compactMap { Int($0) }
            (ran, waited) = times.count >= 2 ? (times[0], times[1]) : (Self.ran(stat[end...]), 0)
        }

        /// Of a kernel that counts in ticks: fields 14 and 15, in user mode and in the kernel.
        private static func ran(_ fields: Substring) -> Int {
            let ticks = fields.split(separator: " ").dropFirst(12).prefix(2).compactMap { Int($0) }.reduce(0, +)
            return ticks * (1_000_000_000 / max(1, sysconf(Int32(_SC_CLK_TCK))))
        }
    }

    package let threads: [Thread]

    package init(of pid: pid_t) {
        let folder = "/proc/\(pid)/task"
        threads = ProcFile.names(in: folder).compactMap(Int.init).sorted().compactMap { Thread("\(folder)/\($0)", $0) }
    }

    /// Some thread runs, or would if the machine let it.
    package var isBusy: Bool { threads.contains { $0.state == "R" || $0.state == "D" } }
    package var ran: Int { threads.reduce(0) { $0 + $1.ran } }
    package var waited: Int { threads.reduce(0) { $0 + $1.waited } }
}

/// Files of /proc, which are short, and may be gone at any time.
enum ProcFile {
    static func text(_ path: String) -> String? {
        guard let bytes = try? FileBytes.read(path) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    static func names(in folder: String) -> [String] {
        guard let directory = opendir(folder) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { names.append(String(cString: $0)) }
            }
        }
        return names
    }
}
