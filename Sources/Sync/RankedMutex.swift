// SPDX-License-Identifier: GPL-2.0-only
import CPlatform

/// A mutex with a place in the order of locks.  It is taken and let go of out of line: nobody takes one for each
/// fault or entry, and a hundred places do.
package struct RankedMutex {
    private let mutex: FutexMutex
    private let rank: LockRank

    @inline(__always)
    package init(_ word: UnsafeMutablePointer<cp_mutex>, _ rank: LockRank) {
        mutex = FutexMutex(word)
        self.rank = rank
    }

    @inline(never)
    package func lock() {
        LockOrder.check(rank)
        mutex.lock()
        LockOrder.mutexes.insert(rank)
    }

    /// Whatever is held: who does not wait cannot deadlock.
    @inline(never)
    package func tryLock() -> Bool {
        guard mutex.tryLock() else { return false }
        LockOrder.mutexes.insert(rank)
        return true
    }

    /// In spite of what is held: the caller says why it must.
    package func lockOutOfOrder() {
        mutex.lock()
        LockOrder.mutexes.insert(rank)
    }

    /// Nobody has it any more, in a forked child.
    package func setFree() { mutex.setFree() }

    @inline(never)
    package func unlock() {
        LockOrder.mutexes.remove(rank)
        mutex.unlock()
    }

    @inline(__always)
    package func locked<T: ~Copyable>(_ body: () -> T) -> T {
        lock()
        defer { unlock() }
        return body()
    }
}
