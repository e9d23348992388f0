// SPDX-License-Identifier: GPL-2.0-only
// rcu.h: userspace RCU.
import CTDPMMU
import RCU
import Sync

@c @implementation
public func rcu_read_lock() { rcuReadLock() }

@c @implementation
public func rcu_read_unlock() { rcuReadUnlock() }

@c @implementation
public func tdpmmu_rcu_read_lock_slow() { readLockSlow() }

@c @implementation
public func tdpmmu_rcu_read_unlock_slow() { readUnlockSlow() }

@c @implementation
public func rcu_read_lock_held() -> Bool { rcuReadLockHeld() }

@c @implementation
public func synchronize_rcu() { synchronizeRCU() }

@c @implementation
public func call_rcu(
    _ head: UnsafeMutablePointer<rcu_head>!,
    _ function: (@convention(c) (UnsafeMutablePointer<rcu_head>?) -> Void)!
) {
    guard let head, let function else {
        warn(.argument, "call_rcu", "the head or the function is NULL",
             UInt64(UInt(bitPattern: head)))
        return
    }
    callRCU(head, function)
}

@c @implementation
public func rcu_barrier() { rcuBarrier() }

@c @implementation
public func tdpmmu_rcu_readers_fence_free() -> Bool { rcuReadersFenceFree() }
