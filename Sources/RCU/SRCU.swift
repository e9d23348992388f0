// SPDX-License-Identifier: GPL-2.0-only
// SRCU: readers that may sleep, in domains of their own.
//
// A domain has two indexes, each with counts of readers that came in and that went
// out, spread over shards.  A reader takes the current index.  A grace period:
//  1. waits until nobody is inside with the other index (stragglers that read the
//     current one long ago and came in with it when it was no longer that);
//  2. makes the other index the current one;
//  3. waits until nobody is inside with the old one.
// Who came in before the grace period has one of the two; who comes in later takes
// the new index after 2, so 3 ends.  It is nobody's job to run a grace period: all
// who wait, and the callback thread, push it on when they look (advance), and a
// reader that leaves while somebody waits wakes them all.
//
// One mutex covers the grace periods and callbacks of all domains.  Readers do not
// take it.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// One domain, somebody else's memory.  What the MMU puts its memslots under.
package struct SRCUDomain {
    package let domain: UnsafeMutablePointer<srcu_struct>

    @inline(__always)
    package init(_ domain: UnsafeMutablePointer<srcu_struct>) { self.domain = domain }

    @inline(__always)
    var state: UnsafeMutablePointer<cp_srcu> {
        UnsafeMutableRawPointer(domain).assumingMemoryBound(to: cp_srcu.self)
    }

    private var address: UInt64 { UInt64(UInt(bitPattern: domain)) }

    // MARK: Life

    /// Relaxed: whoever uses a domain was told of it by whoever made it.
    @inline(__always)
    private var isAlive: Bool {
        atomicWord(cp_srcu_self(state)).pointee.load(ordering: .relaxed) == UInt(bitPattern: domain)
    }

    /// Acquire: pairs with the release in enlist; the id is there.
    @inline(__always)
    private var isListed: Bool {
        atomic32(cp_srcu_listed(state)).pointee.load(ordering: .acquiring) != 0
    }

    /// May it be used?  If not, a warning.  One made by DEFINE_SRCU() becomes known here.
    @inline(__always)
    private func check(_ function: StaticString) -> Bool {
        if isAlive, isListed { return true }
        return checkSlow(function)
    }

    @inline(never)
    private func checkSlow(_ function: StaticString) -> Bool {
        guard isAlive else {
            warn(.rcu, function, "this SRCU domain was never initialised, or is cleaned up", address)
            return false
        }
        SRCU.mutex.lock()
        if !isListed { enlist() }
        SRCU.mutex.unlock()
        return true
    }

    package func initialize() {
        let state = state
        UnsafeMutableRawPointer(state).initializeMemory(
            as: UInt8.self, repeating: 0, count: MemoryLayout<cp_srcu>.size)
        SRCU.mutex.lock()
        enlist()
        SRCU.mutex.unlock()
        atomicWord(cp_srcu_self(state)).pointee.store(UInt(bitPattern: domain), ordering: .relaxed)
    }

    /// SRCU mutex held.
    private func enlist() {
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
        atomic32(cp_srcu_listed(state)).pointee.store(1, ordering: .releasing)
    }

    /// False, with a warning, while it is in use.
    @discardableResult
    package func cleanUp() -> Bool {
        guard check("cleanup_srcu_struct") else { return false }
        SRCU.mutex.lock()
        advance()
        let state = state
        let readers = !isDrained(0) || !isDrained(1)
        let callbacks = state.pointee.queued != state.pointee.invoked
        let waiters = state.pointee.waiters != 0
        if readers || callbacks || waiters {
            SRCU.mutex.unlock()
            let text: StaticString = readers ? "the SRCU domain still has readers"
                : callbacks ? "the SRCU domain still has callbacks" : "the SRCU domain is waited for"
            warn(.rcu, "cleanup_srcu_struct", text, address)
            return false
        }
        let next = state.pointee.next
        let previous = state.pointee.prev
        if let next { next.pointee.prev = previous }
        if let previous { previous.pointee.next = next } else { cp_srcu_all().pointee.domains = next }
        atomicWord(cp_srcu_self(state)).pointee.store(0, ordering: .relaxed)
        atomic32(cp_srcu_listed(state)).pointee.store(0, ordering: .relaxed)
        SRCU.mutex.unlock()
        return true
    }

    // MARK: Readers

    @inline(__always)
    private var index: AtomicWord64 { atomic64(cp_srcu_index(state)) }

    /// The counts of readers that came in, or went out, by this index, of a shard.
    @inline(__always)
    private func entered(_ which: UInt32, _ shard: UInt64) -> AtomicWord64 {
        atomic64(cp_srcu_shard(state, shard) + Int(which))
    }

    @inline(__always)
    private func left(_ which: UInt32, _ shard: UInt64) -> AtomicWord64 {
        atomic64(cp_srcu_shard(state, shard) + 2 + Int(which))
    }

    /// The index for readUnlock, or a negative errno with a warning.
    @inline(__always)
    package func readLock() -> Int32 {
        guard check("srcu_read_lock") else { return -EINVAL }
        if cp_self().pointee.srcu_joined == 0 { joinThread() }
        guard SRCUHolds.reserve() else {
            warn(.rcu, "srcu_read_lock", "no memory to remember the section", address)
            return -ENOMEM
        }
        // Acquire: pairs with the release in advance; who takes the new index sees
        // what was unlinked before it.
        let which = UInt32(truncatingIfNeeded: index.pointee.load(ordering: .acquiring) & 1)
        // A full fence as well: pairs with the fences in advance.  Either it counts us,
        // or we see what was unlinked before it looked.
        entered(which, currentThreadID()).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        SRCUHolds.add(domain, which)
        return Int32(bitPattern: state.pointee.id &<< 1 | which)
    }

    /// False, with a warning, if this thread does not have that index.
    @inline(__always)
    @discardableResult
    package func readUnlock(_ token: Int32) -> Bool {
        guard check("srcu_read_unlock") else { return false }
        let bits = UInt32(bitPattern: token)
        guard bits &>> 1 == state.pointee.id, SRCUHolds.remove(domain, bits & 1) else {
            warn(.rcu, "srcu_read_unlock", "this thread has no such index of this SRCU domain",
                 address, UInt64(bits))
            return false
        }
        leave(bits & 1)
        return true
    }

    /// The domain may be gone when this returns, so what follows the count is global.
    @inline(__always)
    func leave(_ which: UInt32) {
        // Release: pairs with the acquire in isDrained.  A full fence as well: pairs
        // with the one in advance; either it sees us out, or we see that it waits.
        left(which, currentThreadID()).pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        if atomic32(cp_srcu_waiting()).pointee.load(ordering: .relaxed) != 0 { SRCU.readerLeft() }
    }

    @inline(never)
    private func joinThread() {
        Registry.joinIfNew()  // its exit handler looks at the table of holds
        cp_self().pointee.srcu_joined = 1
    }

    @inline(__always)
    package var isReadLockHeld: Bool { SRCUHolds.contains(domain) }

    // MARK: Grace periods (SRCU mutex held)

    /// Is nobody inside with this index?  Who leaves is counted first: a reader that
    /// moves between the two sums then looks inside, never outside.
    private func isDrained(_ which: UInt32) -> Bool {
        var outside: UInt64 = 0
        var inside: UInt64 = 0
        for shard in 0..<UInt64(CP_SRCU_SHARDS) {
            // Acquire: pairs with the release in leave.
            outside &+= left(which, shard).pointee.load(ordering: .acquiring)
        }
        // Between the sums: pairs with the full fence in readLock.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        for shard in 0..<UInt64(CP_SRCU_SHARDS) {
            inside &+= entered(which, shard).pointee.load(ordering: .acquiring)
        }
        return inside == outside
    }

    private func isQuiet(_ which: UInt32) -> Bool {
        if Breakable.srcu.isBroken || isDrained(which) { return true }
        // Ask leavers to wake us, and look again: pairs with the fence in leave.
        atomic32(cp_srcu_waiting()).pointee.store(1, ordering: .relaxed)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        return isDrained(which)
    }

    /// The grace period that begins next.
    private var nextNumber: UInt64 {
        state.pointee.completed &+ (state.pointee.phase == restPhase ? 1 : 2)
    }

    /// Run wanted grace periods, as far as it goes without waiting.
    func advance() {
        let state = state
        while true {
            switch state.pointee.phase {
            case restPhase:
                if state.pointee.completed >= state.pointee.wanted { return }
                // What the callers unlinked comes before all counts that are read.
                atomicMemoryFence(ordering: .sequentiallyConsistent)
                state.pointee.phase = drainOther
            case drainOther:
                let now = index.pointee.load(ordering: .relaxed)
                if !isQuiet(UInt32(truncatingIfNeeded: now & 1) ^ 1) { return }
                // Release: pairs with the acquire in readLock.
                index.pointee.store(now &+ 1, ordering: .releasing)
                // The new index before the counts of the old: pairs with the full fence in
                // readLock.
                atomicMemoryFence(ordering: .sequentiallyConsistent)
                state.pointee.phase = drainOld
            default:
                let now = index.pointee.load(ordering: .relaxed)
                if !isQuiet(UInt32(truncatingIfNeeded: now & 1) ^ 1) { return }
                state.pointee.completed &+= 1
                state.pointee.phase = restPhase
                ripen(state.pointee.completed & 1)
                SRCU.changed()
            }
        }
    }

    private var restPhase: UInt64 { 0 }
    private var drainOther: UInt64 { 1 }
    private var drainOld: UInt64 { 2 }
    /// Which list holds the callbacks whose grace period is over.
    private var ripe: UInt64 { 2 }

    /// Number of the next grace period, which is wanted from now on.
    private func want() -> UInt64 {
        let number = nextNumber
        if state.pointee.wanted < number { state.pointee.wanted = number }
        return number
    }

    /// Wait until every reader that was inside when the call began has left.
    package func synchronize(_ function: StaticString = "synchronize_srcu") {
        guard check(function) else { return }
        if isReadLockHeld {
            warn(.rcu, function, "called inside a reader of the domain: it would wait for itself",
                 address)
            return
        }
        Registry.joinIfNew()
        SRCU.mutex.lock()
        let number = want()
        SRCU.waitUntil(self, function) {
            advance()
            return state.pointee.completed >= number
        }
        SRCU.mutex.unlock()
    }

    package func getState(_ function: StaticString = "get_state_synchronize_srcu") -> UInt64 {
        guard check(function) else { return 0 }
        SRCU.mutex.lock()
        let number = nextNumber
        SRCU.mutex.unlock()
        return number
    }

    package func startPoll() -> UInt64 {
        guard check("start_poll_synchronize_srcu") else { return 0 }
        SRCU.mutex.lock()
        let number = want()
        advance()
        SRCU.mutex.unlock()
        SRCU.tellWorker()
        return number
    }

    package func pollState(_ cookie: UInt64) -> Bool {
        let function: StaticString = "poll_state_synchronize_srcu"
        guard check(function) else { return false }
        SRCU.mutex.lock()
        advance()
        let isGenuine = cookie <= nextNumber
        let isOver = cookie <= state.pointee.completed
        SRCU.mutex.unlock()
        if !isGenuine { warn(.argument, function, "this cookie was never given out", cookie) }
        return isOver
    }

    // MARK: Callbacks

    /// Run `function(head)` once, in the callback worker, after a grace period.
    package func call(_ head: UnsafeMutablePointer<rcu_head>, _ function: RCUCallback) {
        guard check("call_srcu") else { return }
        Registry.joinIfNew()
        let action = unsafeBitCast(function, to: UInt.self)
        QueuedMark.remember(action)
        guard QueuedMark.put(on: head, action, "call_srcu") else { return }
        SRCU.mutex.lock()
        append(head, lastNext: UInt(bitPattern: head), to: want() & 1)
        state.pointee.queued &+= 1
        SRCU.mutex.unlock()
        SRCU.tellWorker()
    }

    /// A chain of heads, the last one's next being nil.
    private func append(_ chain: Head, lastNext: UInt, to list: UInt64) {
        if cp_srcu_head(state, list).pointee == nil {
            cp_srcu_head(state, list).pointee = chain
        } else {
            UnsafeMutablePointer<Head?>(bitPattern: cp_srcu_tail(state, list).pointee)
                .unsafelyUnwrapped.pointee = chain
        }
        cp_srcu_tail(state, list).pointee = lastNext
    }

    /// The grace period of a list is over.
    private func ripen(_ list: UInt64) {
        guard let first = cp_srcu_head(state, list).pointee else { return }
        append(first, lastNext: cp_srcu_tail(state, list).pointee, to: ripe)
        cp_srcu_head(state, list).pointee = nil
        atomic32(cp_srcu_work()).pointee.store(1, ordering: .relaxed)
    }

    func takeRipe() -> CallbackList {
        var batch = CallbackList()
        if let first = cp_srcu_head(state, ripe).pointee {
            batch.append(first, lastNext: cp_srcu_tail(state, ripe).pointee)
            cp_srcu_head(state, ripe).pointee = nil
        }
        return batch
    }

    /// Wait until every callback queued before the call has run.
    package func barrier() {
        guard check("srcu_barrier") else { return }
        if isReadLockHeld {
            warn(.rcu, "srcu_barrier", "called inside a reader of the domain: it would wait for itself",
                 address)
            return
        }
        if cp_self().pointee.in_callback != 0 {
            warn(.rcu, "srcu_barrier", "called from a callback: it would wait for itself", address)
            return
        }
        Registry.joinIfNew()
        SRCU.mutex.lock()
        let last = state.pointee.queued
        SRCU.waitUntil(self, "srcu_barrier") {
            if state.pointee.invoked >= last { return true }
            SRCU.mutex.unlock()
            SRCU.tellWorker()  // which may do the work here, if it cannot have a thread
            SRCU.mutex.lock()
            return state.pointee.invoked >= last
        }
        SRCU.mutex.unlock()
    }

    /// In a forked child: readers and callbacks are the parent's, or this thread's.
    func forget() {
        let state = state
        for shard in 0..<UInt64(CP_SRCU_SHARDS) {
            cp_srcu_shard(state, shard).update(repeating: 0, count: 4)
        }
        for list: UInt64 in 0...ripe { cp_srcu_head(state, list).pointee = nil }
        state.pointee.invoked = state.pointee.queued
        state.pointee.waiters = 0
    }
}

