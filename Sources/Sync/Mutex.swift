// SPDX-License-Identifier: GPL-2.0-only
// A mutex in 32 bits, for memory that C structs own.
import CPlatform
import Synchronization

/// All-zero is unlocked.  Not recursive, not fair: whoever comes first gets it.
package struct FutexMutex {
    private let word: UnsafeMutablePointer<UInt32>

    private static var free: UInt32 { 0 }
    private static var held: UInt32 { 1 }
    /// Held, and somebody may sleep on the word.
    private static var contended: UInt32 { 2 }
    /// Pauses before sleeping: longer than the short sections, shorter than a wake-up.
    private static var spinLimit: Int { 64 }

    @inline(__always)
    package init(_ word: UnsafeMutablePointer<UInt32>) { self.word = word }

    @inline(__always)
    package func tryLock() -> Bool {
        // Acquire: pairs with the release in unlock.
        atomic32(word).pointee.compareExchange(
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
            if atomic32(word).pointee.load(ordering: .relaxed) == Self.free, tryLock() { return }
            cp_cpu_relax()
        }
        // Taken as contended: others may sleep, and our unlock must wake one.
        while atomic32(word).pointee.exchange(Self.contended, ordering: .acquiring) != Self.free {
            cp_futex_wait(word, Self.contended, 0)
        }
    }

    @inline(__always)
    package func unlock() {
        // Release: pairs with the acquire in tryLock and lockSlow.
        let before = atomic32(word).pointee.exchange(Self.free, ordering: .releasing)
        if before == Self.contended { cp_futex_wake(word, 1) }
    }
}
