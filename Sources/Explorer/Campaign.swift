// SPDX-License-Identifier: GPL-2.0-only
#if SCHEDULE_POINTS
import CSchedule
import CTDPMMU

/// Who decides; what the engine calls with.
private struct Decider {
    var search: Search
    var random: RandomPriorities
    var repetition: Repetition?
    var isRandom: Bool
}

private func decide(_ context: UnsafeMutableRawPointer, _ current: Int32, _ ready: UInt32, _ isFree: Bool) -> Int32 {
    let decider = context.assumingMemoryBound(to: Decider.self), engine = cs_now()
    if decider.pointee.repetition != nil {
        return Int32(decider.pointee.repetition!.decide(engine, Int(current), ready, isFree: isFree))
    }
    if decider.pointee.isRandom { return Int32(decider.pointee.random.decide(Int(current), ready, isFree: isFree)) }
    return Int32(decider.pointee.search.decide(engine, Int(current), ready, isFree: isFree))
}

private struct Campaign {
    let scenario: UnsafePointer<tdpmmu_scenario>
    let options: cs_options
    let result: UnsafeMutablePointer<cs_result>
    let decider: UnsafeMutablePointer<Decider>
    let begun = cs_seconds()
    var told = 0.0

    /// Random schedules before a search: words that threads share are known sooner.
    private static var soundings: Int { 200 }

    init(_ scenario: UnsafePointer<tdpmmu_scenario>, _ options: cs_options, _ result: UnsafeMutablePointer<cs_result>) {
        (self.scenario, self.options, self.result) = (scenario, options, result)
        decider = UnsafeMutablePointer.allocate(capacity: 1)
        decider.initialize(to: Decider(
            search: Search(bound: Int(options.preemptions), remembers: !options.is_whole,
                           shard: UInt64(options.shard), shards: UInt64(options.shards)),
            random: RandomPriorities(seed: options.mode == CS_RANDOM ? options.seed : 1,
                                     depth: options.mode == CS_RANDOM ? Int(options.depth) : 4),
            repetition: nil, isRandom: true))
        cs_now().pointee.decide = decide
        cs_now().pointee.context = UnsafeMutableRawPointer(decider)
    }

    /// False: it failed.
    private func tryOnce() -> cs_outcome {
        let outcome = cs_try(scenario)
        if cs_now().pointee.steps > result.pointee.longest { result.pointee.longest = cs_now().pointee.steps }
        if outcome == CS_FAILED { cs_take_failure(result) }
        return outcome
    }

    /// A schedule that ended.
    private func countSchedule() {
        result.pointee.schedules += 1
        if options.shows_ends { cs_note_end(result) }
    }

    private mutating func tellProgress(_ depth: Int) {
        let now = cs_seconds()
        result.pointee.seconds = now - begun
        guard options.progress, now - told >= 1 else { return }
        told = now
        cs_tell_progress(scenario, result, UInt32(depth))
    }

    mutating func run() {
        if options.mode == CS_REPLAY { return repeatOne() }
        let count = options.mode == CS_RANDOM ? options.count : UInt64(Self.soundings)
        if !runRandom(count, counts: options.mode == CS_RANDOM) || options.mode == CS_RANDOM { return }
        decider.pointee.isRandom = false
        searchAll()
    }

    private mutating func runRandom(_ count: UInt64, counts: Bool) -> Bool {
        var number: UInt64 = 0
        while number < count {
            decider.pointee.random.begin()
            number += 1
            // Of another shard: the priorities are drawn, and that is all.
            if counts && number % UInt64(options.shards) != UInt64(options.shard) % UInt64(options.shards) { continue }
            if tryOnce() == CS_FAILED { return false }
            if counts { countSchedule() }
            if number % 64 == 0 { tellProgress(0) }
        }
        tellProgress(0)
        return true
    }

    private mutating func searchAll() {
        cs_now().pointee.found_shared = false
        decider.pointee.search.begin()
        while true {
            let outcome = tryOnce()
            if outcome == CS_FAILED { break }
            if outcome == CS_DONE && decider.pointee.search.counts { countSchedule() }
            if outcome == CS_ABANDONED { result.pointee.left += 1 }
            if (result.pointee.schedules + result.pointee.left) % 64 == 0 { tellProgress(decider.pointee.search.deepest) }
            if options.limit != 0 && result.pointee.schedules >= options.limit {
                result.pointee.is_cut = true
                break
            }
            if cs_now().pointee.found_shared {
                // Points were passed by that are some: from the beginning.
                cs_now().pointee.found_shared = false
                result.pointee.restarts += 1
                result.pointee.schedules = 0
                result.pointee.end_count = 0
                result.pointee.left = 0
                decider.pointee.search.startAgain()
                continue
            }
            if !decider.pointee.search.advance() { break }
            decider.pointee.search.begin()
        }
        tellProgress(decider.pointee.search.deepest)
        result.pointee.states = UInt64(decider.pointee.search.seen.count)
        result.pointee.shared = cs_count_shared()
    }

    private func repeatOne() {
        guard let stretches = options.stretches else { return }
        decider.pointee.repetition = Repetition(stretches, count: Int(options.stretch_count))
        cs_now().pointee.all_points = true
        cs_now().pointee.is_recording = true
        let outcome = tryOnce()
        result.pointee.schedules = 1
        let repetition = decider.pointee.repetition.unsafelyUnwrapped
        result.pointee.misfit = outcome == CS_ABANDONED || repetition.isMisfit || !repetition.isWhole
    }
}

/// For the module CSchedule, which reads options and prints.
@c @implementation
public func explorer_campaign(
    _ scenario: UnsafePointer<tdpmmu_scenario>, _ options: UnsafePointer<cs_options>, _ result: UnsafeMutablePointer<cs_result>
) {
    var campaign = Campaign(scenario, options.pointee, result)
    campaign.run()
}
#endif
