// SPDX-License-Identifier: GPL-2.0-only
// A mutex in 32 bits, for memory that C structs own.
import CPlatform
import Synchronization

/// All-zero is unlocked.  Not recursive, not fair: a thread that comes first gets it.
package struct FutexMutex {
    private let word: AtomicWord32

    private static var free: UInt32 { 0 }
    private static var held: UInt32 { 1 }
    /// Held, and threads may sleep on the word.
    private static var contended: UInt32 { 2 }
    /// Pauses before sleeping: longer than the short sections, shorter than a wake-up.
    private static var spinLimit: Int { pauses(64) }

    @inline(__always)
    package init(_ mutex: UnsafeMutablePointer<cp_mutex>) {
        word = UnsafeMutableRawPointer(mutex).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    /// Nobody has it any more, in a forked child.
    package func setFree() { word.pointee.store(Self.free, ordering: .relaxed) }

    @inline(__always)
    package func tryLock() -> Bool {
        // Acquire: pairs with the release in unlock.
        word.pointee.compareExchange(
            expected: Self.free, desired: Self.held,
            successOrdering: .acquiring, failureOrdering: .relaxed
        ).exchanged
    }

    @inline(__always)
    package func lock() {
        if !tryLock() { lockSlow() }
    }

    @inline(never)
    private func lockSlow() {
        for _ in 0..<Self.spinLimit {
            if word.pointee.load(ordering: .relaxed) == Self.free, tryLock() { return }
            cp_cpu_relax()
        }
        // Taken as contended: others may sleep, and our unlock must wake one.
        while word.pointee.exchange(Self.contended, ordering: .acquiring) != Self.free {
            cp_futex_wait(word, Self.contended, 0)
        }
    }

    @inline(__always)
    package func unlock() {
        // Release: pairs with the acquire in tryLock and lockSlow.
        let before = word.pointee.exchange(Self.free, ordering: .releasing)
        if before == Self.contended { cp_futex_wake(word, 1) }
    }
}
