// SPDX-License-Identifier: GPL-2.0-only
// rcu_head_init() and rcu_head_after_call_rcu(): was a head given to call_rcu()?
import CTDPMMU

package func rcuHeadInit(_ head: UnsafeMutablePointer<rcu_head>) {
    QueuedMark.initialize(head, "rcu_head_init")
}

/// Is the head queued with `function`?  False after rcuHeadInit(); else false with a warning.
package func rcuHeadAfterCall(
    _ head: UnsafeMutablePointer<rcu_head>, _ function: RCUCallback
) -> Bool {
    QueuedMark.isQueued(head, for: unsafeBitCast(function, to: UInt.self), "rcu_head_after_call_rcu")
}
