// SPDX-License-Identifier: GPL-2.0-only
// call_rcu(): put a callback in the thread's queue.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// Run `function(head)` once, in the callback worker, after a grace period.
@inline(__always)
package func callRCU(_ head: UnsafeMutablePointer<rcu_head>, _ function: RCUCallback) {
    enqueue(head, unsafeBitCast(function, to: UInt.self))
}

@inline(never)
private func enqueue(_ head: Head, _ function: UInt) {
    let own = CallbackQueue.own
    if own.known != function, !prepareQueue(for: function) {
        enqueueLate(head, function)
        return
    }
    guard QueuedMark.put(on: head, function) else { return }
    own.append(head)
    // Pairs with the heavy fence in Worker.sleep: either we see it asleep, or it
    // sees the callback.
    lightFence(fences: own.needsFences)
    if atomic32(cp_rcu_worker()).pointee.load(ordering: .relaxed) != Worker.awake {
        Worker.wake()
    }
}

/// A function other than last time, or the thread's first call.  False if the
/// thread cannot have a queue.
@inline(never)
private func prepareQueue(for function: UInt) -> Bool {
    let own = CallbackQueue.own
    QueuedMark.remember(function)
    if own.known == 0 {
        Registry.joinIfNew()
        if ownWord.pointee.load(ordering: .relaxed) == ReaderWord.unregistered.raw { return false }
        let signals = cp_signals_block()
        registryMutex.lock()
        own.enlist()
        registryMutex.unlock()
        cp_signals_restore(signals)
    }
    own.known = function
    return true
}

/// A thread past its exit handler: straight to the orphans.
@inline(never)
private func enqueueLate(_ head: Head, _ function: UInt) {
    guard QueuedMark.put(on: head, function) else { return }
    let signals = cp_signals_block()
    registryMutex.lock()
    Orphans.append(head, lastNext: UInt(bitPattern: head))
    registryMutex.unlock()
    cp_signals_restore(signals)
    atomicMemoryFence(ordering: .sequentiallyConsistent)  // as in enqueue, without a queue
    if atomic32(cp_rcu_worker()).pointee.load(ordering: .relaxed) != Worker.awake {
        Worker.wake()
    }
}

/// How a second call_rcu() of a queued head is noticed.  While a head is queued,
/// its func field holds the function xor the head's own address xor a cookie that
/// no address looks like; func is put back before the callback runs.  A field that
/// was never initialised, or that was copied from elsewhere, does not decode to one
/// of the functions ever passed.
enum QueuedMark {
    private static var cookie: AtomicWord { atomicWord(cp_rcu_cookie()) }

    /// User addresses end below this bit.
    private static var addressBits: UInt { 47 }

    @inline(__always)
    private static func mask(_ head: Head) -> UInt {
        cookie.pointee.load(ordering: .relaxed) ^ UInt(bitPattern: head)
    }

    /// False, with a warning, if the head is queued already.
    @inline(__always)
    static func put(on head: Head, _ function: UInt) -> Bool {
        if cp_under_valgrind_now() != 0 { cp_valgrind_defined(head, MemoryLayout<rcu_head>.size) }
        let words = UnsafeMutableRawPointer(head).assumingMemoryBound(to: UInt.self)
        let decoded = words[1] ^ mask(head)
        if decoded &>> addressBits == 0, isKnown(decoded) {
            warn(.rcu, "call_rcu", "this head is queued already", UInt64(UInt(bitPattern: head)))
            return false
        }
        words[0] = 0
        words[1] = function ^ mask(head)
        return true
    }

    /// Undo, and give the function.
    @inline(__always)
    static func remove(from head: Head) -> RCUCallback {
        let words = UnsafeMutableRawPointer(head).assumingMemoryBound(to: UInt.self)
        let function = words[1] ^ mask(head)
        words[1] = function
        return unsafeBitCast(function, to: RCUCallback.self)
    }

    @inline(never)
    private static func isKnown(_ function: UInt) -> Bool {
        guard function != 0 else { return false }
        for i in 0..<Int(CP_KNOWN_FUNCTIONS) {
            let known = atomicWord(cp_rcu_known() + i).pointee.load(ordering: .relaxed)
            if known == function { return true }
            if known == 0 { return false }
        }
        return false
    }

    /// Relaxed: a function that another thread adds meanwhile costs at most one
    /// unnoticed mistake.  A full table the same.
    static func remember(_ function: UInt) {
        for i in 0..<Int(CP_KNOWN_FUNCTIONS) {
            let result = atomicWord(cp_rcu_known() + i).pointee.compareExchange(
                expected: 0, desired: function, ordering: .relaxed)
            if result.exchanged || result.original == function { return }
        }
    }
}
