// SPDX-License-Identifier: GPL-2.0-only
// A thread and RCU, from its first use to its exit.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

enum Threads {
    /// Put the calling thread on the list of readers.  False if that cannot be: it is past
    /// its exit handler, or there is no handler to be had.
    @inline(never)
    static func join() -> Bool {
        ForkSupport.install()  // also for a thread that will not be on the list: it takes the mutex
        if cp_self().pointee.exiting != 0 || !cp_thread_at_exit(CP_EXIT_RCU, threadExits) { return false }
        let signals = cp_signals_block()
        Registry.add()
        cp_signals_restore(signals)
        return true
    }

    /// Make sure that the calling thread is on the list, or never can be.
    @inline(__always)
    static func joinIfNew() {
        if !Registry.isMember { _ = join() }
    }

    /// Off the list until the next use.  Inside a section: a warning, no effect.
    static func goOffline(_ function: StaticString) {
        if rcuReadLockHeld() {
            warn(.rcu, function, "called inside a read-side section")
            return
        }
        let signals = cp_signals_block()
        registryMutex.lock()
        Registry.remove()
        registryMutex.unlock()
        cp_signals_restore(signals)
    }

    /// The calling thread exits: its memory is about to go.  Destructors that run
    /// after this one and use RCU go through LateReaders and the orphans.
    fileprivate static func leave() {
        let signals = cp_signals_block()
        registryMutex.lock()
        let word = ReaderWord(ownWord.pointee.load(ordering: .relaxed))
        Registry.remove()
        CallbackQueue.abandonOwn()
        cp_self().pointee.exiting = 1
        registryMutex.unlock()
        cp_signals_restore(signals)
        if word.depth != 0 {
            warn(.rcu, "rcu_read_lock", "a thread exits inside a read-side section", word.depth)
            if word.wantsWake { ReaderEvent.readerLeft() }
        }
        SRCUHolds.releaseAllAtExit()
    }
}

private func threadExits() { Threads.leave() }

/// Have the calling thread on the list before its first use; false if it exits.
package func rcuRegisterThread() -> Bool {
    Threads.joinIfNew()
    return Registry.isMember
}

package func rcuUnregisterThread() { Threads.goOffline("tdpmmu_rcu_unregister_thread") }

package func rcuThreadOffline() { Threads.goOffline("tdpmmu_rcu_thread_offline") }
