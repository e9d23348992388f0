// SPDX-License-Identifier: GPL-2.0-only

/// Where a walk is.
struct WalkPlace {
    var gfn: UInt64
    var level: Int
    var spte: UInt64
    /// The gfn that the walk looks for.
    var nextGFN: UInt64
}

/// Who is asked, and told, in the middle of an operation and on its thread.
protocol WalkObserver: AnyObject {
    /// A walk is before an entry: does it give way?
    func yields(at place: WalkPlace) -> Bool
    /// An operation is in its middle, and mmu_lock is free.
    func comeInBetween()
    /// An SPTE has changed.
    func hasChanged()
}
