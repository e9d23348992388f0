// SPDX-License-Identifier: GPL-2.0-only
// mmu_lock: first come, first served, and it knows who holds it.
//
// The word `state` (RWLockWord.swift) is the whole lock while nobody waits.  A thread
// that has to wait joins a queue (LockQueue.swift) and sets `waitBit`; from then on the
// lock goes from hand to hand in the order of the queue, neighbouring readers together,
// so neither readers nor writers starve, and a holder that lets go because needBreak()
// said so cannot snatch the lock back.
//
// Where writers are rare, readers do not write to the lock: ReaderBias.swift.
import CPlatform
import CTDPMMU
import Synchronization

/// Of a lock's rank.
let watchedBit: UInt8 = 0x80

package struct RWLock {
    private let word: RWLockWord

    @inline(__always)
    package init(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>) { word = RWLockWord(lock) }

    @inline(__always)
    private var lock: UnsafeMutablePointer<tdpmmu_rwlock> { word.lock }

    @inline(__always)
    private var owner: AtomicWord64 { shared(cp_lock_owner(lock)) }

    /// Back to all-zero.  Nobody holds or waits; what this thread holds is forgotten, with
    /// a warning.
    package func reset() {
        if LockHolds.forget(lock) {
            warn(.lock, "tdpmmu_rwlock_init", "this thread holds the lock", address)
        }
        word.state.pointee.store(0, ordering: .relaxed)
        shared(cp_lock_calm(lock)).pointee.store(0, ordering: .relaxed)
        shared(cp_lock_sleepers(lock)).pointee.store(0, ordering: .relaxed)
        lock.pointee.rank = 0
        owner.pointee.store(0, ordering: .relaxed)
    }

    /// Before its first use: its place in the order of locks.
    package func setRank(_ rank: LockRank) { lock.pointee.rank = UInt8(rank.rawValue) }

    /// Its VM has eyes: they are told when a caller lets go of it.
    @inline(__always) package var isWatched: Bool { lock.pointee.rank & watchedBit != 0 }

    package func setWatched(_ on: Bool) {
        lock.pointee.rank = lock.pointee.rank & ~watchedBit | (on ? watchedBit : 0)
    }

    // MARK: Questions

    /// Does a thread wait for it?  One relaxed load: a hint for loops.
    @inline(__always)
    package var needBreak: Bool {
        RWLockWord.isWaitedFor(word.state.pointee.load(ordering: .relaxed))
    }

    /// How often this thread holds it for read.
    package var readDepth: UInt32 { LockHolds.reads(lock) }

    @inline(__always)
    package var isHeldForRead: Bool { LockHolds.reads(lock) != 0 }

    /// Relaxed: only this thread ever writes this thread's number there.
    @inline(__always)
    package var isHeldForWrite: Bool {
        owner.pointee.load(ordering: .relaxed) == currentThreadID()
    }

    // MARK: Read side

    /// Who takes a lock from outside leaves room for one more: what the library takes for itself then does not fail for
    /// want of memory, in the middle of something.
    package static var roomFromOutside: UInt32 { 2 }

    /// False, with a warning, if this thread holds it for write.
    @inline(__always)
    @discardableResult
    package func readLock(room: UInt32 = 1) -> Bool { enterByNote() || readLockSlow(room) }

    /// The short way in, of a thread that holds nothing yet.  False: nothing was done.
    @inline(__always)
    private func enterByNote() -> Bool {
        guard RWLockWord.isOpen(word.state.pointee.load(ordering: .relaxed)), ReaderNotes.isMember,
              LockHolds.isFree else { return false }
        return makeNote()
    }

    @inline(never)
    private func readLockSlow(_ room: UInt32) -> Bool {
        checkOrder("read_lock")
        let seen = word.state.pointee.load(ordering: .relaxed)
        // A lock without a bias is in nobody's note.
        if seen & RWLockWord.biasBit != 0, readByNote(seen) { return true }
        return readByCount(seen, room)
    }

    // In both: a second hold lives in this thread's own memory only: the first one keeps
    // writers out, and waiting for one that waits for us would never end.

    /// False where the lock is not open, or this thread has no room for a note, or holds the lock by
    /// count.  A lock that is open nobody holds for write.
    private func readByNote(_ seen: UInt32) -> Bool {
        if LockHolds.isNoted(lock) {
            ReaderNotes.deeperLock.pointee &+= 1
            return true
        }
        guard RWLockWord.isOpen(seen), ReaderNotes.isMember, ReaderNotes.lock.pointee.load(ordering: .relaxed) == 0,
              !LockHolds.isInTable(lock) else { return false }
        return makeNote()
    }

    /// There is room for it.
    @inline(__always)
    private func makeNote() -> Bool {
        ReaderNotes.make(ReaderNotes.lock, UInt(bitPattern: lock))
        // Acquire: pairs with the release in LockQueue.leaveWrite.
        if RWLockWord.isOpen(word.state.pointee.load(ordering: .acquiring)) { return true }
        ReaderNotes.giveUpLock()
        return false
    }

    private func readByCount(_ seen: UInt32, _ room: UInt32) -> Bool {
        if LockHolds.addRead(lock) { return true }
        guard mayReadLock(room) else { return false }
        if word.tryRead(seen) {
            LockHolds.addFirstRead(lock)
            ReaderBias.countedIn(word)
        } else {
            waitToRead()
        }
        return true
    }

    /// A thread that is cancelled while it waits, or as it is granted the lock, is in no queue
    /// any more and its hold is noted: its exit handler releases it.
    @inline(never)
    private func waitToRead() {
        withoutCancellation {
            if !word.tryAWhile(forWrite: false) { LockQueue.wait(word, forWrite: false) }
            LockHolds.addFirstRead(lock)
        }
    }

    @inline(__always)
    private func mayReadLock(_ room: UInt32) -> Bool {
        if isHeldForWrite {
            warn(.lock, "read_lock", "this thread holds the lock for write", address)
            return false
        }
        return mayRemember(room, "read_lock")
    }

    /// A warning if a lock is held that comes after this one.
    @inline(__always)
    private func checkOrder(_ function: StaticString) {
        LockOrder.check(rankNumber: UInt16(lock.pointee.rank & ~watchedBit), function)
    }

    /// Room for the hold.
    @inline(__always)
    private func mayRemember(_ room: UInt32, _ function: StaticString) -> Bool {
        if LockHolds.reserve(room) { return true }
        warn(.lock, function, "no memory to remember the lock", address)
        return false
    }

    /// False, with a warning, if this thread does not hold it for read.
    @inline(__always)
    @discardableResult
    package func readUnlock() -> Bool {
        // What is held by a note is not in the table.
        LockHolds.isNoted(lock) && ReaderNotes.deeperLock.pointee == 0 ? leaveByNote() : readUnlockSlow()
    }

    @inline(never)
    private func readUnlockSlow() -> Bool {
        guard let left = LockHolds.removeRead(lock) else { return leaveNoted() }
        if left != 0 { return true }
        if LockQueue.leaveRead(word) { return true }
        return wasOverwritten()
    }

    @inline(never)
    private func wasOverwritten() -> Bool {
        warn(.lock, "read_unlock", "the lock has no readers, and this thread was one", address)
        return false
    }

    /// Once less by the note, if there is one.
    private func leaveNoted() -> Bool {
        guard LockHolds.isNoted(lock) else {
            warn(.lock, "read_unlock", "this thread does not hold the lock for read", address)
            return false
        }
        if ReaderNotes.deeperLock.pointee != 0 {
            ReaderNotes.deeperLock.pointee &-= 1
            return true
        }
        return leaveByNote()
    }

    @inline(__always)
    private func leaveByNote() -> Bool {
        // Before the note goes: the lock may be gone after it.
        let seen = word.state.pointee.load(ordering: .relaxed)
        ReaderNotes.leaveLock()
        return seen & RWLockWord.biasBit != 0 || wasOverwritten()
    }

    // MARK: Write side

    /// False, with a warning, if this thread already holds it.
    @inline(__always)
    @discardableResult
    package func writeLock(room: UInt32 = 1) -> Bool {
        if LockHolds.contains(lock) {
            warn(.lock, "write_lock", "this thread already holds the lock", address)
            return false
        }
        checkOrder("write_lock")
        guard mayRemember(room, "write_lock") else { return false }
        if word.tryWriteAlone() { becomeOwner() } else { waitToWrite() }
        return true
    }

    /// The same where nobody has it or waits for it, and without waiting; false, and no warning, else.
    @inline(never)
    package func tryWriteLock() -> Bool {
        guard !LockHolds.contains(lock), LockHolds.reserve(1), word.tryWrite() else { return false }
        if word.state.pointee.load(ordering: .relaxed) & RWLockWord.biasBit != 0, !ReaderBias.tryTakeAway(word) {
            // The bias stays; who has seen the lock closed is let in.
            LockQueue.leaveWrite(word)
            return false
        }
        becomeOwner()
        return true
    }

    @inline(__always)
    private func becomeOwner() {
        LockHolds.addWrite(lock)
        owner.pointee.store(currentThreadID(), ordering: .relaxed)
    }

    /// As waitToRead().
    @inline(never)
    private func waitToWrite() {
        withoutCancellation {
            if !word.tryAWhile(forWrite: true) { LockQueue.wait(word, forWrite: true) }
            if word.state.pointee.load(ordering: .relaxed) & RWLockWord.biasBit != 0 { ReaderBias.takeAway(word) }
            becomeOwner()
        }
    }

    /// False, with a warning, if this thread does not hold it for write.
    @inline(__always)
    @discardableResult
    package func writeUnlock() -> Bool {
        guard isHeldForWrite else {
            warn(.lock, "write_unlock", "this thread does not hold the lock for write", address)
            return false
        }
        LockHolds.removeWrite(lock)
        owner.pointee.store(0, ordering: .relaxed)
        ReaderBias.writerLeaves(word)
        LockQueue.leaveWrite(word)
        return true
    }

    @inline(__always)
    private var address: UInt64 { UInt64(UInt(bitPattern: lock)) }
}
