// SPDX-License-Identifier: GPL-2.0-only
// An SRCU domain: how it comes to be, and its counts.  SRCU.swift has the algorithm.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// One domain, in its user's memory.  What the MMU puts its memslots under.
package struct SRCUDomain {
    package let domain: UnsafeMutablePointer<srcu_struct>

    @inline(__always)
    package init(_ domain: UnsafeMutablePointer<srcu_struct>) { self.domain = domain }

    init(_ state: UnsafeMutablePointer<cp_srcu>) {
        self.init(UnsafeMutableRawPointer(state).assumingMemoryBound(to: srcu_struct.self))
    }

    @inline(__always)
    var state: UnsafeMutablePointer<cp_srcu> {
        UnsafeMutableRawPointer(domain).assumingMemoryBound(to: cp_srcu.self)
    }

    var address: UInt64 { UInt64(UInt(bitPattern: domain)) }

    // MARK: Life

    /// Relaxed: a user of the domain was told of it by the caller of initialize().
    @inline(__always)
    var isAlive: Bool {
        shared(cp_srcu_self(state)).pointee.load(ordering: .relaxed) == UInt(bitPattern: domain)
    }

    /// Acquire: pairs with the release in enlist; the id is there.
    @inline(__always)
    var isListed: Bool {
        shared(cp_srcu_listed(state)).pointee.load(ordering: .acquiring) != 0
    }

    /// SRCU mutex held.
    func enlist() {
        let all = cp_srcu_all()
        let state = state
        // 30 bits, so that an index is a positive int.
        all.pointee.last_id = (all.pointee.last_id &+ 1) & 0x3fff_ffff
        state.pointee.id = all.pointee.last_id
        state.pointee.next = all.pointee.domains
        state.pointee.prev = nil
        if let next = state.pointee.next { next.pointee.prev = state }
        all.pointee.domains = state
        // Release: pairs with the acquire in isListed.
        shared(cp_srcu_listed(state)).pointee.store(1, ordering: .releasing)
    }

    // MARK: Readers

    @inline(__always)
    var index: AtomicWord64 { shared(cp_srcu_index(state)) }

    @inline(__always)
    private func shard(_ number: UInt64) -> UnsafeMutablePointer<cp_srcu_shard> {
        cp_srcu_shards(state) + Int(number % UInt64(CP_SRCU_SHARDS))
    }

    /// The counts of readers that came in, or went out, by this index, of a shard.
    @inline(__always)
    func entered(_ which: UInt32, _ number: UInt64) -> AtomicWord64 {
        shared(cp_srcu_shard_entered(shard(number)) + Int(which))
    }

    @inline(__always)
    func left(_ which: UInt32, _ number: UInt64) -> AtomicWord64 {
        shared(cp_srcu_shard_left(shard(number)) + Int(which))
    }

    /// The domain may be gone when this returns, so what follows the count is global.
    @inline(__always)
    func leave(_ which: UInt32) {
        // Release: pairs with the acquire in isDrained.  A full fence as well: pairs
        // with the one in advance; either it sees us out, or we see that it waits.
        left(which, currentThreadID()).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        if shared(cp_srcu_waiting()).pointee.load(ordering: .relaxed) != 0 { SRCU.readerLeft() }
    }
}
