// SPDX-License-Identifier: GPL-2.0-only
import Glibc

/// Waits that Ctrl-C ends, and not the tool.
struct Pause {
    private var signals = sigset_t()

    /// From now on SIGINT and SIGTERM only end a wait.
    init() {
        sigemptyset(&signals)
        sigaddset(&signals, SIGINT)
        sigaddset(&signals, SIGTERM)
        sigprocmask(SIG_BLOCK, &signals, nil)
    }

    /// False: it is over.
    func wait(seconds: Double) -> Bool {
        var signals = signals
        let whole = seconds.rounded(.down)
        var time = timespec(tv_sec: Int(whole), tv_nsec: Int((seconds - whole) * 1e9))
        while true {
            if sigtimedwait(&signals, nil, &time) > 0 { return false }
            if errno != EINTR { return true }
        }
    }

    /// Seconds of a clock that nobody sets.
    static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
