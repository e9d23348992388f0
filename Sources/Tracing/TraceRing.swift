// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// A thread's ring of events.  The thread writes without a lock and overwrites its oldest
/// events; readers, one at a time, see from the count of events written which of those
/// that they copied were whole.
package struct TraceRing {
    let ring: UnsafeMutablePointer<cp_trace_ring>

    private static var wordsPerEvent: UInt64 { UInt64(MemoryLayout<tdpmmu_trace_event>.size / 8) }
    /// Rings of one process; threads beyond find those of threads that have gone.
    private static var mostRings: UInt32 { 1024 }

    private var capacity: UInt64 { ring.pointee.capacity }
    private var written: AtomicWord64 { shared(cp_trace_ring_written(ring)) }
    private var owned: AtomicWord32 { shared(cp_trace_ring_owned(ring)) }

    /// The calling thread's; made or taken over at its first event.
    package static var own: TraceRing? {
        if let ring = cp_self().pointee.trace_ring { return TraceRing(ring: ring) }
        return acquire()
    }

    /// By the ring's thread only.
    package func put(_ event: UnsafePointer<tdpmmu_trace_event>) {
        let number = written.pointee.load(ordering: .relaxed)
        // Release: a reader that sees one of the words below sees that the event whose place they
        // take is on its way out.  Pairs with the acquiring fence in copy().
        atomicMemoryFence(ordering: .releasing)
        let from = UnsafeRawPointer(event).assumingMemoryBound(to: UInt64.self)
        for i in 0..<Self.wordsPerEvent {
            word(number, i).pointee.store(from[Int(i)], ordering: .relaxed)
        }
        // Release: pairs with the acquire in available(); the event is whole.
        written.pointee.store(number &+ 1, ordering: .releasing)
    }

    private func word(_ number: UInt64, _ index: UInt64) -> AtomicWord64 {
        shared(cp_ring_word(ring, number & (capacity - 1), index))
    }

    /// Events that may be read: those of the trace mutex's holder.  What was overwritten
    /// meanwhile is passed over and counted as lost.
    func available() -> Range<UInt64> {
        // Acquire: pairs with the release in put().
        let end = written.pointee.load(ordering: .acquiring)
        let read = cp_trace_ring_read(ring)
        // The oldest place may be in the writer's hands.
        let oldest = end >= capacity ? end - capacity + 1 : 0
        if read.pointee < oldest {
            shared(cp_trace_lost()).pointee.wrappingAdd(oldest - read.pointee, ordering: .relaxed)
            read.pointee = oldest
        }
        return read.pointee..<end
    }

    /// False if the writer came by.
    func copy(_ number: UInt64, to event: UnsafeMutablePointer<tdpmmu_trace_event>) -> Bool {
        let to = UnsafeMutableRawPointer(event).assumingMemoryBound(to: UInt64.self)
        for i in 0..<Self.wordsPerEvent { to[Int(i)] = word(number, i).pointee.load(ordering: .relaxed) }
        // Acquire: pairs with the releasing fence in put().
        atomicMemoryFence(ordering: .acquiring)
        return written.pointee.load(ordering: .relaxed) - number < capacity
    }

    func take(_ number: UInt64) { cp_trace_ring_read(ring).pointee = number + 1 }
}

/// Which rings there are.
extension TraceRing {
    /// Who comes to it has it in the list of what a fork sets right, be there a VM or not.
    private static var mutex: RankedMutex {
        seeToForks()
        return RankedMutex(cp_trace_mutex(), .trace)
    }

    private static func seeToForks() {
        if ForkList.has(.trace) { return }
        ForkList.add(.trace, prepare: { TraceRing.mutex.lock() }, parent: { TraceRing.mutex.unlock() }, child: {
            cp_self().pointee.tid = 0
            TraceRing.disownOthers()
            TraceRing.mutex.unlock()
        })
    }

    static func locked<T>(_ body: () -> T) -> T {
        mutex.locked(body)
    }

    private static var first: UnsafeMutablePointer<cp_trace_ring>? {
        UnsafeMutablePointer(bitPattern: shared(cp_trace_rings()).pointee.load(ordering: .relaxed))
    }

    /// Trace mutex.
    static func forEach(_ body: (TraceRing) -> Void) {
        var next = first
        while let ring = next {
            next = ring.pointee.next
            body(TraceRing(ring: ring))
        }
    }

    /// In a forked child: threads whose rings these were are not here.  Trace mutex.
    private static func disownOthers() {
        let own = cp_self().pointee.trace_ring
        forEach { if $0.ring != own { $0.owned.pointee.store(0, ordering: .relaxed) } }
    }

    @inline(never)
    private static func acquire() -> TraceRing? {
        // A signal handler that traces must not find the mutex in our hands.
        let signals = cp_signals_block()
        defer { cp_signals_restore(signals) }
        return locked {
            let isFull = cp_trace_ring_count().pointee >= mostRings
            guard let ring = orphan(evenUnread: isFull) ?? (isFull ? nil : make()) else { return nil }
            guard cp_ring_adopt(ring.ring) else {
                ring.owned.pointee.store(0, ordering: .relaxed)
                return nil
            }
            return ring
        }
    }

    /// A ring whose thread has gone, of today's size and read to its end.
    private static func orphan(evenUnread: Bool) -> TraceRing? {
        let size = shared(cp_trace_ring_size()).pointee.load(ordering: .relaxed)
        var found: TraceRing?
        forEach { ring in
            // Acquire: pairs with the release of the thread that left it (tracing.c).
            guard found == nil, ring.owned.pointee.load(ordering: .acquiring) == 0 else { return }
            let isRead = ring.written.pointee.load(ordering: .relaxed) == cp_trace_ring_read(ring.ring).pointee
            if evenUnread || (isRead && ring.capacity == size) { found = ring }
        }
        found?.owned.pointee.store(1, ordering: .relaxed)
        return found
    }

    private static func make() -> TraceRing? {
        let size = shared(cp_trace_ring_size()).pointee.load(ordering: .relaxed)
        let bytes = MemoryLayout<cp_trace_ring>.size + Int(size) * MemoryLayout<tdpmmu_trace_event>.size
        guard let memory = cp_alloc_zeroed(bytes) else { return nil }
        let ring = TraceRing(ring: memory.assumingMemoryBound(to: cp_trace_ring.self))
        ring.ring.pointee.next = first
        ring.ring.pointee.capacity = size
        ring.owned.pointee.store(1, ordering: .relaxed)
        shared(cp_trace_rings()).pointee.store(UInt(bitPattern: ring.ring), ordering: .relaxed)
        cp_trace_ring_count().pointee += 1
        return ring
    }
}
