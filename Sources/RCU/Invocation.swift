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

    /// Whose callbacks run: an SRCU domain's address, or 0.
    private static var domain: AtomicWord { shared(cp_engine_domain()) }

    /// How many of the batch have begun.
    private static var begun: AtomicWord64 { shared(cp_engine_ran()) }

    /// A batch that waits for its grace period; registry mutex held as well.
    static func waiting(_ batch: CallbackList) {
        running.pointee.store(UInt(bitPattern: batch.first), ordering: .relaxed)
    }

    /// Run a batch, of an SRCU domain or of RCU; returns how many there were, 0 in a child that
    /// one of them has forked.
    static func run(_ batch: CallbackList, of domain: SRCUDomain?) -> UInt64 {
        let thread = cp_self()
        let cookie = shared(cp_call_cookie()).pointee.load(ordering: .relaxed)
        thread.pointee.in_callback = 1
        self.domain.pointee.store(UInt(bitPattern: domain?.domain), ordering: .relaxed)
        var count: UInt64 = 0
        var link = batch.first
        while let head = link {
            link = Head(head.pointee.next)  // the callback may free the head
            count &+= 1
            // A fork must find it either waiting or done: the child could not finish it.
            let isKept = QueuedMark.isKept(head, cookie: cookie)
            if isKept { ForkGate.enter() }
            running.pointee.store(UInt(bitPattern: link), ordering: .relaxed)
            begun.pointee.store(count, ordering: .relaxed)
            QueuedMark.invoke(head)
            if isKept { ForkGate.leave() }
            // A callback forked, and this is the child: the rest is the parent's.
            if shared(cp_call_cookie()).pointee.load(ordering: .relaxed) != cookie {
                count = 0
                break
            }
        }
        thread.pointee.in_callback = 0
        endForgottenReader()
        return count
    }

    /// A callback that returned inside a reader: the next grace period would wait for it, and
    /// so for ever for the thread that is to run it.
    private static func endForgottenReader() {
        let word = ReaderWord(ownWord.pointee.load(ordering: .relaxed))
        if word.depth == 0 { return }
        warn(.rcu, "rcu_read_lock", "a callback returned inside a read-side section", word.depth)
        ownWord.pointee.store(ReaderWord.idle.raw, ordering: .releasing)  // as in rcuReadUnlock
        if word.wantsWake { ReaderEvent.readerLeft() }
    }

    /// The calling thread ends inside a callback.  The rest of the batch waits once more, before
    /// all that came later.
    static func handBack() {
        let rest = Head(bitPattern: running.pointee.load(ordering: .relaxed))
        let count = begun.pointee.load(ordering: .relaxed)
        running.pointee.store(0, ordering: .relaxed)
        cp_self().pointee.in_callback = 0
        if let state = UnsafeMutablePointer<srcu_struct>(
            bitPattern: domain.pointee.load(ordering: .relaxed)) {
            SRCUDomain(state).handBack(rest, begun: count)
        } else {
            registryMutex.lock()
            if let rest { Orphans.putFirst(rest) }
            registryMutex.unlock()
            PendingCallbacks.invoked(count)
        }
    }
}
