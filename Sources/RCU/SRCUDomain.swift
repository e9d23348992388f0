// SPDX-License-Identifier: GPL-2.0-only
// An SRCU domain: its life and its readers.  SRCU.swift has the algorithm.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// One domain, somebody else's memory.  What the MMU puts its memslots under.
package struct SRCUDomain {
    package let domain: UnsafeMutablePointer<srcu_struct>

    @inline(__always)
    package init(_ domain: UnsafeMutablePointer<srcu_struct>) { self.domain = domain }

    init(_ state: UnsafeMutablePointer<cp_srcu>) {
        self.init(UnsafeMutableRawPointer(state).assumingMemoryBound(to: srcu_struct.self))
    }

    @inline(__always)
    var state: UnsafeMutablePointer<cp_srcu> {
        UnsafeMutableRawPointer(domain).assumingMemoryBound(to: cp_srcu.self)
    }

    var address: UInt64 { UInt64(UInt(bitPattern: domain)) }

    // MARK: Life

    /// Relaxed: whoever uses a domain was told of it by whoever made it.
    @inline(__always)
    private var isAlive: Bool {
        atomicWord(cp_srcu_self(state)).pointee.load(ordering: .relaxed) == UInt(bitPattern: domain)
    }

    /// Acquire: pairs with the release in enlist; the id is there.
    @inline(__always)
    private var isListed: Bool {
        atomic32(cp_srcu_listed(state)).pointee.load(ordering: .acquiring) != 0
    }

    /// May it be used?  If not, a warning.  One made by DEFINE_SRCU() becomes known here.
    @inline(__always)
    func check(_ function: StaticString) -> Bool {
        if isAlive, isListed { return true }
        return checkSlow(function)
    }

    @inline(never)
    private func checkSlow(_ function: StaticString) -> Bool {
        guard isAlive else {
            warn(.rcu, function, "this SRCU domain was never initialised, or is cleaned up",
                 address)
            return false
        }
        SRCU.mutex.lock()
        if !isListed { enlist() }
        SRCU.mutex.unlock()
        return true
    }

    /// `rank`: its readers' place in the order of locks, for a VM's domain.
    package func initialize(rank: LockRank? = nil) {
        let state = state
        UnsafeMutableRawPointer(state).initializeMemory(
            as: UInt8.self, repeating: 0, count: MemoryLayout<cp_srcu>.size)
        state.pointee.rank = rank?.rawValue ?? 0
        SRCU.mutex.lock()
        enlist()
        SRCU.mutex.unlock()
        atomicWord(cp_srcu_self(state)).pointee.store(UInt(bitPattern: domain), ordering: .relaxed)
    }

    /// SRCU mutex held.
    private func enlist() {
        let all = cp_srcu_all()
        let state = state
        // 30 bits, so that an index is a positive int.
        all.pointee.last_id = (all.pointee.last_id &+ 1) & 0x3fff_ffff
        state.pointee.id = all.pointee.last_id
        state.pointee.next = all.pointee.domains
        state.pointee.prev = nil
        if let next = state.pointee.next { next.pointee.prev = state }
        all.pointee.domains = state
        // Release: pairs with the acquire in isListed.
        atomic32(cp_srcu_listed(state)).pointee.store(1, ordering: .releasing)
    }

    /// False, with a warning, while it is in use.
    @discardableResult
    package func cleanUp() -> Bool {
        guard check("cleanup_srcu_struct") else { return false }
        SRCU.mutex.lock()
        advance()
        let state = state
        let readers = !isDrained(0) || !isDrained(1)
        let callbacks = state.pointee.queued != state.pointee.invoked
        let waiters = state.pointee.waiters != 0
        if readers || callbacks || waiters {
            SRCU.mutex.unlock()
            let text: StaticString = readers ? "the SRCU domain still has readers"
                : callbacks ? "the SRCU domain still has callbacks"
                : "the SRCU domain is waited for"
            warn(.rcu, "cleanup_srcu_struct", text, address)
            return false
        }
        let next = state.pointee.next
        let previous = state.pointee.prev
        if let next { next.pointee.prev = previous }
        if let previous {
            previous.pointee.next = next
        } else {
            cp_srcu_all().pointee.domains = next
        }
        atomicWord(cp_srcu_self(state)).pointee.store(0, ordering: .relaxed)
        atomic32(cp_srcu_listed(state)).pointee.store(0, ordering: .relaxed)
        SRCU.mutex.unlock()
        return true
    }

    // MARK: Readers

    @inline(__always)
    var index: AtomicWord64 { atomic64(cp_srcu_index(state)) }

    /// The counts of readers that came in, or went out, by this index, of a shard.
    @inline(__always)
    func entered(_ which: UInt32, _ shard: UInt64) -> AtomicWord64 {
        atomic64(cp_srcu_shard(state, shard) + Int(which))
    }

    @inline(__always)
    func left(_ which: UInt32, _ shard: UInt64) -> AtomicWord64 {
        atomic64(cp_srcu_shard(state, shard) + 2 + Int(which))
    }

    /// The index for readUnlock, or a negative errno with a warning.
    @inline(__always)
    package func readLock() -> Int32 {
        guard check("srcu_read_lock") else { return -EINVAL }
        if cp_self().pointee.srcu_joined == 0 { joinThread() }
        guard SRCUHolds.reserve() else {
            warn(.rcu, "srcu_read_lock", "no memory to remember the section", address)
            return -ENOMEM
        }
        // Acquire: pairs with the release in advance; who takes the new index sees
        // what was unlinked before it.
        let which = UInt32(truncatingIfNeeded: index.pointee.load(ordering: .acquiring) & 1)
        // A full fence as well: pairs with the fences in advance.  Either it counts us,
        // or we see what was unlinked before it looked.
        entered(which, currentThreadID()).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        SRCUHolds.add(domain, which)
        return Int32(bitPattern: state.pointee.id &<< 1 | which)
    }

    /// False, with a warning, if this thread does not have that index.
    @inline(__always)
    @discardableResult
    package func readUnlock(_ token: Int32) -> Bool {
        guard check("srcu_read_unlock") else { return false }
        let bits = UInt32(bitPattern: token)
        guard bits &>> 1 == state.pointee.id, SRCUHolds.remove(domain, bits & 1) else {
            warn(.rcu, "srcu_read_unlock", "this thread has no such index of this SRCU domain",
                 address, UInt64(bits))
            return false
        }
        leave(bits & 1)
        return true
    }

    /// The domain may be gone when this returns, so what follows the count is global.
    @inline(__always)
    func leave(_ which: UInt32) {
        // Release: pairs with the acquire in isDrained.  A full fence as well: pairs
        // with the one in advance; either it sees us out, or we see that it waits.
        left(which, currentThreadID()).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        if atomic32(cp_srcu_waiting()).pointee.load(ordering: .relaxed) != 0 { SRCU.readerLeft() }
    }

    @inline(never)
    private func joinThread() {
        Registry.joinIfNew()  // its exit handler looks at the table of holds
        cp_self().pointee.srcu_joined = 1
    }

    @inline(__always)
    package var isReadLockHeld: Bool { SRCUHolds.contains(domain) }
}
