// SPDX-License-Identifier: GPL-2.0-only
// An SRCU domain from its begin to its end, and its readers.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

extension SRCUDomain {
    /// `rank`: its readers' place in the order of locks, for a VM's domain.  False, with a warning,
    /// if it is in use.
    @discardableResult
    package func initialize(rank: LockRank? = nil) -> Bool {
        ForkSupport.install()
        SRCU.mutex.lock()
        let found = whatIsThere
        if found != .inUse { makeNew(rank) }
        SRCU.mutex.unlock()
        switch found {
        case .nothing: break
        case .inUse:
            warn(.rcu, "init_srcu_struct", "this SRCU domain is in use: it stays as it is", address)
        case .forgotten:
            warn(.rcu, "init_srcu_struct", "this SRCU domain was not cleaned up since it was initialised", address)
        }
        return found != .inUse
    }

    private func makeNew(_ rank: LockRank?) {
        let state = state
        UnsafeMutableRawPointer(state).initializeMemory(
            as: UInt8.self, repeating: 0, count: MemoryLayout<cp_srcu>.size)
        state.pointee.rank = UInt16(rank?.rawValue ?? 0)
        setUp()
        shared(cp_srcu_self(state)).pointee.store(UInt(bitPattern: domain), ordering: .relaxed)
    }

    private enum Found { case nothing, forgotten, inUse }

    /// SRCU mutex held.  The memory need not have been written yet; but what is a domain's own address
    /// was one.
    private var whatIsThere: Found {
        if cp_under_valgrind_now() != 0 { cp_valgrind_defined(domain, MemoryLayout<srcu_struct>.size) }
        if !isAlive { return .nothing }
        let isUsed = isListed || isSetUp && (hasReaders || hasWork || state.pointee.waiters != 0)
        return isUsed ? .inUse : .forgotten
    }

    private var hasReaders: Bool { !isDrained(0) || !isDrained(1) }

    /// The end of a domain.  False, with a warning, while it is in use.
    @discardableResult
    package func cleanUp() -> Bool {
        guard check("cleanup_srcu_struct") else { return false }
        let obstacle = withoutCancellation { end() }
        if let obstacle { warn(.rcu, "cleanup_srcu_struct", obstacle, address) }
        return obstacle == nil
    }

    /// What is in the way, or nil.
    private func end() -> StaticString? {
        SRCU.mutex.lock()
        defer { SRCU.mutex.unlock() }
        advance()
        if hasReaders { return "the SRCU domain still has readers" }
        if state.pointee.queued != state.pointee.invoked { return "the SRCU domain still has callbacks" }
        if state.pointee.waiters != 0 { return "the SRCU domain is waited for" }
        delist()
        shared(cp_srcu_self(state)).pointee.store(0, ordering: .relaxed)
        shared(cp_srcu_process(state)).pointee.store(0, ordering: .relaxed)
        return nil
    }

    /// May it be used?  If not, a warning.  One made by DEFINE_SRCU(), or the parent's in a forked
    /// child, is set up here.
    @inline(__always)
    func check(_ function: StaticString) -> Bool {
        if isAlive, isSetUp { return true }
        return checkSlow(function)
    }

    @inline(never)
    private func checkSlow(_ function: StaticString) -> Bool {
        guard isAlive else {
            warn(.rcu, function, "this SRCU domain was never initialised, or is cleaned up",
                 address)
            return false
        }
        ForkSupport.install()
        SRCU.mutex.lock()
        if !isSetUp { setUp() }
        SRCU.mutex.unlock()
        return true
    }

    /// The index for readUnlock, or a negative errno with a warning.
    @inline(__always)
    package func readLock() -> Int32 {
        guard check("srcu_read_lock") else { return -EINVAL }
        if cp_self().pointee.srcu_joined == 0 { joinThread() }
        if _slowPath(hasNotes), let which = readByNote() { return token(which) }
        guard SRCUHolds.reserve() else {
            warn(.rcu, "srcu_read_lock", "no memory to remember the section", address)
            return -ENOMEM
        }
        let which = comeIn()
        SRCUHolds.add(domain, which)
        return token(which)
    }

    /// Notes a reader in the calling thread's own memory; its index, or nil if there is no room.
    @inline(__always)
    private func readByNote() -> UInt32? {
        // Acquire: as in comeIn.
        let which = UInt32(truncatingIfNeeded: index.pointee.load(ordering: .acquiring) & 1)
        if isNoted(which) {
            ReaderNotes.deeperSRCU.pointee &+= 1
        } else if ReaderNotes.isMember, ReaderNotes.srcu.pointee.load(ordering: .relaxed) == 0 {
            ReaderNotes.makeSRCU(note(which))
        } else {
            return nil
        }
        return which
    }

