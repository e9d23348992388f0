// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync
import Synchronization

/// What is known of the gfns that an invalidation is about.
enum InvalidationRange: UInt8 {
    case unnamed
    /// A fault came before the name, and that was told.
    case unnamedAndTold
    case named
}

package enum InvalidationEnd {
    case done
    /// It ended, and addInvalidation() was never called for it.
    case unnamed
    case noneUnderWay
}

/// The host is about to take pages away: faults must not map what they looked up
/// before.
extension VM {
    /// isNamed: it is about nothing but the ranges that are added under this hold of mmu_lock.
    package func beginInvalidation(isNamed: Bool = false, _ hold: borrowing HeldForWrite) {
        trace(TDPMMU_TRACE_INV_BEGIN)
        state.pointee.invalidationsRunning.wrappingAdd(1, ordering: .relaxed)
        if state.pointee.invalidationsRunning.load(ordering: .relaxed) == 1 {
            state.pointee.invalidateStart.store(.max, ordering: .relaxed)
            state.pointee.invalidateEnd.store(0, ordering: .relaxed)
            name(isNamed ? .named : .unnamed)
        }
    }

    private func name(_ range: InvalidationRange) {
        state.pointee.invalidationRange.store(range.rawValue, ordering: .relaxed)
    }

    /// Are the host's pages of a slot that is about to be seen perhaps going away?
    @inline(__always)
    package var isInvalidating: Bool { state.pointee.invalidationsRunning.load(ordering: .relaxed) != 0 }

    /// Several at once: the range that holds them all.
    package func addInvalidation(start: GFN, end: GFN, _ hold: borrowing HeldForWrite) {
        traceRange(TDPMMU_TRACE_INV_RANGE, start, end)
        let state = state
        state.pointee.invalidateStart.store(
            min(start.raw, state.pointee.invalidateStart.load(ordering: .relaxed)), ordering: .relaxed)
        state.pointee.invalidateEnd.store(
            max(end.raw, state.pointee.invalidateEnd.load(ordering: .relaxed)), ordering: .relaxed)
        name(.named)
    }

    package func endInvalidation(_ hold: borrowing HeldForWrite) -> InvalidationEnd {
        guard state.pointee.invalidationsRunning.load(ordering: .relaxed) > 0 else { return .noneUnderWay }
        trace(TDPMMU_TRACE_INV_END)
        // Release: pairs with the acquire in `invalidateSequence`; a fault that reads
        // the new number asks the host again after the invalidation.
        state.pointee.invalidateSequence.wrappingAdd(1, ordering: .releasing)
        state.pointee.invalidationsRunning.wrappingSubtract(1, ordering: .relaxed)
        let isNamed = state.pointee.invalidationRange.load(ordering: .relaxed) == InvalidationRange.named.rawValue
        return isNamed ? .done : .unnamed
    }

    /// To be read before the host is asked for the page.  Acquire: pairs with endInvalidation().
    @inline(__always)
    var invalidateSequence: UInt64 { state.pointee.invalidateSequence.load(ordering: .acquiring) }

    /// Must a fault that read `sequence` ask again?
    @inline(__always)
    func isStale(_ gfn: GFN, _ sequence: UInt64, _ hold: borrowing HeldForRead) -> Bool {
        isInvalidating ? isStaleAmongInvalidations(gfn, sequence) : sequence != currentSequence
    }

    @inline(never)
    private func isStaleAmongInvalidations(_ gfn: GFN, _ sequence: UInt64) -> Bool {
        complainIfUnnamed(gfn) || isGoingAway(gfn) || sequence != currentSequence
    }

    /// The same without mmu_lock, and so perhaps wrong both ways: it spares the host a question and
    /// the lock its readers, and does not stand for the check under it.
    @inline(__always)
    func isProbablyStale(_ gfn: GFN, _ sequence: UInt64) -> Bool {
        isInvalidating && isGoingAway(gfn) || sequence != currentSequence
    }

    @inline(__always)
    private var currentSequence: UInt64 { state.pointee.invalidateSequence.load(ordering: .relaxed) }

    @inline(never)
    private func isGoingAway(_ gfn: GFN) -> Bool {
        gfn.raw >= state.pointee.invalidateStart.load(ordering: .relaxed)
            && gfn.raw < state.pointee.invalidateEnd.load(ordering: .relaxed)
    }

    /// mmu_lock was dropped before the range was named: any gfn may be meant.
    @inline(never)
    private func complainIfUnnamed(_ gfn: GFN) -> Bool {
        let (isFirst, seen) = state.pointee.invalidationRange.compareExchange(
            expected: InvalidationRange.unnamed.rawValue, desired: InvalidationRange.unnamedAndTold.rawValue,
            ordering: .relaxed)
        if isFirst {
            warn(.argument, "kvm_mmu_invalidate_begin", "mmu_lock was dropped before a range was added (gfn)", gfn.raw)
        }
        return seen != InvalidationRange.named.rawValue
    }
}
