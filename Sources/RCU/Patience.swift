// SPDX-License-Identifier: GPL-2.0-only
// Waiting for one reader.
import CPlatform
import Sync
import Synchronization

/// How to wait for a reader: yield first, then sleep until it wakes us.  As a wake-up
/// may get lost, sleep at most an eighth longer than waited so far, so that being
/// late is bounded in proportion.
struct Patience {
    private var rounds = 0
    private var sleepNS: UInt64 = 50_000
    private var begunNS: UInt64 = 0
    private var complainAtNS = UInt64.max

    private static let yields = 3
    private static let longestSleepNS: UInt64 = 1_000_000
    /// Expedited: yields before sleeping all the same.
    private static let hurriedYields = 2_000

    private var yieldsNow: Int {
        shared(cp_gp_hurry()).pointee.load(ordering: .relaxed) == 0
            ? Self.yields : Self.hurriedYields
    }

    /// Is the next wait a sleep?
    var willSleep: Bool { rounds >= yieldsNow }

    /// `seen` is the ReaderEvent's value before the readers were looked at.
    mutating func wait(_ seen: UInt32) {
        rounds += 1
        if rounds <= yieldsNow {
            cp_yield()
            return
        }
        if begunNS == 0 {
            begunNS = cp_monotonic_ns()
            setNextComplaint(after: begunNS)
        }
        cp_futex_wait(cp_gp_event(), seen, sleepNS)
        sleepNS = min(sleepNS &+ sleepNS / 8, Self.longestSleepNS)
    }

    private mutating func setNextComplaint(after now: UInt64) {
        let limit = UInt64(shared(cp_gp_stall_ms()).pointee.load(ordering: .relaxed))
        complainAtNS = limit == 0 ? UInt64.max : now &+ limit &* 1_000_000
    }

    /// No mutex held but gp_mutex.
    mutating func complainIfStalled(_ thread: UInt64) {
        guard begunNS != 0 else { return }
        let now = cp_monotonic_ns()
        if now < complainAtNS { return }
        let milliseconds = (now &- begunNS) / 1_000_000
        let own = cp_self()
        own.pointee.in_report = 1
        var sentence = cp_stall_text()
        cp_describe_stall(&sentence, thread, milliseconds)
        warn(.rcu, "synchronize_rcu", composed: cp_stall_sentence(&sentence), thread, milliseconds)
        own.pointee.in_report = 0
        setNextComplaint(after: now)
    }
}
