// SPDX-License-Identifier: GPL-2.0-only
// A thread comes on the list of those that note what they read, and leaves it.
import CPlatform

extension ReaderNotes {
    /// False if the calling thread never makes notes: there is no membarrier, or its exit cannot
    /// be seen, or has been.
    @inline(never)
    @discardableResult
    package static func join() -> Bool {
        if isMember { return true }
        guard own.pointee.membership == notYet, cp_self().pointee.exiting == 0, cp_has_membarrier(),
              cp_thread_at_exit(CP_EXIT_NOTES, threadExits)
        else {
            own.pointee.membership = never
            return false
        }
        ForkList.add(.readerNotes, prepare: { ReaderNotes.mutex.lock() }, parent: { ReaderNotes.mutex.unlock() }, child: {
            ReaderNotes.childForked()
            ReaderNotes.mutex.unlock()
        })
        mutex.locked { add() }
        return true
    }
}

/// After the locks and sections that the thread had (cp_exit_kind).
private func threadExits() {
    ReaderNotes.mutex.locked { if ReaderNotes.isMember { ReaderNotes.remove() } }
}
