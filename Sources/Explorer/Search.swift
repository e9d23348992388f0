// SPDX-License-Identifier: GPL-2.0-only
// All schedules with at most so many preemptions, depth first.
//
// What is left out, and why nothing is lost by it:
//  * a switch at a step whose word no two threads share: the step commutes with all of the others';
//  * a thread that was preempted before a step goes on only after another has touched that step's word:
//    else the same comes of a preemption after the step, which is as many, and is tried as well.
//    (Only who was preempted sleeps so: where a thread cannot go on the choice of the next costs no preemption, and
//    the same in another order might cost one.);
//  * what follows a state that was seen, in the same thread, with the same sleepers and as many preemptions left.
//    A state is the order of all steps at shared words, as far as they do not commute.
#if SCHEDULE_POINTS
import CSchedule

/// A place in a schedule at which it could have gone on otherwise.
private struct Choice {
    var chosen: Int8
    /// Those that are still to be tried.
    var left: UInt32
    /// What it was like there: a scenario has to do the same each time.
    let steps: UInt32, ready: UInt32
}

struct Search {
    private var path: UnsafeMutablePointer<Choice>
    private var room = 1 << 16
    private var count = 0
    /// The next choice of the schedule that runs.
    private var depth = 0
    private var preemptions = 0
    private var prefix: UInt64 = 0
    private(set) var deepest = 0
    private let bound: Int
    private let remembers: Bool
    private let shard: UInt64, shards: UInt64
    private(set) var seen = SeenStates()

    init(bound: Int, remembers: Bool, shard: UInt64, shards: UInt64) {
        (self.bound, self.remembers, self.shard, self.shards) = (bound, remembers, shard, shards)
        path = UnsafeMutablePointer.allocate(capacity: room)
    }

    mutating func startAgain() {
        count = 0
        deepest = 0
        seen.forgetAll()
        begin()
    }

    mutating func begin() {
        depth = 0
        preemptions = 0
        prefix = 0
    }

    /// On to the next schedule; false: there is none.
    mutating func advance() -> Bool {
        while count > 0 {
            let left = path[count - 1].left
            if left != 0 {
                path[count - 1].chosen = Int8(left.trailingZeroBitCount)
                path[count - 1].left = left & (left - 1)
                return true
            }
            count -= 1
        }
        return false
    }

    // MARK: Shards

    /// So many preemptions tell which shard a schedule belongs to.
    private var tellingPreemptions: Int { min(2, bound) }

    private var isOurs: Bool { shards == 1 || mixed(prefix, 0x51ed) % shards == shard - 1 }

    /// The schedule has run to its end: one with fewer preemptions than tell runs in each shard, and counts in one.
    var counts: Bool { isOurs }

    /// Below here all is this shard's.
    private var isBelowBorder: Bool { shards == 1 || preemptions >= tellingPreemptions }

    // MARK: Decisions

    /// As an answer: the schedule is not what it was.
    private var differs: Int { Int(CS_DIFFERS) }

    mutating func decide(_ engine: UnsafeMutablePointer<cs_engine>, _ current: Int, _ ready: UInt32, isFree: Bool) -> Int {
        let awake = ready & ~engine.pointee.asleep
        let own: UInt32 = current >= 0 ? 1 << UInt32(current) : 0
        let others = isFree ? awake : awake & ~own
        if !isFree && (preemptions >= bound || others == 0) { return current }
        // All that could go on would do what was tried before.
        if others == 0 { return -1 }
        if isFree && others & (others - 1) == 0 { return others.trailingZeroBitCount }
        if depth < count {
            let chosen = Int(path[depth].chosen)
            if path[depth].steps != engine.pointee.steps || path[depth].ready != ready { return differs }
            depth += 1
            return take(chosen, engine, current, isFree)
        }
        if remembers && isBelowBorder && !seen.add(state(engine, current, isFree), left: bound - preemptions) { return -1 }
        return push(isFree ? others.trailingZeroBitCount : current, isFree ? others & (others - 1) : others,
                    engine, current, isFree, ready)
    }

    private mutating func push(
        _ chosen: Int, _ left: UInt32, _ engine: UnsafeMutablePointer<cs_engine>, _ current: Int, _ isFree: Bool,
        _ ready: UInt32
    ) -> Int {
        if count == room { grow() }
        path[count] = Choice(chosen: Int8(chosen), left: left, steps: engine.pointee.steps, ready: ready)
        count += 1
        depth = count
        if depth > deepest { deepest = depth }
        return take(chosen, engine, current, isFree)
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Choice>.allocate(capacity: room * 2)
        larger.update(from: path, count: count)
        path.deallocate()
        path = larger
        room *= 2
    }

    private mutating func take(
        _ chosen: Int, _ engine: UnsafeMutablePointer<cs_engine>, _ current: Int, _ isFree: Bool
    ) -> Int {
        if chosen == current && !isFree { return chosen }
        // Up to the preemption that tells: what comes later is of the same shard.
        if preemptions < tellingPreemptions { prefix = mixed(prefix, UInt64(engine.pointee.steps) << 8 | UInt64(chosen)) }
        guard !isFree else { return chosen }
        preemptions += 1
        if remembers { engine.pointee.asleep |= 1 << UInt32(current) }
        if preemptions == tellingPreemptions && !isOurs { return -1 }
        return chosen
    }

    private func state(_ engine: UnsafeMutablePointer<cs_engine>, _ current: Int, _ isFree: Bool) -> UInt64 {
        var hash = mixed(UInt64(truncatingIfNeeded: current) << 1 | (isFree ? 1 : 0), UInt64(engine.pointee.asleep))
        for i in 0..<Int32(CS_THREADS) { hash = mixed(hash, cs_thread_at(engine, i).pointee.hash) }
        return hash
    }
}
#endif