/// What all domains share.
enum SRCU {
    static var mutex: FutexMutex { FutexMutex(cp_srcu_mutex()) }

    private static var event: AtomicWord32 { atomic32(cp_srcu_event()) }
    private static var work: AtomicWord32 { atomic32(cp_srcu_work()) }

    private static var firstSpins: Int { 200 }

    /// SRCU mutex held, dropped while waiting.  Until the condition holds.
    static func waitUntil(_ domain: SRCUDomain, _ function: StaticString, _ condition: () -> Bool) {
        var complaints = StallClock()
        var spins = firstSpins
        while true {
            // Before the look: what changes after it changes the event.  Acquire: pairs
            // with the releases in changed and readerLeft.
            let seen = event.pointee.load(ordering: .acquiring)
            if condition() { return }
            domain.state.pointee.waiters &+= 1
            cp_srcu_all().pointee.sleepers &+= 1
            mutex.unlock()
            if spins > 0 {
                spins -= 1
                if spins % 20 == 0 { cp_yield() } else { cp_cpu_relax() }
            } else {
                cp_futex_wait(cp_srcu_event(), seen, complaints.sleepNS)
                if let age = complaints.stalledFor() {
                    warn(.rcu, function, "a reader holds up an SRCU grace period",
                         UInt64(UInt(bitPattern: domain.domain)), age)
                }
            }
            mutex.lock()
            cp_srcu_all().pointee.sleepers &-= 1
            domain.state.pointee.waiters &-= 1
        }
    }

