// SPDX-License-Identifier: GPL-2.0-only
// Atomics on raw words: C structs and page tables hold plain integers, every
// shared access to which goes through these views.
import CPlatform
import Synchronization

package typealias AtomicWord32 = UnsafeMutablePointer<Atomic<UInt32>>
package typealias AtomicWord64 = UnsafeMutablePointer<Atomic<UInt64>>
package typealias AtomicWord = UnsafeMutablePointer<Atomic<UInt>>

@inline(__always)
package func atomic16(_ word: UnsafeMutablePointer<UInt16>) -> UnsafeMutablePointer<Atomic<UInt16>> {
    UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt16>.self)
}

@inline(__always)
package func atomic32(_ word: UnsafeMutablePointer<UInt32>) -> AtomicWord32 {
    UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt32>.self)
}

@inline(__always)
package func atomic64(_ word: UnsafeMutablePointer<UInt64>) -> AtomicWord64 {
    UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt64>.self)
}

@inline(__always)
package func atomicWord(_ word: UnsafeMutablePointer<UInt>) -> AtomicWord {
    UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt>.self)
}

/// A number for the calling thread, never 0 and never given out again.
@inline(__always)
package func currentThreadID() -> UInt64 {
    let id = cp_self().pointee.id
    return id != 0 ? id : newThreadID()
}

@inline(never)
private func newThreadID() -> UInt64 {
    let id = atomic64(cp_thread_ids()).pointee.wrappingAdd(1, ordering: .relaxed).newValue
    cp_self().pointee.id = id
    return id
}
