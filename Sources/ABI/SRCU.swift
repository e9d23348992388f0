// SPDX-License-Identifier: GPL-2.0-only
// srcu.h: sleepable RCU.
import CPlatform
import CTDPMMU
import RCU
import Sync

/// The domain, or nil with a warning.
@inline(__always)
private func checked(
    _ domain: UnsafeMutablePointer<srcu_struct>?, _ function: StaticString
) -> SRCUDomain? {
    guard let domain else {
        warn(.argument, function, "the SRCU domain is NULL")
        return nil
    }
    return SRCUDomain(domain)
}

@c @implementation
public func init_srcu_struct(_ ssp: UnsafeMutablePointer<srcu_struct>!) -> Int32 {
    guard let domain = checked(ssp, "init_srcu_struct") else { return -EINVAL }
    domain.initialize()
    return 0
}

@c @implementation
public func cleanup_srcu_struct(_ ssp: UnsafeMutablePointer<srcu_struct>!) {
    checked(ssp, "cleanup_srcu_struct")?.cleanUp()
}

@c @implementation
public func srcu_read_lock(_ ssp: UnsafeMutablePointer<srcu_struct>!) -> Int32 {
    checked(ssp, "srcu_read_lock")?.readLock() ?? -EINVAL
}

@c @implementation
public func srcu_read_unlock(_ ssp: UnsafeMutablePointer<srcu_struct>!, _ idx: Int32) {
    checked(ssp, "srcu_read_unlock")?.readUnlock(idx)
}

@c @implementation
public func srcu_read_lock_held(_ ssp: UnsafePointer<srcu_struct>!) -> Bool {
    guard let ssp else {
        warn(.argument, "srcu_read_lock_held", "the SRCU domain is NULL")
        return false
    }
    return SRCUDomain(UnsafeMutablePointer(mutating: ssp)).isReadLockHeld
}

@c @implementation
public func synchronize_srcu(_ ssp: UnsafeMutablePointer<srcu_struct>!) {
    checked(ssp, "synchronize_srcu")?.synchronize()
}

@c @implementation
public func synchronize_srcu_expedited(_ ssp: UnsafeMutablePointer<srcu_struct>!) {
    checked(ssp, "synchronize_srcu_expedited")?.synchronize("synchronize_srcu_expedited")
}

@c @implementation
public func call_srcu(
    _ ssp: UnsafeMutablePointer<srcu_struct>!, _ head: UnsafeMutablePointer<rcu_head>!,
    _ function: (@convention(c) (UnsafeMutablePointer<rcu_head>?) -> Void)!
) {
    guard let domain = checked(ssp, "call_srcu") else { return }
    guard let head, let function else {
        warn(.argument, "call_srcu", "the head or the function is NULL",
             UInt64(UInt(bitPattern: head)))
        return
    }
    domain.call(head, function)
}

@c @implementation
public func srcu_barrier(_ ssp: UnsafeMutablePointer<srcu_struct>!) {
    checked(ssp, "srcu_barrier")?.barrier()
}

@c @implementation
public func get_state_synchronize_srcu(_ ssp: UnsafeMutablePointer<srcu_struct>!) -> UInt {
    UInt(checked(ssp, "get_state_synchronize_srcu")?.getState() ?? 0)
}

@c @implementation
public func start_poll_synchronize_srcu(_ ssp: UnsafeMutablePointer<srcu_struct>!) -> UInt {
    UInt(checked(ssp, "start_poll_synchronize_srcu")?.startPoll() ?? 0)
}

@c @implementation
public func poll_state_synchronize_srcu(
    _ ssp: UnsafeMutablePointer<srcu_struct>!, _ cookie: UInt
) -> Bool {
    checked(ssp, "poll_state_synchronize_srcu")?.pollState(UInt64(cookie)) ?? false
}
