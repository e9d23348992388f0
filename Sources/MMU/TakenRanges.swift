// SPDX-License-Identifier: GPL-2.0-only

/// The host's ranges that were taken back and are not given again: between invalidate_range_start() and its end.  For
/// the checker, which finds leaves there without asking the rig.  Under mmu_lock for write.
struct TakenRanges {
    private var starts = InlineArray<7, UInt64>(repeating: 0)
    private var ends = InlineArray<7, UInt64>(repeating: 0)
    private(set) var count = 0
    private let reserved = Reserved<1>(repeating: 0)

    /// Nothing maps it any more.  One too many is not noted.
    @inline(never) @_optimize(size)
    mutating func add(_ start: UInt64, _ end: UInt64) {
        guard count < starts.count else { return }
        starts[unchecked: count] = start
        ends[unchecked: count] = end
        count &+= 1
    }

    /// Of a range that was not noted it is not known which one ends: nothing is, then.
    @inline(never) @_optimize(size)
    mutating func remove(_ start: UInt64, _ end: UInt64) {
        var i = 0
        while i < count && (starts[unchecked: i] != start || ends[unchecked: i] != end) { i &+= 1 }
        guard i < count else {
            count = 0
            return
        }
        count &-= 1
        starts[unchecked: i] = starts[unchecked: count]
        ends[unchecked: i] = ends[unchecked: count]
    }

    func touches(_ start: UInt64, _ end: UInt64) -> Bool {
        var i = 0
        while i < count && !(starts[unchecked: i] < end && start < ends[unchecked: i]) { i &+= 1 }
        return i < count
    }
}
