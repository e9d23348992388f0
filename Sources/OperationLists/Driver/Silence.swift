// SPDX-License-Identifier: GPL-2.0-only
import Glibc
import LibraryClient

/// How long a process has said nothing for no good reason: seconds in which it slept, and seconds of CPU that it used.
/// What it waited for a CPU does not count, nor does time in which this process did not look: on a machine that
/// has more to do than it can, no library hangs for that.
struct Silence {
    private struct Look {
        var time: Int
        var threads: ProcessThreads
    }

    /// Nanoseconds.
    private static let second = 1_000_000_000
    private var nextLook: Int
    private var last: Look?
    private var slept = 0, ran = 0, waited = 0

    init() { nextLook = Self.now + Self.second }

    /// It said something.
    mutating func end() { self = Silence() }

    /// Looks at it, once a second at most; whether it has been silent for so long.
    mutating func isLongerThan(seconds: Int, _ pid: pid_t) -> Bool {
        let time = Self.now
        guard time >= nextLook else { return false }
        nextLook = time + Self.second
        let look = Look(time: time, threads: ProcessThreads(of: pid))
        if let last {
            add(time: look.time - last.time, ran: look.threads.ran - last.threads.ran,
                waited: look.threads.waited - last.threads.waited, isBusy: look.threads.isBusy)
        }
        last = look
        return slept + ran > seconds * Self.second
    }

    /// What is between two looks: nanoseconds, and whether it is on a CPU or waits for one in the end.  A longer
    /// time than there should be was not the other process's: this one did not look.
    mutating func add(time: Int, ran: Int, waited: Int, isBusy: Bool) {
        // Less than before is a thread that has ended.
        let ran = max(0, ran), waited = max(0, waited)
        self.ran += ran
        self.waited += waited
        if !isBusy { slept += max(0, min(time, 2 * Self.second) - ran - waited) }
    }

    var text: String { "slept \(Self.seconds(slept)) s, ran \(Self.seconds(ran)) s, waited for a CPU \(Self.seconds(waited)) s" }

    private static func seconds(_ nanoseconds: Int) -> String {
        let tenths = nanoseconds / (second / 10)
        return "\(tenths / 10).\(tenths % 10)"
    }

    /// Of a clock that only goes forward.
    static var now: Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * second + time.tv_nsec
    }
}