    /// Counts a reader in; returns its index.
    @inline(__always)
    private func comeIn() -> UInt32 {
        // Acquire: pairs with the release in advance; who takes the new index sees
        // what was unlinked before it.
        let which = UInt32(truncatingIfNeeded: index.pointee.load(ordering: .acquiring) & 1)
        // A full fence as well: pairs with the fences in advance.  Either it counts us,
        // or we see what was unlinked before it looked.
        entered(which, currentThreadID()).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        return which
    }

    /// What a reader is told of its index: it is good for this domain only.
    @inline(__always)
    private func token(_ which: UInt32) -> Int32 { Int32(bitPattern: state.pointee.id &<< 1 | which) }

    /// False, with a warning, if this thread does not have that index.
    @inline(__always)
    @discardableResult
    package func readUnlock(_ token: Int32) -> Bool {
        guard check("srcu_read_unlock") else { return false }
        let bits = UInt32(bitPattern: token)
        if bits &>> 1 == state.pointee.id, endSection(bits & 1) { return true }
        warn(.rcu, "srcu_read_unlock", "this thread has no such index of this SRCU domain",
             address, UInt64(bits))
        return false
    }

    /// False if the calling thread is in no section by this index.
    @inline(__always)
    private func endSection(_ which: UInt32) -> Bool {
        if _slowPath(hasNotes), isNoted(which) {
            leaveNoted()
            return true
        }
        guard SRCUHolds.remove(domain, which) else { return false }
        leave(which)
        return true
    }

    // MARK: Sections of the library's own, in a domain whose readers make notes

    /// 0 or 1, for endOwn(), or a negative errno with a warning.
    @inline(__always)
    func beginOwn() -> Int32 {
        // The memory is a VM's, and no copy: that it is set up says that it is alive.
        guard isSetUp, hasNotes, ReaderNotes.isMemberOfSRCU,
              ReaderNotes.srcu.pointee.load(ordering: .relaxed) == 0 else { return beginOwnSlow() }
        // Acquire: as in comeIn.
        let which = UInt32(truncatingIfNeeded: index.pointee.load(ordering: .acquiring) & 1)
        ReaderNotes.makeSRCU(note(which))
        return Int32(bitPattern: which)
    }

    @inline(never)
    private func beginOwnSlow() -> Int32 {
        let token = readLock()
        return token < 0 ? token : token & 1
    }

    @inline(__always)
    func endOwn(_ which: Int32) {
        let which = UInt32(bitPattern: which)
        if isNoted(which), ReaderNotes.deeperSRCU.pointee == 0 { takeNote() } else { endOwnSlow(which) }
    }

    @inline(never)
    private func endOwnSlow(_ which: UInt32) {
        if !endSection(which) { readUnlock(token(which)) }
    }

    // MARK: Readers of no thread

    /// The index for readUp, in whatever thread; or a negative errno with a warning.
    @inline(never)
    package func readDown() -> Int32 {
        guard check("srcu_down_read") else { return -EINVAL }
        let which = comeIn()
        // After the count, and before it on the way out: whatever fork comes between, the child
        // counts no reader that nobody there knows of.
        loose(which).pointee.wrappingAdd(1, ordering: .relaxed)
        return token(which)
    }

    /// False, with a warning, if the domain has given out no such index that is still open.
    @inline(never)
    @discardableResult
    package func readUp(_ index: Int32) -> Bool {
        guard check("srcu_up_read") else { return false }
        let bits = UInt32(bitPattern: index)
        guard bits &>> 1 == state.pointee.id, takeLoose(bits & 1) else {
            warn(.rcu, "srcu_up_read", "srcu_down_read() gave out no such index of this SRCU domain",
                 address, UInt64(bits))
            return false
        }
        leave(bits & 1)
        return true
    }

    private func takeLoose(_ which: UInt32) -> Bool {
        var open = loose(which).pointee.load(ordering: .relaxed)
        while open != 0 {
            let result = loose(which).pointee.compareExchange(
                expected: open, desired: open &- 1, ordering: .relaxed)
            if result.exchanged { return true }
            open = result.original
        }
        return false
    }

    // MARK: Questions

    /// False, with a warning that names `function`, outside the domain's readers.
    @discardableResult
    package func checkReader(_ function: UnsafePointer<CChar>?) -> Bool {
        if isReadLockHeld { return true }
        warnAbout(.lock, function, "called outside a reader of the SRCU domain")
        return false
    }

    @inline(never)
    private func joinThread() {
        Threads.joinIfNew()  // its exit handler looks at the table of holds
        ReaderNotes.joinSRCU()
        cp_self().pointee.srcu_joined = 1
    }

    @inline(__always)
    package var isReadLockHeld: Bool { SRCUHolds.contains(domain) }
}
