// SPDX-License-Identifier: GPL-2.0-only
// For the library that has Linux's MMU behind this interface (linux/): it is linked with these objects,
// and comes by these names, which no library exports, to what it shares with this one.
import CPlatform
import CTDPMMU
import MMU
import RCU
import Sync
import Synchronization
import Tracing

/// A warning that no VM's own handler takes.
@c(tdpmmu_peer_warn)
public func peerWarn(_ kvm: UnsafeMutablePointer<kvm>?, _ warning: UnsafePointer<tdpmmu_warning>) {
    var copy = warning.pointee
    giveWarning(&copy, kvm)
}

/// Numbers and places an event, and puts it into the calling thread's ring if `toRing`.
@c(tdpmmu_peer_event)
public func peerEvent(_ event: UnsafeMutablePointer<tdpmmu_trace_event>, _ toRing: Bool) {
    event.pointee.count = shared(cp_trace_count()).pointee.wrappingAdd(1, ordering: .relaxed).newValue
    event.pointee.thread = cp_cached_tid()
    event.pointee.cpu = cp_current_cpu()
    guard toRing else { return }
    if let ring = TraceRing.own { ring.put(event) } else { TraceRings.countLost() }
}

/// A VM's mmu_lock, with its place in the order of locks.
@c(tdpmmu_peer_init_mmu_lock)
public func peerInitMMULock(_ lock: UnsafeMutablePointer<tdpmmu_rwlock>) {
    RWLock(lock).reset()
    RWLock(lock).setRank(.mmu)
}

/// Would rcu_barrier() wait here, or refuse?
@c(tdpmmu_peer_may_wait)
public func peerMayWait() -> Bool { mayWaitForCallbacks }
