// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// What a queued head's func field holds, and how a second call_rcu() is noticed.
///
/// An action is a function, or a function like free() together with the distance
/// from the begin of the object to its head.  While a head is queued, its func field
/// holds the action xor the head's own address xor a cookie that no action looks
/// like; the action is put back before the callback runs.  A field that
/// was never initialised, or that was copied from elsewhere, does not decode to one
/// of the functions ever passed.
enum QueuedMark {
    private static var cookie: AtomicWord { shared(cp_call_cookie()) }

    /// User addresses end below this bit; in an action it is 0, in the cookie 1.
    private static var addressBits: UInt { 47 }
    private static var addressMask: UInt { 1 &<< addressBits &- 1 }
    /// Set: the function is like free().  The distance stands above it.
    private static var freeBit: UInt { 48 }
    static var offsetLimit: UInt { 4096 }
    private static var actionBits: UInt { 61 }

    @inline(__always)
    static func freeing(_ function: UInt, offset: UInt) -> UInt {
        function | 1 &<< freeBit | offset &<< (freeBit &+ 1)
    }

    @inline(__always)
    static func function(of action: UInt) -> UInt { action & addressMask }

    /// Is it queued with this cookie, and of the function that a forked child keeps?
    @inline(__always)
    static func isKept(_ head: Head, cookie: UInt) -> Bool {
        let words = UnsafeMutableRawPointer(head).assumingMemoryBound(to: UInt.self)
        return words[1] ^ cookie ^ UInt(bitPattern: head)
            == shared(cp_engine_kept()).pointee.load(ordering: .relaxed)
    }

    /// From the parent's mark to the child's; it is the last of its list from now on.
    static func move(_ head: Head, from old: UInt, to new: UInt) {
        let words = UnsafeMutableRawPointer(head).assumingMemoryBound(to: UInt.self)
        words[0] = 0
        words[1] ^= old ^ new
    }

    @inline(__always)
    private static func mask(_ head: Head) -> UInt {
        cookie.pointee.load(ordering: .relaxed) ^ UInt(bitPattern: head)
    }

    @inline(__always)
    private static func funcField(_ head: Head) -> AtomicWord {
        (UnsafeMutableRawPointer(head) + MemoryLayout<UInt>.size).assumingMemoryBound(to: Atomic<UInt>.self)
    }

    /// False, with a warning, if the head is queued.
    @inline(__always)
    private static func isFree(_ head: Head, _ caller: StaticString) -> Bool {
        if cp_under_valgrind_now() != 0 { cp_valgrind_defined(head, MemoryLayout<rcu_head>.size) }
        let decoded = funcField(head).pointee.load(ordering: .relaxed) ^ mask(head)
        if decoded &>> actionBits == 0, decoded &>> addressBits & 1 == 0,
           isKnown(function(of: decoded)) {
            warn(.rcu, caller, "this head is queued already", UInt64(UInt(bitPattern: head)))
            return false
        }
        return true
    }

    /// False, with a warning, if the head is queued already.
    @inline(__always)
    static func put(on head: Head, _ action: UInt, _ caller: StaticString) -> Bool {
        guard isFree(head, caller) else { return false }
        head.pointee.next = nil
        // Relaxed and atomic, because isQueued() looks at it at any time.
        funcField(head).pointee.store(action ^ mask(head), ordering: .relaxed)
        return true
    }

    /// What initialize() leaves in the func field.
    private static var nothing: UInt { .max }

    /// Ready for isQueued().  A head that is queued: a warning, no effect.
    static func initialize(_ head: Head, _ caller: StaticString) {
        guard isFree(head, caller) else { return }
        funcField(head).pointee.store(nothing, ordering: .relaxed)
    }

    /// Is the head queued, for this function?  False also after initialize(); in any other
    /// state false with a warning.
    static func isQueued(_ head: Head, for function: UInt, _ caller: StaticString) -> Bool {
        let found = funcField(head).pointee.load(ordering: .relaxed)
        if found ^ mask(head) == function { return true }
        if found != nothing {
            warn(.rcu, caller, "this head is neither fresh from rcu_head_init() nor queued with that function",
                 UInt64(UInt(bitPattern: head)))
        }
        return false
    }

    /// Undo, and do what the head stands for.
    @inline(__always)
    static func invoke(_ head: Head) {
        let words = UnsafeMutableRawPointer(head).assumingMemoryBound(to: UInt.self)
        let action = words[1] ^ mask(head)
        if action &>> addressBits == 0 {
            words[1] = action
            unsafeBitCast(action, to: RCUCallback.self)(head)
        } else {
            words[1] = 0
            let offset = action &>> (freeBit &+ 1)
            cp_call_free(function(of: action), UnsafeMutableRawPointer(head) - Int(offset))
        }
    }

    @inline(never)
    private static func isKnown(_ function: UInt) -> Bool {
        guard function != 0 else { return false }
        for i in 0..<Int(CP_KNOWN_FUNCTIONS) {
            let known = shared(cp_call_known() + i).pointee.load(ordering: .relaxed)
            if known == function { return true }
            if known == 0 { return false }
        }
        return false
    }

    /// Relaxed: a function that another thread adds meanwhile costs at most one
    /// unnoticed mistake.  A full table the same.
    static func remember(_ function: UInt) {
        for i in 0..<Int(CP_KNOWN_FUNCTIONS) {
            let result = shared(cp_call_known() + i).pointee.compareExchange(
                expected: 0, desired: function, ordering: .relaxed)
            if result.exchanged || result.original == function { return }
        }
    }
}
