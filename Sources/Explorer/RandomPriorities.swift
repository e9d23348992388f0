// SPDX-License-Identifier: GPL-2.0-only
// Schedules by random priorities: of the threads that can go on the one with the highest does, and at a few steps
// the one that runs becomes the last of all.  A mistake that takes the order of d steps is found with a probability
// of at least 1 / (threads * steps ^ (d - 1)) (Burckhardt and others, 2010).
#if SCHEDULE_POINTS
import CSchedule

struct RandomPriorities {
    private let seed: UInt64
    private let changes: Int
    private var number: UInt64 = 0
    private var state: UInt64 = 1
    private var points = 0
    /// Of the longest schedule so far.
    private var mostPoints = 64
    private var lowest = 0
    private var priority: UnsafeMutablePointer<Int>
    private var at: UnsafeMutablePointer<Int>

    init(seed: UInt64, depth: Int) {
        self.seed = seed
        changes = depth - 1
        priority = UnsafeMutablePointer.allocate(capacity: Int(CS_THREADS))
        at = UnsafeMutablePointer.allocate(capacity: depth)
    }

    private mutating func next(_ below: Int) -> Int {
        state = mixed(state, 0x9e37_79b9_7f4a_7c15)
        return Int(state >> 33) % below
    }

    mutating func begin() {
        if points > mostPoints { mostPoints = points }
        points = 0
        lowest = 0
        state = mixed(seed, number &+ 1)
        number &+= 1
        for i in 0..<Int(CS_THREADS) { priority[i] = 1000 + i }
        for i in stride(from: Int(CS_THREADS) - 1, to: 0, by: -1) {
            let j = next(i + 1), kept = priority[i]
            priority[i] = priority[j]
            priority[j] = kept
        }
        for i in 0..<changes { at[i] = 1 + next(mostPoints) }
    }

    mutating func decide(_ current: Int, _ ready: UInt32, isFree: Bool) -> Int {
        points += 1
        for i in 0..<changes where at[i] == points && current >= 0 {
            lowest -= 1
            priority[current] = lowest
        }
        var best = -1, left = ready
        while left != 0 {
            let thread = left.trailingZeroBitCount
            if best < 0 || priority[thread] > priority[best] { best = thread }
            left &= left - 1
        }
        return best
    }
}
#endif
