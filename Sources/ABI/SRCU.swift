// SPDX-License-Identifier: GPL-2.0-only
// srcu.h: sleepable RCU.
import CTDPMMU
import RCU

extension ContractFor where Proof: ~Copyable {
    /// The domain itself looks at what it is used for.
    @inline(__always)
    fileprivate func enter(domain: UnsafeMutablePointer<srcu_struct>?) -> SRCUDomain? {
        guard let domain else {
            refuse("ssp is NULL")
            return nil
        }
        return SRCUDomain(domain)
    }
}

@c @implementation
public func init_srcu_struct(_ ssp: UnsafeMutablePointer<srcu_struct>!) -> Int32 {
    guard let domain = Contract.init_srcu_struct.enter(domain: ssp) else { return .invalid }
    return domain.initialize() ? 0 : .busy
}

@c @implementation
public func cleanup_srcu_struct(_ ssp: UnsafeMutablePointer<srcu_struct>!) {
    Contract.cleanup_srcu_struct.enter(domain: ssp)?.cleanUp()
}

@c @implementation @_optimize(speed)
public func srcu_read_lock(_ ssp: UnsafeMutablePointer<srcu_struct>!) -> Int32 {
    Contract.srcu_read_lock.enter(domain: ssp)?.readLock() ?? .invalid
}

@c @implementation @_optimize(speed)
public func srcu_read_unlock(_ ssp: UnsafeMutablePointer<srcu_struct>!, _ idx: Int32) {
    Contract.srcu_read_unlock.enter(domain: ssp)?.readUnlock(idx)
}

@c @implementation
public func srcu_read_lock_held(_ ssp: UnsafePointer<srcu_struct>!) -> Bool {
    Contract.srcu_read_lock_held.enter(domain: UnsafeMutablePointer(mutating: ssp))?.isReadLockHeld ?? false
}

@c @implementation
public func srcu_down_read(_ ssp: UnsafeMutablePointer<srcu_struct>!) -> Int32 {
    Contract.srcu_down_read.enter(domain: ssp)?.readDown() ?? .invalid
}

@c @implementation
public func srcu_up_read(_ ssp: UnsafeMutablePointer<srcu_struct>!, _ idx: Int32) {
    Contract.srcu_up_read.enter(domain: ssp)?.readUp(idx)
}

@c @implementation
public func tdpmmu_srcu_check_reader(
    _ ssp: UnsafePointer<srcu_struct>!, _ function: UnsafePointer<CChar>!
) -> Bool {
    Contract.tdpmmu_srcu_check_reader.enter(domain: UnsafeMutablePointer(mutating: ssp))?
        .checkReader(function) ?? false
}

@c @implementation
public func synchronize_srcu(_ ssp: UnsafeMutablePointer<srcu_struct>!) {
    Contract.synchronize_srcu.enter(domain: ssp)?.synchronize()
}

@c @implementation
public func synchronize_srcu_expedited(_ ssp: UnsafeMutablePointer<srcu_struct>!) {
    Contract.synchronize_srcu_expedited.enter(domain: ssp)?.synchronize("synchronize_srcu_expedited")
}

@c @implementation
public func call_srcu(
    _ ssp: UnsafeMutablePointer<srcu_struct>!, _ head: UnsafeMutablePointer<rcu_head>!,
    _ function: (@convention(c) (UnsafeMutablePointer<rcu_head>?) -> Void)!
) {
    guard let domain = Contract.call_srcu.enter(domain: ssp) else { return }
    guard let head, let function else {
        Contract.call_srcu.refuse("head or func is NULL (head)", nil, UInt64(head))
        return
    }
    domain.call(head, function)
}

@c @implementation
public func srcu_barrier(_ ssp: UnsafeMutablePointer<srcu_struct>!) {
    Contract.srcu_barrier.enter(domain: ssp)?.barrier()
}

@c @implementation
public func get_state_synchronize_srcu(_ ssp: UnsafeMutablePointer<srcu_struct>!) -> UInt {
    UInt(Contract.get_state_synchronize_srcu.enter(domain: ssp)?.getState() ?? 0)
}

@c @implementation
public func start_poll_synchronize_srcu(_ ssp: UnsafeMutablePointer<srcu_struct>!) -> UInt {
    UInt(Contract.start_poll_synchronize_srcu.enter(domain: ssp)?.startPoll() ?? 0)
}

@c @implementation
public func poll_state_synchronize_srcu(
    _ ssp: UnsafeMutablePointer<srcu_struct>!, _ cookie: UInt
) -> Bool {
    Contract.poll_state_synchronize_srcu.enter(domain: ssp)?.pollState(UInt64(cookie)) ?? false
}
