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

    /// Acquire: pairs with the release in setUp; the id is there.
    @inline(__always)
    var isSetUp: Bool {
        shared(cp_srcu_process(state)).pointee.load(ordering: .acquiring)
            == SRCU.process.pointee.load(ordering: .relaxed)
    }

    /// SRCU mutex held.  The first use in this process: of a new domain, or of one that was the
    /// parent's, whose other threads' readers and callbacks are not here.
    func setUp() {
        let all = cp_srcu_all()
        if shared(cp_srcu_process(state)).pointee.load(ordering: .relaxed) == 0 {
            // 30 bits, so that an index is a positive int.
            all.pointee.last_id = (all.pointee.last_id &+ 1) & 0x3fff_ffff
            state.pointee.id = all.pointee.last_id
        } else {
            forget()
        }
        // Release: pairs with the acquire in isSetUp.
        shared(cp_srcu_process(state)).pointee.store(
            SRCU.process.pointee.load(ordering: .relaxed), ordering: .releasing)
    }

    // MARK: The lists of domains with something to do; SRCU mutex held

    /// 0 to CP_SRCU_BUCKETS - 1.
    @inline(__always)
    private var bucketNumber: UInt64 { (address &* 0x9e37_79b9_7f4a_7c15) >> 58 }

    /// The bit of its bucket.
    @inline(__always)
    var bucket: UInt64 { 1 &<< bucketNumber }

    private var bucketHead: UnsafeMutablePointer<UnsafeMutablePointer<cp_srcu>?> {
        cp_srcu_global_buckets(cp_srcu_all()) + Int(bucketNumber)
    }

    /// There is something to do.
    func enlist() {
        let state = state
        if state.pointee.is_listed != 0 { return }
        state.pointee.is_listed = 1
        state.pointee.next = bucketHead.pointee
        state.pointee.prev = nil
        if let next = state.pointee.next { next.pointee.prev = state }
        bucketHead.pointee = state
    }

    /// There is not, or it is being done.
    func delist() {
        let state = state
        if state.pointee.is_listed == 0 { return }
        state.pointee.is_listed = 0
        let next = state.pointee.next
        let previous = state.pointee.prev
        if let next { next.pointee.prev = previous }
        if let previous {
            previous.pointee.next = next
        } else if cp_srcu_all().pointee.round == state {
            cp_srcu_all().pointee.round = next
        } else {
            bucketHead.pointee = next
        }
    }

    /// Does it stand in a list?  Asks the lists, and not the domain's memory.
    var isListed: Bool {
        var lists = (cp_srcu_all().pointee.round, bucketHead.pointee)
        while let state = lists.0 ?? lists.1 {
            if state == self.state { return true }
            if lists.0 != nil { lists.0 = state.pointee.next } else { lists.1 = state.pointee.next }
        }
        return false
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

    /// Readers by this index that belong to no thread.
    @inline(__always)
    func loose(_ which: UInt32) -> AtomicWord32 { shared(cp_srcu_loose(state) + Int(which)) }

    /// Do its readers make notes?  A VM's do: a fault is one.  Others count, which makes their
    /// grace periods cheaper; their way is the straight one, by _slowPath(hasNotes).
    @inline(__always)
    var hasNotes: Bool { state.pointee.rank != 0 }

    /// The note of a reader by this index.  A domain's address is even.
    @inline(__always)
    func note(_ which: UInt32) -> UInt { UInt(bitPattern: domain) | UInt(which) }

    /// Is the calling thread a reader by this index, and noted it?
    @inline(__always)
    func isNoted(_ which: UInt32) -> Bool {
        ReaderNotes.srcu.pointee.load(ordering: .relaxed) == note(which)
    }

    /// As leave, of a reader that made a note.
    @inline(__always)
    func leaveNoted() {
        if ReaderNotes.deeperSRCU.pointee != 0 {
            ReaderNotes.deeperSRCU.pointee &-= 1
            return
        }
        takeNote()
    }

    /// Of a reader that is inside once.
    @inline(__always)
    func takeNote() {
        ReaderNotes.take(ReaderNotes.srcu)
        let waiting = SRCU.waiting.pointee.load(ordering: .relaxed)
        if waiting != 0, waiting & bucket != 0 { SRCU.readerLeft(bucket) }
    }

    /// The domain may be gone when this returns, so what follows the count is global.
    @inline(__always)
    func leave(_ which: UInt32) {
        // Release: pairs with the acquire in isDrained.  A full fence as well: pairs
        // with the one in advance; either it sees us out, or we see that it waits.
        left(which, currentThreadID()).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        let bucket = bucket
        if SRCU.waiting.pointee.load(ordering: .relaxed) & bucket != 0 { SRCU.readerLeft(bucket) }
    }
}
