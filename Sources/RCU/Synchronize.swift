// SPDX-License-Identifier: GPL-2.0-only
// synchronize_rcu() and its kin.
import CPlatform
import Sync
import Synchronization

/// Wait until every reader that was inside when the call began has left.
package func synchronizeRCU() {
    guard mayWait("synchronize_rcu") else { return }
    withoutCancellation { GracePeriod.wait(.sync) }
    Worker.startIfMissing()
}

/// The same without leaving the processor to others.
package func synchronizeRCUExpedited() {
    guard mayWait("synchronize_rcu_expedited") else { return }
    withoutCancellation { withoutSleep { GracePeriod.wait(.expedited) } }
}

/// A grace period, if it can be had without waiting for anybody: false where a reader stays inside, or
/// another thread is at a grace period.  With any lock held: nobody who is inside is waited for.
package func tryGracePeriod() -> Bool {
    let wanted = GracePeriod.next()
    for _ in 0..<graceTries {
        GracePeriod.push(to: wanted)
        guard GracePeriod.isOver(wanted) else { continue }
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // as after synchronize_rcu()
        return true
    }
    return false
}

/// Short readers are over by then.
private var graceTries: Int { 8 }

/// Grace periods that are waited for in `body` do not leave the processor to others.
@inline(__always)
func withoutSleep(_ body: () -> Void) {
    let hurry = shared(cp_gp_hurry())
    hurry.pointee.add(1, ordering: .relaxed)
    body()
    hurry.pointee.subtract(1, ordering: .relaxed)
}
