// SPDX-License-Identifier: GPL-2.0-only
// Which locks the calling thread holds for read: a small table in the thread's
// own memory, newest last.  (Who holds a lock for write stands in the lock.)
import CPlatform
import CTDPMMU

package enum ReadHolds {
    /// How often this thread holds the lock.
    @inline(__always)
    static func count(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>) -> UInt64 {
        let thread = cp_self()
        let holds = cp_thread_holds(thread)
        var i = Int(thread.pointee.hold_count)
        while i > 0 {
            i &-= 1
            if holds[i].lock == lock { return holds[i].count }
        }
        return 0
    }

    /// How many different locks this thread holds for read.
    package static var lockCount: Int { Int(cp_self().pointee.hold_count) }

    /// Make room for one more entry; false if there is no memory.
    @inline(__always)
    static func reserve() -> Bool {
        let thread = cp_self()
        if thread.pointee.holds == nil, thread.pointee.hold_count < UInt32(CP_INLINE_HOLDS) {
            return true
        }
        return reserveSlow()
    }

    @inline(never)
    private static func reserveSlow() -> Bool {
        let thread = cp_self()
        let used = Int(thread.pointee.hold_count)
        let capacity = thread.pointee.holds == nil
            ? Int(CP_INLINE_HOLDS) : Int(thread.pointee.hold_capacity)
        if used < capacity { return true }
        guard let raw = cp_malloc(2 * capacity * MemoryLayout<cp_hold>.stride) else { return false }
        let larger = raw.bindMemory(to: cp_hold.self, capacity: 2 * capacity)
        larger.initialize(from: cp_thread_holds(thread), count: used)
        cp_free(thread.pointee.holds)
        thread.pointee.holds = larger
        thread.pointee.hold_capacity = UInt32(2 * capacity)
        return true
    }

    /// Count the lock once more, with room reserved if it is not there yet.
    @inline(__always)
    static func add(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>) {
        let thread = cp_self()
        let holds = cp_thread_holds(thread)
        let used = Int(thread.pointee.hold_count)
        var i = used
        while i > 0 {
            i &-= 1
            if holds[i].lock == lock {
                holds[i].count &+= 1
                return
            }
        }
        holds[used] = cp_hold(lock: lock, count: 1)
        thread.pointee.hold_count = UInt32(truncatingIfNeeded: used &+ 1)
    }

    /// Count the lock once less; returns how often it is still held, nil if it was not.
    @inline(__always)
    static func remove(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>) -> UInt64? {
        let thread = cp_self()
        let holds = cp_thread_holds(thread)
        let used = Int(thread.pointee.hold_count)
        var i = used
        while i > 0 {
            i &-= 1
            guard holds[i].lock == lock else { continue }
            holds[i].count &-= 1
            let left = holds[i].count
            if left == 0 {
                holds[i] = holds[used &- 1]
                thread.pointee.hold_count = UInt32(truncatingIfNeeded: used &- 1)
                if thread.pointee.holds != nil { shrink() }
            }
            return left
        }
        return nil
    }

    /// All holds of the lock at once; false if there are none.
    static func forget(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>) -> Bool {
        guard var left = remove(lock) else { return false }
        while left != 0 { left = remove(lock) ?? 0 }
        return true
    }

    /// Back to the inline table as soon as it is enough: a thread that ends with
    /// its locks released then leaves no memory behind.
    @inline(never)
    private static func shrink() {
        let thread = cp_self()
        let used = Int(thread.pointee.hold_count)
        guard used <= Int(CP_INLINE_HOLDS) / 2, let heap = thread.pointee.holds else { return }
        thread.pointee.holds = nil
        cp_thread_holds(thread).update(from: heap, count: used)
        cp_free(heap)
    }
}
