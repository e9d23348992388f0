// SPDX-License-Identifier: GPL-2.0-only
// Polled grace periods: a cookie is the number of the grace period that it needs.
import CPlatform
import Sync
import Synchronization

/// A cookie for the grace period that begins next.
package func rcuGetState() -> UInt64 { GracePeriod.next() }

/// The same, and the callback thread runs it.
package func rcuStartPoll() -> UInt64 {
    let cookie = GracePeriod.next()
    let wanted = shared(cp_gp_poll_wanted())
    // Numbers only grow; a newer wish stands for the older ones.  Release: pairs with
    // the acquire in CallbackEngine.runOnce.  Full, as a read-modify-write, against the
    // worker going to sleep: pairs with the heavy fence in Worker.sleep.
    wanted.pointee.max(cookie, ordering: .sequentiallyConsistent)
    Worker.wake()
    return cookie
}

/// A cookie whose grace period was over before the first began; rcuGetState() gives no such.
package var rcuCompletedState: UInt64 { 0 }

/// Is the cookie's grace period over?  Warnings name `function`.
package func rcuPollState(
    _ cookie: UInt64, _ function: StaticString = "poll_state_synchronize_rcu"
) -> Bool {
    if Breakable.poll.isBroken { return true }
    if GracePeriod.isOver(cookie) {
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // as after synchronize_rcu()
        return true
    }
    guard isGenuine(cookie, function) else { return false }
    // Started, and there may be no worker that runs it: then polls do.
    if shared(cp_gp_poll_wanted()).pointee.load(ordering: .relaxed) < cookie || Worker.wake() { return false }
    GracePeriod.push(to: cookie)
    return GracePeriod.isOver(cookie)
}

/// Wait until the cookie's grace period is over; expedited: without leaving the processor to
/// others.  Warnings name `function`.
package func rcuCondSynchronize(
    _ cookie: UInt64, expedited: Bool = false, _ function: StaticString = "cond_synchronize_rcu"
) {
    if GracePeriod.isOver(cookie) {
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // as after synchronize_rcu()
        return
    }
    guard isGenuine(cookie, function), mayWait(function) else { return }
    withoutCancellation {
        if expedited {
            withoutSleep { GracePeriod.wait(for: cookie, .poll) }
        } else {
            GracePeriod.wait(for: cookie, .poll)
        }
    }
}

/// Can the cookie have been given out?
private func isGenuine(_ cookie: UInt64, _ function: StaticString) -> Bool {
    if cookie <= currentGracePeriod().sequence &+ 1 { return true }
    warn(.argument, function, "this cookie was never given out", cookie)
    return false
}
