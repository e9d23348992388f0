// SPDX-License-Identifier: GPL-2.0-only
// Which reader-writer locks the calling thread holds: a small table in the thread's own
// memory, newest last; and one that it has a note of (ReaderNotes.swift) instead.
import CPlatform
import CTDPMMU
import Synchronization

package enum LockHolds {
    typealias Lock = UnsafeMutablePointer<tdpmmu_rwlock>
    private typealias Hold = UnsafeMutablePointer<cp_hold>

    /// How often this thread holds the lock for read.
    @inline(__always)
    static func reads(_ lock: Lock) -> UInt32 {
        if isNoted(lock) { return 1 &+ ReaderNotes.deeperLock.pointee }
        return find(lock)?.pointee.reads ?? 0
    }

    /// Does it hold the lock, for read or for write?
    @inline(__always)
    static func contains(_ lock: Lock) -> Bool { isNoted(lock) || isInTable(lock) }

    @inline(__always)
    static func isInTable(_ lock: Lock) -> Bool { find(lock) != nil }

    /// Does it hold the lock by its note?
    @inline(__always)
    static func isNoted(_ lock: Lock) -> Bool {
        ReaderNotes.lock.pointee.load(ordering: .relaxed) == UInt(bitPattern: lock)
    }

    /// The lock of the note.
    private static var noted: Lock? { Lock(bitPattern: ReaderNotes.lock.pointee.load(ordering: .relaxed)) }

    @inline(__always)
    private static func find(_ lock: Lock) -> Hold? {
        let thread = cp_self()
        let holds = cp_thread_holds(thread)
        var i = Int(thread.pointee.hold_count)
        while i > 0 {
            i &-= 1
            if holds[i].lock == lock { return holds + i }
        }
        return nil
    }

    /// Does this thread hold no lock at all, neither by an entry of the table nor by its note?
    @inline(__always)
    package static var isEmpty: Bool {
        UInt(cp_self().pointee.hold_count) | ReaderNotes.lock.pointee.load(ordering: .relaxed) == 0
    }

    /// And no mutex with a rank, either?
    @inline(__always)
    static var isFree: Bool {
        cp_thread_holdings(cp_self()) | UInt64(ReaderNotes.lock.pointee.load(ordering: .relaxed)) == 0
    }

    /// Locks that it holds, each by an entry or by the note.
    package static var count: Int {
        entryCount &+ (ReaderNotes.lock.pointee.load(ordering: .relaxed) == 0 ? 0 : 1)
    }

    /// Entries of the table.
    private static var entryCount: Int { Int(cp_self().pointee.hold_count) }

    /// Is one of them a VM's mmu_lock?
    static var containsRanked: Bool {
        if let noted, noted.pointee.rank != 0 { return true }
        let holds = cp_thread_holds(cp_self())
        for i in 0..<entryCount where holds[i].rank != 0 { return true }
        return false
    }

    /// Make room for so many more entries, two at most; false if there is no memory.
    @inline(__always)
    static func reserve(_ room: UInt32) -> Bool {
        let thread = cp_self()
        return thread.pointee.hold_count &+ room <= thread.pointee.hold_capacity || reserveSlow()
    }

    @inline(never)
    private static func reserveSlow() -> Bool {
        let thread = cp_self()
        if thread.pointee.hold_capacity == 0 {
            // The thread's first lock.  Where its exit cannot be seen, locks that it still
            // holds then go without a warning.
            _ = cp_thread_at_exit(CP_EXIT_LOCKS, lockHolderExits)
            thread.pointee.hold_capacity = UInt32(CP_INLINE_HOLDS)
            return true
        }
        let capacity = Int(thread.pointee.hold_capacity)
        guard let raw = cp_malloc(2 * capacity * MemoryLayout<cp_hold>.stride) else { return false }
        let larger = raw.bindMemory(to: cp_hold.self, capacity: 2 * capacity)
        larger.initialize(from: cp_thread_holds(thread), count: entryCount)
        cp_free(thread.pointee.holds)
        thread.pointee.holds = larger
        thread.pointee.hold_capacity = UInt32(2 * capacity)
        return true
    }

    /// Once more for read; false if the table does not have the lock for read.
    @inline(__always)
    static func addRead(_ lock: Lock) -> Bool {
        guard let hold = find(lock), hold.pointee.reads != 0 else { return false }
        hold.pointee.reads &+= 1
        return true
    }

    /// For read, of a lock that is not held; with room reserved.
    @inline(__always)
    static func addFirstRead(_ lock: Lock) {
        append(cp_hold(lock: lock, reads: 1, writes: 0, rank: UInt16(lock.pointee.rank & ~watchedBit)))
    }

    /// With room reserved.
    @inline(__always)
    static func addWrite(_ lock: Lock) {
        append(cp_hold(lock: lock, reads: 0, writes: 1, rank: UInt16(lock.pointee.rank & ~watchedBit)))
    }

    @inline(__always)
    private static func append(_ hold: cp_hold) {
        let thread = cp_self()
        let used = thread.pointee.hold_count
        cp_thread_holds(thread)[Int(used)] = hold
        thread.pointee.hold_count = used &+ 1
    }

    /// In the table for read once less; returns how often it still is, nil if it was not.
    @inline(__always)
    static func removeRead(_ lock: Lock) -> UInt32? {
        guard let hold = find(lock), hold.pointee.reads != 0 else { return nil }
        hold.pointee.reads &-= 1
        let left = hold.pointee.reads
        if left == 0 { drop(hold) }
        return left
    }

    @inline(__always)
    static func removeWrite(_ lock: Lock) {
        let thread = cp_self()
        // Mostly the newest.
        if thread.pointee.holds == nil, thread.pointee.hold_count != 0,
           cp_thread_holds(thread)[Int(thread.pointee.hold_count &- 1)].lock == lock {
            thread.pointee.hold_count &-= 1
        } else {
            removeOlderWrite(lock)
        }
    }

    @inline(never)
    private static func removeOlderWrite(_ lock: Lock) {
        if let hold = find(lock) { drop(hold) }
    }

    /// All holds of the lock at once; false if there are none.
    static func forget(_ lock: Lock) -> Bool {
        let wasNoted = isNoted(lock)
        if wasNoted { leaveNote() }
        guard let hold = find(lock) else { return wasNoted }
        drop(hold)
        return true
    }

    @inline(__always)
    private static func drop(_ hold: Hold) {
        let thread = cp_self()
        let last = thread.pointee.hold_count &- 1
        let newest = cp_thread_holds(thread) + Int(last)
        if hold != newest { hold.pointee = newest.pointee }
        thread.pointee.hold_count = last
        if thread.pointee.holds != nil { shrink() }
    }

    /// Back to the inline table as soon as it is enough: a thread that ends with
    /// its locks released then leaves no memory behind.
    @inline(never)
    private static func shrink() {
        let thread = cp_self()
        guard entryCount <= Int(CP_INLINE_HOLDS) / 2, let heap = thread.pointee.holds else { return }
        thread.pointee.holds = nil
        thread.pointee.hold_capacity = UInt32(CP_INLINE_HOLDS)
        cp_thread_holds(thread).update(from: heap, count: entryCount)
        cp_free(heap)
    }

    /// All holds by the note end.
    private static func leaveNote() {
        ReaderNotes.deeperLock.pointee = 0
        ReaderNotes.leaveLock()
    }

    private static func warnOfExit(_ function: StaticString, _ lock: Lock) {
        warn(.lock, function, "a thread ends while it holds this lock", UInt64(UInt(bitPattern: lock)))
    }

    /// The thread ends.  A VM's lock is released, or all that use the VM would wait for
    /// ever.  Another lock is left alone, for its memory may be gone by now; but a note
    /// goes with the thread whose it is.
    fileprivate static func releaseAllAtExit() {
        if let noted {
            leaveNote()
            warnOfExit("read_lock", noted)
        }
        while entryCount > 0 {
            let last = cp_thread_holds(cp_self()) + (entryCount - 1)
            let hold = last.pointee
            drop(last)
            let word = RWLockWord(hold.lock.unsafelyUnwrapped), isWrite = hold.writes != 0
            warnOfExit(isWrite ? "write_lock" : "read_lock", word.lock)
            if hold.rank == 0 { continue }
            if isWrite {
                shared(cp_lock_owner(word.lock)).pointee.store(0, ordering: .relaxed)
                LockQueue.leaveWrite(word)
            } else {
                _ = LockQueue.leaveRead(word)
            }
        }
    }
}

extension LockOrder {
    /// All locks with a rank that the calling thread holds; readers of RCU and SRCU are
    /// not locks, and known to the module above.
    package static var heldLocks: LockSet {
        var held = mutexes
        if LockHolds.containsRanked { held.insert(.mmu) }
        return held
    }
}

/// The calling thread ends, and nobody will ever unlock what it holds.
private func lockHolderExits() {
    LockHolds.releaseAllAtExit()
    if let rank = LockOrder.mutexes.first {
        warn(.lock, "thread exit", rank.inTheWay, UInt64(rank.rawValue))
    }
}
