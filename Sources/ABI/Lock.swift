// SPDX-License-Identifier: GPL-2.0-only
// lock.h: mmu_lock.
import CTDPMMU
import MMU
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

/// The VM whose eyes see that its lock goes for good; nil: nobody looks, or it does not.
@inline(__always)
private func seeUnlock(_ pointer: Lock, _ lock: RWLock, write: Bool) -> VM? {
    lock.isWatched ? seeWatchedUnlock(pointer, lock, write: write) : nil
}

@inline(never)
private func seeWatchedUnlock(_ pointer: Lock, _ lock: RWLock, write: Bool) -> VM? {
    guard write ? lock.isHeldForWrite : lock.readDepth == 1 else { return nil }
    let vm = VM(UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: kvm.self))
    vm.see(.unlocks, "mmu_lock")
    return vm
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
    guard let entered = Contract.tdpmmu_read_unlock.enter(lock: lock) else { return }
    let watched = seeUnlock(lock, entered, write: false)
    entered.readUnlock()
    watched?.see(.unlocked, "mmu_lock")
}

@c @implementation
public func tdpmmu_write_lock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    Contract.tdpmmu_write_lock.enter(lock: lock)?.writeLock(room: RWLock.roomFromOutside)
}

@c @implementation
public func tdpmmu_write_unlock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    guard let entered = Contract.tdpmmu_write_unlock.enter(lock: lock) else { return }
    let watched = seeUnlock(lock, entered, write: true)
    entered.writeUnlock()
    watched?.see(.unlocked, "mmu_lock")
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
