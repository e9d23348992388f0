// SPDX-License-Identifier: GPL-2.0-only
// An SRCU domain from its begin, and its readers.
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
