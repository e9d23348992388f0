// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync
import Synchronization

/// The host is about to take pages away: faults must not map what they looked up
/// before.
extension VM {
    package func beginInvalidation(_ hold: borrowing HeldForWrite) {
        trace(TDPMMU_TRACE_INV_BEGIN)
        state.pointee.invalidationsRunning.wrappingAdd(1, ordering: .relaxed)
        if state.pointee.invalidationsRunning.load(ordering: .relaxed) == 1 {
            state.pointee.invalidateStart.store(.max, ordering: .relaxed)
            state.pointee.invalidateEnd.store(0, ordering: .relaxed)
        }
    }

    /// Are the host's pages of a slot that is about to be seen perhaps going away?
    func isInvalidating(_ hold: borrowing HeldForWrite) -> Bool {
        state.pointee.invalidationsRunning.load(ordering: .relaxed) != 0
    }

    /// Several at once: the range that holds them all.
    package func addInvalidation(start: GFN, end: GFN, _ hold: borrowing HeldForWrite) {
        traceRange(TDPMMU_TRACE_INV_RANGE, start, end)
        let state = state
        state.pointee.invalidateStart.store(
            min(start.raw, state.pointee.invalidateStart.load(ordering: .relaxed)), ordering: .relaxed)
        state.pointee.invalidateEnd.store(
            max(end.raw, state.pointee.invalidateEnd.load(ordering: .relaxed)), ordering: .relaxed)
    }

    /// False: none was under way.
    package func endInvalidation(_ hold: borrowing HeldForWrite) -> Bool {
        guard state.pointee.invalidationsRunning.load(ordering: .relaxed) > 0 else { return false }
        trace(TDPMMU_TRACE_INV_END)
        // Release: pairs with the acquire in `invalidateSequence`; a fault that reads
        // the new number asks the host again after the invalidation.
        state.pointee.invalidateSequence.wrappingAdd(1, ordering: .releasing)
        state.pointee.invalidationsRunning.wrappingSubtract(1, ordering: .relaxed)
        return true
    }

    /// To be read before the host is asked for the page.
    var invalidateSequence: UInt64 { state.pointee.invalidateSequence.load(ordering: .acquiring) }

    /// Must a fault that read `sequence` ask again?
    func isStale(_ gfn: GFN, _ sequence: UInt64, _ hold: borrowing HeldForRead) -> Bool {
        if state.pointee.invalidationsRunning.load(ordering: .relaxed) != 0 {
            let start = state.pointee.invalidateStart.load(ordering: .relaxed)
            let end = state.pointee.invalidateEnd.load(ordering: .relaxed)
            if gfn.raw >= start && gfn.raw < end { return true }
        }
        return state.pointee.invalidateSequence.load(ordering: .relaxed) != sequence
    }
}
