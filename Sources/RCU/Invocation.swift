// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// Running callbacks; engine mutex held.
enum Invocation {
    static var mutex: RankedMutex { RankedMutex(cp_engine_mutex(), .engine) }

    /// What was collected and has not begun to run: a forked child looks for what it keeps.
    static var running: AtomicWord { shared(cp_engine_running()) }

    /// A batch that waits for its grace period; registry mutex held as well.
    static func waiting(_ batch: CallbackList) {
        running.pointee.store(UInt(bitPattern: batch.first), ordering: .relaxed)
    }

    /// Run a batch; returns how many there were.
    static func run(_ batch: CallbackList) -> UInt64 {
        let thread = cp_self()
        let cookie = shared(cp_call_cookie()).pointee.load(ordering: .relaxed)
        thread.pointee.in_callback = 1
        var count: UInt64 = 0
        var link = batch.first
        while let head = link {
            link = Head(head.pointee.next)  // the callback may free the head
            // A fork must find it either waiting or done: the child could not finish it.
            let isKept = QueuedMark.isKept(head, cookie: cookie)
            if isKept { ForkGate.enter() }
            running.pointee.store(UInt(bitPattern: link), ordering: .relaxed)
            QueuedMark.invoke(head)
            if isKept { ForkGate.leave() }
            count &+= 1
            // A callback forked, and this is the child: the rest is the parent's.
            if shared(cp_call_cookie()).pointee.load(ordering: .relaxed) != cookie {
                count = 0
                break
            }
        }
        thread.pointee.in_callback = 0
        return count
    }
}
