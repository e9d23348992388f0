// SPDX-License-Identifier: GPL-2.0-only
// Readers that write nothing that others write: what a thread reads, it notes in its own memory.
//
// A reader stores its note, and then loads the word that says whether it may be in: a store and a
// load of memory that nobody else writes, and between them a fence for the compiler only.  Who
// wants to be alone writes that word, runs membarrier, a full fence in every thread, and looks at
// the notes of all threads.  Where the fence hits a reader before its store, the reader sees the
// word; else its note is seen.  docs/LOCKING.md has the tables.
//
// The list of threads has those that made a note once, until they exit.  A thread has room for
// one lock and one SRCU section; what it reads besides, it counts as ever.
import CPlatform
import Synchronization

package enum ReaderNotes {
    typealias Notes = UnsafeMutablePointer<cp_reader_notes>

    // Membership.
    static var notYet: UInt16 { 0 }
    private static var member: UInt16 { 1 }
    /// Its exit sees to sections of SRCU, too.
    private static var ofSRCU: UInt16 { 2 }
    static var never: UInt16 { 4 }

    /// The calling thread's.
    @inline(__always)
    static var own: Notes { cp_thread_notes(cp_self()) }

    /// May the calling thread make notes?
    @inline(__always)
    package static var isMember: Bool { own.pointee.membership & member != 0 }

    /// And of sections of SRCU?
    @inline(__always)
    package static var isMemberOfSRCU: Bool { own.pointee.membership == member | ofSRCU }

    /// The calling thread's exit sees to its sections from here on.
    package static func joinSRCU() {
        if join() { own.pointee.membership |= ofSRCU }
    }

    static var mutex: RankedMutex { RankedMutex(cp_reader_list_mutex(), .notes) }

    private static var event: AtomicWord32 { shared(cp_reader_list_event()) }

    // MARK: Notes

    /// How often the calling thread holds the lock by its note, but for the first time.
    @inline(__always)
    static var deeperLock: UnsafeMutablePointer<UInt32> { place(of: &own.pointee.deeper.0) }

    /// How often it is in the section by its note, but for the first time.
    @inline(__always)
    package static var deeperSRCU: UnsafeMutablePointer<UInt32> { place(of: &own.pointee.deeper.1) }

    /// The lock that the calling thread holds by its note, or 0.
    @inline(__always)
    static var lock: AtomicWord { shared(cp_reader_notes_lock(own)) }

    /// The SRCU section that it is in by its note, or 0.
    @inline(__always)
    package static var srcu: AtomicWord { shared(cp_reader_notes_srcu(own)) }

    @inline(__always)
    static func make(_ note: AtomicWord, _ what: UInt) {
        // Release, though something begins here: who waits for the section before may find this note
        // in the place of its end; pairs with the acquire in isThere.
        note.pointee.store(what, ordering: .releasing)
        // Pairs with the membarrier of who wants to be alone.
        cp_signal_fence()
    }

    @inline(__always)
    package static func makeSRCU(_ what: UInt) {
        make(srcu, what)
        cp_section_noted()
    }

    /// Release: pairs with the acquire in isThere.  What it is about may be gone from here on.
    @inline(__always)
    package static func take(_ note: AtomicWord) {
        note.pointee.store(0, ordering: .releasing)
        // Pairs with the membarrier of who waits, as he asks to be woken: either he sees the note
        // gone, or we see that he waits.
        cp_signal_fence()
    }

    /// The calling thread's hold ends.
    @inline(__always)
    static func leaveLock() {
        take(lock)
        if shared(cp_reader_notes_wanted(own)).pointee.load(ordering: .relaxed) != 0 { wake() }
    }

    /// It has made a note and finds the lock closed.  A writer may have seen the note, who had asked
    /// before it was there; so he is woken unasked.
    @inline(never)
    static func giveUpLock() {
        take(lock)
        wake()
    }

    @inline(never)
    private static func wake() {
        shared(cp_reader_notes_wanted(own)).pointee.store(0, ordering: .relaxed)
        // Release: pairs with the acquire in waitUntilUnread; who sees it sees the note gone.
        event.pointee.wrappingAdd(1, ordering: .releasing)
        cp_futex_wake(cp_reader_list_event(), Int32.max)
    }

    // MARK: Who wants to be alone

    /// A full fence in every thread that makes notes, and in this one.
    package static func heavyFence() {
        // A thread that joins later sees by the mutex what we have done.
        let hasOthers = mutex.locked {
            guard let first = cp_reader_list().pointee.first else { return false }
            return first != own || first.pointee.next != nil
        }
        if hasOthers && cp_has_membarrier() { cp_membarrier() } else { atomicMemoryFence(ordering: .sequentiallyConsistent) }
    }

    private enum Kind { case lock, srcu }

    /// Has some thread this note?  `asking`: to be woken when it goes.
    private static func isThere(_ what: UInt, _ kind: Kind, asking: Bool = false) -> Bool {
        mutex.locked {
            var found = false
            var link = cp_reader_list().pointee.first
            while let notes = link {
                link = notes.pointee.next
                let note = shared(kind == .lock ? cp_reader_notes_lock(notes) : cp_reader_notes_srcu(notes))
                // Acquire: pairs with the release in take.
                guard note.pointee.load(ordering: .acquiring) == what else { continue }
                found = true
                if asking { shared(cp_reader_notes_wanted(notes)).pointee.store(1, ordering: .relaxed) }
            }
            return found
        }
    }

    package static func isInside(srcu what: UInt) -> Bool { isThere(what, .srcu) }

    /// Pauses before a writer sleeps.
    private static var patience: Int { pauses(64) }

    /// The caller has written that nobody may make this note any more.
    @inline(never)
    static func waitUntilUnread(_ lock: UInt) {
        heavyFence()
        for _ in 0..<patience {
            if !isThere(lock, .lock) { return }
            cp_cpu_relax()
        }
        if !isThere(lock, .lock, asking: true) { return }
        // Between the wish and the look: pairs with the fence in take.
        heavyFence()
        while true {
            // Before the look: acquire, pairs with the release in wake.
            let seen = event.pointee.load(ordering: .acquiring)
            if !isThere(lock, .lock) { return }
            // In a forked child without membarrier a note of before may go unheard.
            cp_futex_wait(cp_reader_list_event(), seen, cp_has_membarrier() ? 0 : 1_000_000)
        }
    }

    /// As waitUntilUnread(), but for the waiting: does nobody have the note?
    static func isUnread(_ lock: UInt) -> Bool {
        heavyFence()
        return !isThere(lock, .lock)
    }

    // MARK: The list

    private static var members: AtomicWord32 { shared(cp_reader_list_members()) }

    /// Does nobody make notes but the calling thread?  Relaxed: a hint.
    @inline(__always)
    static var isAlone: Bool { isMember && members.pointee.load(ordering: .relaxed) == 1 }

    /// Mutex held.
    static func add() {
        let notes = own
        let first = cp_reader_list().pointee.first
        notes.pointee.next = first
        notes.pointee.prev = nil
        if let first { first.pointee.prev = notes }
        cp_reader_list().pointee.first = notes
        notes.pointee.membership = member
        members.pointee.wrappingAdd(1, ordering: .relaxed)
    }

    /// Mutex held.  Of a thread that exits: it makes none any more.
    static func remove() {
        let notes = own
        let next = notes.pointee.next, previous = notes.pointee.prev
        if let next { next.pointee.prev = previous }
        if let previous { previous.pointee.next = next } else { cp_reader_list().pointee.first = next }
        notes.pointee.membership = never
        members.pointee.wrappingSubtract(1, ordering: .relaxed)
    }

    /// In a forked child, mutex held (by the prepare handler): the one thread, if it was there.
    /// It makes no new notes if there is no membarrier now.
    static func childForked() {
        let notes = own
        cp_reader_list().pointee.first = isMember ? notes : nil
        notes.pointee.next = nil
        notes.pointee.prev = nil
        if isMember, !cp_has_membarrier() { notes.pointee.membership = never }
        members.pointee.store(cp_reader_list().pointee.first == nil ? 0 : 1, ordering: .relaxed)
    }
}
