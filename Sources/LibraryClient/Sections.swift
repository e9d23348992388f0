// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

/// The locks and readers that a caller of the C interface is inside of.
extension UnsafeMutablePointer where Pointee == kvm {
    package func lockedForWrite<Result>(_ body: () -> Result) -> Result {
        tdpmmu_write_lock(lock)
        defer { tdpmmu_write_unlock(lock) }
        return body()
    }

    package func lockedForRead<Result>(_ body: () -> Result) -> Result {
        tdpmmu_read_lock(lock)
        defer { tdpmmu_read_unlock(lock) }
        return body()
    }

    /// Inside a reader of kvm->srcu, which keeps slots and may wait.
    package func insideSRCU<Result>(_ body: () -> Result) -> Result {
        let index = srcu_read_lock(srcu)
        defer { srcu_read_unlock(srcu, index) }
        return body()
    }

    /// mmu_lock.  By address, not as an inout property: other threads of the
    /// library may look at it.
    private var lock: UnsafeMutablePointer<tdpmmu_rwlock> {
        let offset = MemoryLayout<kvm>.offset(of: \.mmu_lock) ?? 0
        return (UnsafeMutableRawPointer(self) + offset).assumingMemoryBound(to: tdpmmu_rwlock.self)
    }

    private var srcu: UnsafeMutablePointer<srcu_struct> {
        let offset = MemoryLayout<kvm>.offset(of: \.srcu) ?? 0
        return (UnsafeMutableRawPointer(self) + offset).assumingMemoryBound(to: srcu_struct.self)
    }
}

package func insideRCU<Result>(_ body: () -> Result) -> Result {
    rcu_read_lock()
    defer { rcu_read_unlock() }
    return body()
}
