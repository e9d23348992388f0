// SPDX-License-Identifier: GPL-2.0-only
// kfree_rcu_mightsleep(): an object that has no head in it.
import CPlatform
import CTDPMMU

/// What waits in the object's place; from malloc().
private struct Deferred {
    var head: rcu_head
    var object: UnsafeMutableRawPointer
    /// A function like free().
    var function: UInt
}

/// Give `object` to `function` after a grace period; nil: to free().
package func kfreeRCUMightSleep(
    _ object: UnsafeMutableRawPointer, _ function: (@convention(c) (UnsafeMutableRawPointer?) -> Void)?
) {
    guard mayWait("tdpmmu_kfree_rcu_mightsleep") else { return }
    let address = function.map { unsafeBitCast($0, to: UInt.self) } ?? cp_free_function()
    guard let memory = cp_malloc(MemoryLayout<Deferred>.size) else {
        GracePeriod.wait(.call)
        cp_call_free(address, object)
        return
    }
    let deferred = memory.assumingMemoryBound(to: Deferred.self)
    deferred.initialize(to: Deferred(head: rcu_head(next: nil, func: nil), object: object, function: address))
    kfreeRCU(memory, memory.assumingMemoryBound(to: rcu_head.self), runDeferred)
}

private func runDeferred(_ memory: UnsafeMutableRawPointer?) {
    guard let memory else { return }
    let deferred = memory.assumingMemoryBound(to: Deferred.self).pointee
    cp_free(memory)
    cp_call_free(deferred.function, deferred.object)
}
