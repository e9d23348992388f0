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

/// Give `object`, of which `head` is a field, to `function` after a grace period;
/// nil: to free().
package func kfreeRCU(
    _ object: UnsafeMutableRawPointer, _ head: UnsafeMutablePointer<rcu_head>,
    _ function: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
) {
    let distance = UInt(bitPattern: head) &- UInt(bitPattern: object)
    guard distance < QueuedMark.offsetLimit else {
        warn(.argument, "tdpmmu_kfree_rcu", "the head is not in the object's first 4096 bytes",
             UInt64(UInt(bitPattern: object)), UInt64(UInt(bitPattern: head)))
        return
    }
    let address = function.map { unsafeBitCast($0, to: UInt.self) } ?? cp_free_function()
    enqueue(head, QueuedMark.freeing(address, offset: distance))
}

@inline(never)
private func enqueue(_ head: Head, _ action: UInt) {
    let own = CallbackQueue.own
    let function = QueuedMark.function(of: action)
    if own.known != function, !prepareQueue(for: function) {
        enqueueLate(head, action)
        return
    }
    guard QueuedMark.put(on: head, action, "call_rcu") else { return }
    own.append(head)
    if own.countOne() { Flood.slowDown() }
    // Pairs with the heavy fence in Worker.sleep: either we see it asleep, or it
    // sees the callback.
    lightFence(fences: own.needsFences)
    if WorkerWord.state.pointee.load(ordering: .relaxed) != WorkerWord.awake {
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
        Threads.joinIfNew()
        if !Registry.isMember { return false }
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
private func enqueueLate(_ head: Head, _ action: UInt) {
    guard QueuedMark.put(on: head, action, "call_rcu") else { return }
    let signals = cp_signals_block()
    registryMutex.lock()
    Orphans.append(head, lastNext: UInt(bitPattern: head))
    registryMutex.unlock()
    cp_signals_restore(signals)
    PendingCallbacks.add(1)
    atomicMemoryFence(ordering: .sequentiallyConsistent)  // as in enqueue, without a queue
    if WorkerWord.state.pointee.load(ordering: .relaxed) != WorkerWord.awake {
        Worker.wake()
    }
}
