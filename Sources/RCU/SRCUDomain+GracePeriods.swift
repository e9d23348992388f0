// SPDX-License-Identifier: GPL-2.0-only
// Grace periods of an SRCU domain; what is not package is called with the SRCU mutex
// held.  SRCU.swift has the algorithm.
import CPlatform
import Sync
import Synchronization

extension SRCUDomain {
    /// Is nobody inside with this index?  Who leaves is counted first: a reader that
    /// moves between the two sums then looks inside, never outside.
    func isDrained(_ which: UInt32) -> Bool {
        var outside: UInt64 = 0
        var inside: UInt64 = 0
        for shard in 0..<UInt64(CP_SRCU_SHARDS) {
            // Acquire: pairs with the release in leave.
            outside &+= left(which, shard).pointee.load(ordering: .acquiring)
        }
        // Between the sums: pairs with the full fence in readLock.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        for shard in 0..<UInt64(CP_SRCU_SHARDS) {
            inside &+= entered(which, shard).pointee.load(ordering: .acquiring)
        }
        return inside == outside && !(hasNotes && ReaderNotes.isInside(srcu: note(which)))
    }

    /// Between what is written and the look at readers: pairs with the fences in readLock and leave.
    private func fenceReaders() {
        guard hasNotes else { return atomicMemoryFence(ordering: .sequentiallyConsistent) }
        cp_sections_fenced()
        ReaderNotes.heavyFence()
    }

    private func isQuiet(_ which: UInt32) -> Bool {
        if Breakable.srcu.isBroken || isDrained(which) { return true }
        askLeavers()
        return isDrained(which)
    }

    /// Who leaves from now on wakes us, or has left for who looks now: pairs with the fences in leave
    /// and leaveNoted.  A membarrier is for as long as the bit stays; the mutex keeps others from setting
    /// it again without one.
    private func askLeavers() {
        let all = cp_srcu_all()
        let before = SRCU.waiting.pointee.bitwiseOr(bucket, ordering: .relaxed).oldValue
        if before & bucket == 0 { all.pointee.heavy &= ~bucket }
        if hasNotes, all.pointee.heavy & bucket == 0 {
            fenceReaders()
            all.pointee.heavy |= bucket
        } else {
            atomicMemoryFence(ordering: .sequentiallyConsistent)
        }
    }

    /// The grace period that begins next.
    var nextNumber: UInt64 {
        state.pointee.completed &+ (state.pointee.phase == restPhase ? 1 : 2)
    }

    /// Run wanted grace periods, as far as it goes without waiting.
    func advance() {
        let state = state
        while true {
            switch state.pointee.phase {
            case restPhase:
                if state.pointee.completed >= state.pointee.wanted {
                    if !hasWork { delist() }
                    return
                }
                // What the callers unlinked comes before all counts and notes that are read.
                fenceReaders()
                state.pointee.phase = drainOther
            case drainOther:
                let now = index.pointee.load(ordering: .relaxed)
                if !isQuiet(UInt32(truncatingIfNeeded: now & 1) ^ 1) { return }
                // Release: pairs with the acquire in readLock.
                index.pointee.store(now &+ 1, ordering: .releasing)
                // The new index before the counts of the old: pairs with the full fence in
                // readLock.
                atomicMemoryFence(ordering: .sequentiallyConsistent)
                state.pointee.phase = drainOld
            default:
                let now = index.pointee.load(ordering: .relaxed)
                if !isQuiet(UInt32(truncatingIfNeeded: now & 1) ^ 1) { return }
                state.pointee.completed &+= 1
                state.pointee.phase = restPhase
                ripen(state.pointee.completed & 1)
                SRCU.changed()
            }
        }
    }

    private var restPhase: UInt8 { 0 }
    private var drainOther: UInt8 { 1 }
    private var drainOld: UInt8 { 2 }

    /// Is there a grace period to run, or a callback?
    var hasWork: Bool {
        state.pointee.wanted > state.pointee.completed || state.pointee.queued != state.pointee.invoked
    }

    /// Number of the next grace period, which is wanted from now on.
    func want() -> UInt64 {
        let number = nextNumber
        if state.pointee.wanted < number { state.pointee.wanted = number }
        return number
    }
}
