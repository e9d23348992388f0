// SPDX-License-Identifier: GPL-2.0-only
import CPlatform

/// Runs `body` with the calling thread's cancellation held off; a cancellation that came
/// meanwhile is acted upon afterwards.  Around all that waits, and around handlers: a thread
/// that ended there would leave mutexes, counts of waiters and queues as they were.
@inline(__always)
package func withoutCancellation<T: ~Copyable>(_ body: () -> T) -> T {
    let before = cp_cancel_hold()
    let result = body()
    cp_cancel_restore(before)
    return result
}
