// SPDX-License-Identifier: GPL-2.0-only
// lock.h: mmu_lock.
import CTDPMMU
import Sync

private typealias Lock = UnsafeMutablePointer<tdpmmu_rwlock>

extension ContractFor where Proof: ~Copyable {
    /// The lock itself looks at who holds it.
    @inline(__always)
    fileprivate func enter(lock: Lock?) -> RWLock? {
        guard let lock else {
            refuse("lock is NULL")
            return nil
        }
        return RWLock(lock)
    }
}

@c @implementation
public func tdpmmu_rwlock_init(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    Contract.tdpmmu_rwlock_init.enter(lock: lock)?.reset()
}

@c @implementation
public func tdpmmu_read_lock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    Contract.tdpmmu_read_lock.enter(lock: lock)?.readLock(room: RWLock.roomFromOutside)
}

@c @implementation
public func tdpmmu_read_unlock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    Contract.tdpmmu_read_unlock.enter(lock: lock)?.readUnlock()
}

@c @implementation
public func tdpmmu_write_lock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    Contract.tdpmmu_write_lock.enter(lock: lock)?.writeLock(room: RWLock.roomFromOutside)
}

@c @implementation
public func tdpmmu_write_unlock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    Contract.tdpmmu_write_unlock.enter(lock: lock)?.writeUnlock()
}

@c @implementation
public func tdpmmu_rwlock_needbreak(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) -> Bool {
    Contract.tdpmmu_rwlock_needbreak.enter(lock: lock)?.needBreak ?? false
}

@c @implementation
public func tdpmmu_read_lock_held(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) -> Bool {
    Contract.tdpmmu_read_lock_held.enter(lock: lock)?.isHeldForRead ?? false
}

@c @implementation
public func tdpmmu_write_lock_held(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) -> Bool {
    Contract.tdpmmu_write_lock_held.enter(lock: lock)?.isHeldForWrite ?? false
}