    /// SRCU mutex held.  Something that others wait for has happened.
    static func changed() {
        event.pointee.wrappingAdd(1, ordering: .releasing)
        if cp_srcu_all().pointee.sleepers != 0 { cp_futex_wake(cp_srcu_event(), Int32.max) }
    }

    /// A reader left while somebody waited for one.  No mutex, and not the domain's
    /// memory, which may be gone.
    @inline(never)
    static func readerLeft() {
        if atomic32(cp_srcu_waiting()).pointee.exchange(0, ordering: .sequentiallyConsistent) == 0 {
            return
        }
        event.pointee.wrappingAdd(1, ordering: .releasing)
        cp_futex_wake(cp_srcu_event(), Int32.max)
        work.pointee.store(1, ordering: .sequentiallyConsistent)
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // pairs with that in Worker.sleep
        Worker.nudge()
    }

    /// There is something to do for the callback thread.
    static func tellWorker() {
        work.pointee.store(1, ordering: .sequentiallyConsistent)
        atomicMemoryFence(ordering: .sequentiallyConsistent)  // pairs with that in Worker.sleep
        Worker.wake()
    }

    // MARK: The callback thread (engine mutex held)

    static var hasWork: Bool { work.pointee.load(ordering: .relaxed) != 0 }

    /// Push all domains on and run what has become ripe.  Never waits for a reader.
    static func service() {
        if !hasWork { return }
        // Acquire: what was done before the word was set is seen below, by the mutex.
        while work.pointee.exchange(0, ordering: .acquiring) != 0 {
            while let (domain, batch) = nextRipe() {
                let count = CallbackEngine.invoke(batch)
                mutex.lock()
                domain.state.pointee.invoked &+= count
                changed()
                mutex.unlock()
            }
        }
    }

