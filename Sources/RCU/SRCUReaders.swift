// SPDX-License-Identifier: GPL-2.0-only
// An SRCU domain from its begin to its end, and its readers.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

extension SRCUDomain {
    /// `rank`: its readers' place in the order of locks, for a VM's domain.
    package func initialize(rank: LockRank? = nil) {
        ForkSupport.install()
        let state = state
        UnsafeMutableRawPointer(state).initializeMemory(
            as: UInt8.self, repeating: 0, count: MemoryLayout<cp_srcu>.size)
        state.pointee.rank = rank?.rawValue ?? 0
        SRCU.mutex.lock()
        enlist()
        SRCU.mutex.unlock()
        shared(cp_srcu_self(state)).pointee.store(UInt(bitPattern: domain), ordering: .relaxed)
    }

    /// The end of a domain.  False, with a warning, while it is in use.
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
        shared(cp_srcu_self(state)).pointee.store(0, ordering: .relaxed)
        shared(cp_srcu_listed(state)).pointee.store(0, ordering: .relaxed)
        SRCU.mutex.unlock()
        return true
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
        ForkSupport.install()
        SRCU.mutex.lock()
        if !isListed { enlist() }
        SRCU.mutex.unlock()
        return true
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

    @inline(never)
    private func joinThread() {
        Threads.joinIfNew()  // its exit handler looks at the table of holds
        cp_self().pointee.srcu_joined = 1
    }

    @inline(__always)
    package var isReadLockHeld: Bool { SRCUHolds.contains(domain) }
}
