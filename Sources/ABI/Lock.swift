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

/// Eyes see it, if it is the VM's lock that goes, and goes for good.
@inline(never)
private func leaveWatched(_ pointer: Lock, _ lock: RWLock, write: Bool = false) {
    let vm = VM(UnsafeMutableRawPointer(pointer).assumingMemoryBound(to: kvm.self))
    let isLast = write ? lock.isHeldForWrite : lock.readDepth == 1
    if isLast { vm.see(.unlocks, "mmu_lock") }
    if write { lock.writeUnlock() } else { lock.readUnlock() }
    if isLast { vm.see(.unlocked, "mmu_lock") }
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
    if entered.isWatched { return leaveWatched(lock, entered) }
    entered.readUnlock()
}

@c @implementation
public func tdpmmu_write_lock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    Contract.tdpmmu_write_lock.enter(lock: lock)?.writeLock(room: RWLock.roomFromOutside)
}

@c @implementation
public func tdpmmu_write_unlock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>!) {
    guard let entered = Contract.tdpmmu_write_unlock.enter(lock: lock) else { return }
    if entered.isWatched { return leaveWatched(lock, entered, write: true) }
    entered.writeUnlock()
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
