// SPDX-License-Identifier: GPL-2.0-only
// rcu.h: userspace RCU.
import CTDPMMU
import RCU

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
        Contract.call_rcu.refuse("head or func is NULL (head)", nil, UInt64(head))
        return
    }
    callRCU(head, function)
}

@c @implementation
public func rcu_barrier() { rcuBarrier() }

@c @implementation
public func tdpmmu_rcu_readers_fence_free() -> Bool { rcuReadersFenceFree() }

@c @implementation
public func synchronize_rcu_expedited() { synchronizeRCUExpedited() }

@c @implementation
public func tdpmmu_kfree_rcu(
    _ object: UnsafeMutableRawPointer!, _ head: UnsafeMutablePointer<rcu_head>!,
    _ free_object: (@convention(c) (UnsafeMutableRawPointer?) -> Void)!
) {
    guard let object, let head else {
        Contract.tdpmmu_kfree_rcu.refuse("object or head is NULL (object, head)", nil, UInt64(object), UInt64(head))
        return
    }
    kfreeRCU(object, head, free_object)
}

@c @implementation
public func get_state_synchronize_rcu() -> UInt { UInt(rcuGetState()) }

@c @implementation
public func start_poll_synchronize_rcu() -> UInt { UInt(rcuStartPoll()) }

@c @implementation
public func poll_state_synchronize_rcu(_ cookie: UInt) -> Bool { rcuPollState(UInt64(cookie)) }

@c @implementation
public func cond_synchronize_rcu(_ cookie: UInt) { rcuCondSynchronize(UInt64(cookie)) }

@c @implementation
public func tdpmmu_rcu_register_thread() -> Int32 { rcuRegisterThread() ? 0 : .invalid }

@c @implementation
public func tdpmmu_rcu_unregister_thread() { rcuUnregisterThread() }

@c @implementation
public func tdpmmu_rcu_thread_offline() { rcuThreadOffline() }

@c @implementation
public func tdpmmu_rcu_thread_online() { _ = rcuRegisterThread() }

@c @implementation
public func tdpmmu_rcu_set_stall_timeout_ms(_ ms: UInt32) { setStallTimeout(milliseconds: ms) }

@c @implementation
public func tdpmmu_rcu_set_flood_limit(_ callbacks: UInt64) { setFloodLimit(callbacks) }

@c @implementation
public func tdpmmu_rcu_check_reader(_ function: UnsafePointer<CChar>!) -> Bool {
    rcuCheckReader(function)
}

@c @implementation
public func tdpmmu_rcu_lockdep_warn(_ function: UnsafePointer<CChar>!, _ text: UnsafePointer<CChar>!) {
    rcuLockdepWarn(function, text)
}

@c @implementation
public func tdpmmu_rcu_break_for_tests(_ what: UInt32) -> Bool { breakGracePeriodsForTests(what) }