    /// A domain with callbacks to run.  It stays alive until they are counted.
    private static func nextRipe() -> (SRCUDomain, CallbackList)? {
        mutex.lock()
        defer { mutex.unlock() }
        var link = cp_srcu_all().pointee.domains
        while let state = link {
            let domain = SRCUDomain(
                UnsafeMutableRawPointer(state).assumingMemoryBound(to: srcu_struct.self))
            domain.advance()
            let batch = domain.takeRipe()
            if !batch.isEmpty { return (domain, batch) }
            link = state.pointee.next
        }
        return nil
    }

    /// In a forked child, SRCU mutex held (by the prepare handler).
    static func childForked() {
        var link = cp_srcu_all().pointee.domains
        while let state = link {
            SRCUDomain(UnsafeMutableRawPointer(state).assumingMemoryBound(to: srcu_struct.self)).forget()
            link = state.pointee.next
        }
        cp_srcu_all().pointee.sleepers = 0
        SRCUHolds.countAgain()
    }
}

/// When to complain of a wait.
struct StallClock {
    private let begunNS = cp_monotonic_ns()
    private var reported: UInt64 = 0

    private var limitMS: UInt64 {
        UInt64(atomic32(cp_rcu_stall_ms()).pointee.load(ordering: .relaxed))
    }

    /// Sleep no longer than this; 0: as long as it takes.
    var sleepNS: UInt64 { limitMS &* 1_000_000 }

    /// Milliseconds since the begin, each time that another stall time has passed.
    mutating func stalledFor() -> UInt64? {
        let limit = limitMS
        if limit == 0 { return nil }
        let age = (cp_monotonic_ns() &- begunNS) / 1_000_000
        if age / limit <= reported { return nil }
        reported = age / limit
        return age
    }
}
