// SPDX-License-Identifier: GPL-2.0-only
// lock.h: mmu_lock.
import CTDPMMU
import Sync

private typealias Lock = UnsafeMutablePointer<tdpmmu_rwlock>

/// The lock, or nil with a warning.
@inline(__always)
private func checked(_ lock: Lock?, _ function: StaticString) -> RWLock? {
    guard let lock else {
        warn(.argument, function, "the lock is NULL")
        return nil
    }
    return RWLock(lock)
}

@c @implementation
public func tdpmmu_rwlock_init(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    checked(lock, "tdpmmu_rwlock_init")?.reset()
}

@c @implementation
public func tdpmmu_read_lock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    checked(lock, "read_lock")?.readLock()
}

@c @implementation
public func tdpmmu_read_unlock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    checked(lock, "read_unlock")?.readUnlock()
}

@c @implementation
public func tdpmmu_write_lock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    checked(lock, "write_lock")?.writeLock()
}

@c @implementation
public func tdpmmu_write_unlock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    checked(lock, "write_unlock")?.writeUnlock()
}

@c @implementation
public func tdpmmu_rwlock_needbreak(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) -> Bool {
    checked(lock, "rwlock_needbreak")?.needBreak ?? false
}

@c @implementation
public func tdpmmu_read_lock_held(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) -> Bool {
    checked(lock, "tdpmmu_read_lock_held")?.isHeldForRead ?? false
}

@c @implementation
public func tdpmmu_write_lock_held(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) -> Bool {
    checked(lock, "tdpmmu_write_lock_held")?.isHeldForWrite ?? false
}
