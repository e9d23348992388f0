// SPDX-License-Identifier: GPL-2.0-only
// Atomics in memory that C structs and page tables own.  A shared word of a C struct has a
// type that says so (cp_shared.h); a page table, and the public structs, hold plain integers.
import CPlatform
import Synchronization

package typealias AtomicWord32 = UnsafeMutablePointer<Atomic<UInt32>>
package typealias AtomicWord64 = UnsafeMutablePointer<Atomic<UInt64>>
package typealias AtomicWord = UnsafeMutablePointer<Atomic<UInt>>

@inline(__always)
package func atomic32(_ word: UnsafeMutablePointer<UInt32>) -> AtomicWord32 {
    UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt32>.self)
}

/// Where a field of a struct in memory lies: place(of: &pointer.pointee.field).
@inline(__always)
package func place<T: ~Copyable>(of field: inout T) -> UnsafeMutablePointer<T> {
    withUnsafeMutablePointer(to: &field) { $0 }
}

/// A shared word of a C struct, as the atomic that it is.
@inline(__always)
package func shared(_ word: UnsafeMutablePointer<cp_shared8>) -> UnsafeMutablePointer<Atomic<UInt8>> {
    UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt8>.self)
}

@inline(__always)
package func shared(_ word: UnsafeMutablePointer<cp_shared16>) -> UnsafeMutablePointer<Atomic<UInt16>> {
    UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt16>.self)
}

@inline(__always)
package func shared(_ word: UnsafeMutablePointer<cp_shared32>) -> AtomicWord32 {
    UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt32>.self)
}

@inline(__always)
package func shared(_ word: UnsafeMutablePointer<cp_shared64>) -> AtomicWord64 {
    UnsafeMutableRawPointer(word).assumingMemoryBound(to: Atomic<UInt64>.self)
}

@inline(__always)
package func shared(_ word: UnsafeMutablePointer<cp_shared_word>) -> AtomicWord {
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
    let id = shared(cp_thread_ids()).pointee.wrappingAdd(1, ordering: .relaxed).newValue
    cp_self().pointee.id = id
    return id
}

/// How often a thread looks before it sleeps.  Where all schedules are explored to look once shows all there is.
@inline(__always)
package func pauses(_ count: Int) -> Int {
    #if SCHEDULE_POINTS
    1
    #else
    count
    #endif
}
