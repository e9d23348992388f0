// SPDX-License-Identifier: GPL-2.0-only
#if SCHEDULE_POINTS
import CSchedule

/// A schedule that is given: stretches of steps, each of a thread.
struct Repetition {
    private let stretches: UnsafePointer<cs_stretch>
    private let count: Int
    private var place = 0
    /// Where it does not fit: a thread that cannot go on, or does not get that far.
    private(set) var isMisfit = false

    init(_ stretches: UnsafePointer<cs_stretch>, count: Int) {
        self.stretches = stretches
        self.count = count
    }

    mutating func decide(
        _ engine: UnsafeMutablePointer<cs_engine>, _ current: Int, _ ready: UInt32, isFree: Bool
    ) -> Int {
        if current < 0 { return go(on: 0, ready) }
        guard place < count else { return isFree ? ready.trailingZeroBitCount : current }
        let steps = engine.pointee.stretch_steps
        if steps < stretches[place].steps {
            guard isFree else { return current }
            // One that gave way, and goes on itself.
            if ready & (1 << UInt32(current)) != 0 { return current }
            isMisfit = true
            return -1
        }
        return go(on: place + 1, ready, isFree ? nil : current)
    }

    private mutating func go(on next: Int, _ ready: UInt32, _ current: Int? = nil) -> Int {
        place = next
        guard next < count else { return current ?? ready.trailingZeroBitCount }
        let thread = stretches[next].thread
        if thread < 32 && ready & (1 << thread) != 0 { return Int(thread) }
        isMisfit = true
        return -1
    }

    /// Of a schedule that ended: were all stretches made?
    var isWhole: Bool { place + 1 >= count }
}
#endif
