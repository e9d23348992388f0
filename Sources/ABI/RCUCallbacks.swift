// SPDX-License-Identifier: GPL-2.0-only
// rcu_callback.h: what there is beside call_rcu() and kfree_rcu().
import CTDPMMU
import RCU

extension ContractFor where Proof: ~Copyable {
    /// The head that is named; nil, with a warning, for NULL.
    @inline(__always)
    fileprivate func head(_ head: UnsafeMutablePointer<rcu_head>?) -> UnsafeMutablePointer<rcu_head>? {
        if head == nil { refuse("head is NULL") }
        return head
    }
}

@c @implementation
public func call_rcu_hurry(
    _ head: UnsafeMutablePointer<rcu_head>!,
    _ function: (@convention(c) (UnsafeMutablePointer<rcu_head>?) -> Void)!
) {
    guard let head, let function else {
        Contract.call_rcu_hurry.refuse("head or func is NULL (head)", nil, UInt64(head))
        return
    }
    callRCU(head, function)
}

@c @implementation
public func rcu_head_init(_ head: UnsafeMutablePointer<rcu_head>!) {
    guard let head = Contract.rcu_head_init.head(head) else { return }
    rcuHeadInit(head)
}

@c @implementation
public func rcu_head_after_call_rcu(
    _ head: UnsafeMutablePointer<rcu_head>!,
    _ function: (@convention(c) (UnsafeMutablePointer<rcu_head>?) -> Void)!
) -> Bool {
    guard let head, let function else {
        Contract.rcu_head_after_call_rcu.refuse("head or func is NULL (head)", nil, UInt64(head))
        return false
    }
    return rcuHeadAfterCall(head, function)
}

@c @implementation
public func tdpmmu_kfree_rcu_mightsleep(
    _ object: UnsafeMutableRawPointer!, _ free_object: (@convention(c) (UnsafeMutableRawPointer?) -> Void)!
) {
    guard let object else {
        Contract.tdpmmu_kfree_rcu_mightsleep.refuse("object is NULL")
        return
    }
    kfreeRCUMightSleep(object, free_object)
}
