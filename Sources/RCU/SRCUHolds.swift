// SPDX-License-Identifier: GPL-2.0-only
// Which SRCU domains the calling thread is inside: a small table in the thread's
// own memory, so that an unlock can be checked and an exiting thread be released.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

enum SRCUHolds {
    typealias Domain = UnsafeMutablePointer<srcu_struct>

    @inline(__always)
    private static var own: UnsafeMutablePointer<cp_srcu_holds> { cp_thread_srcu(cp_self()) }

    @inline(__always)
    private static func find(_ domain: Domain) -> UnsafeMutablePointer<cp_srcu_hold>? {
        let table = own
        let holds = cp_srcu_holds_table(table)
        var i = Int(table.pointee.used)
        while i > 0 {
            i &-= 1
            if holds[i].domain == domain { return holds + i }
        }
        return nil
    }

    /// How many sections by this index.
    @inline(__always)
    private static func count(
        _ hold: UnsafeMutablePointer<cp_srcu_hold>, _ which: UInt32
    ) -> UnsafeMutablePointer<UInt32> { cp_srcu_hold_count(hold) + Int(which) }

    @inline(__always)
    static func contains(_ domain: Domain) -> Bool {
        find(domain) != nil || noted?.domain.domain == domain
    }

    /// The section that this thread has a note of, instead of an entry.
    private static var noted: (domain: SRCUDomain, which: UInt32)? {
        let note = ReaderNotes.srcu.pointee.load(ordering: .relaxed)
        guard let domain = Domain(bitPattern: note & ~1) else { return nil }
        return (SRCUDomain(domain), UInt32(note & 1))
    }

    /// Is one of them a VM's?
    static var containsRanked: Bool {
        if noted != nil { return true }
        let holds = cp_srcu_holds_table(own)
        for i in 0..<Int(own.pointee.used) {
            if let domain = holds[i].domain, SRCUDomain(domain).state.pointee.rank != 0 { return true }
        }
        return false
    }

    /// Room for one more; false if there is no memory.
    @inline(__always)
    static func reserve() -> Bool {
        let table = own
        if table.pointee.heap == nil, table.pointee.used < UInt32(CP_INLINE_SRCU_HOLDS) {
            return true
        }
        return reserveSlow()
    }

    @inline(never)
    private static func reserveSlow() -> Bool {
        let table = own
        let used = Int(table.pointee.used)
        let capacity = table.pointee.heap == nil
            ? Int(CP_INLINE_SRCU_HOLDS) : Int(table.pointee.capacity)
        if used < capacity { return true }
        let bytes = 2 * capacity * MemoryLayout<cp_srcu_hold>.stride
        guard let raw = cp_malloc(bytes) else { return false }
        let larger = raw.bindMemory(to: cp_srcu_hold.self, capacity: 2 * capacity)
        larger.update(from: cp_srcu_holds_table(table), count: used)
        cp_free(table.pointee.heap)
        table.pointee.heap = larger
        table.pointee.capacity = UInt32(2 * capacity)
        return true
    }

    /// One section more, with room reserved.
    @inline(__always)
    static func add(_ domain: Domain, _ which: UInt32) {
        if let hold = find(domain) {
            count(hold, which).pointee &+= 1
            return
        }
        let table = own
        let used = table.pointee.used
        let hold = cp_srcu_holds_table(table) + Int(used)
        hold.pointee.domain = domain
        count(hold, which).pointee = 1
        count(hold, which ^ 1).pointee = 0
        table.pointee.used = used &+ 1
    }

    /// One less; false if this thread has none of that index.
    @inline(__always)
    static func remove(_ domain: Domain, _ which: UInt32) -> Bool {
        guard let hold = find(domain) else { return false }
        let open = count(hold, which), left = open.pointee &- 1
        if open.pointee == 0 { return false }
        open.pointee = left
        if left == 0, count(hold, which ^ 1).pointee == 0 { drop(hold) }
        return true
    }

    @inline(__always)
    private static func drop(_ hold: UnsafeMutablePointer<cp_srcu_hold>) {
        let table = own
        let last = table.pointee.used &- 1
        // Not onto itself: its fields were just stored one by one, and a wide copy waits for them.
        let newest = cp_srcu_holds_table(table) + Int(last)
        if hold != newest { hold.update(from: newest, count: 1) }
        table.pointee.used = last
        if last == 0, table.pointee.heap != nil { freeHeap() }
    }

    @inline(never)
    private static func freeHeap() {
        cp_free(own.pointee.heap)
        own.pointee.heap = nil
    }

    /// The thread exits: what it left open would hold up grace periods for ever.
    static func releaseAllAtExit() {
        releaseNotedAtExit()
        while own.pointee.used != 0 {
            let hold = cp_srcu_holds_table(own) + Int(own.pointee.used &- 1)
            let domain = hold.pointee.domain.unsafelyUnwrapped
            let open = UInt64(count(hold, 0).pointee)
                &+ UInt64(count(hold, 1).pointee)
            warnOfExit(SRCUDomain(domain), open)
            for which: UInt32 in 0..<2 {
                for _ in 0..<count(hold, which).pointee { SRCUDomain(domain).leave(which) }
            }
            drop(hold)
        }
    }

    private static func releaseNotedAtExit() {
        guard let (domain, _) = noted else { return }
        warnOfExit(domain, 1 &+ UInt64(ReaderNotes.deeperSRCU.pointee))
        ReaderNotes.deeperSRCU.pointee = 0
        domain.leaveNoted()
    }

    private static func warnOfExit(_ domain: SRCUDomain, _ open: UInt64) {
        warn(.rcu, "srcu_read_lock", "a thread exits inside an SRCU read-side section", open, domain.address)
    }

    /// In a forked child, SRCU mutex held (by the prepare handler): domains that this thread is
    /// inside are set up here, and count it.
    static func childForked() {
        noted?.domain.setUp()  // the note itself is as good here
        let holds = cp_srcu_holds_table(own)
        for i in 0..<Int(own.pointee.used) {
            guard let domain = holds[i].domain.map({ SRCUDomain($0) }) else { continue }
            if !domain.isSetUp { domain.setUp() }
            for which: UInt32 in 0..<2 {
                domain.entered(which, 0).pointee.wrappingAdd(
                    UInt64(count(holds + i, which).pointee), ordering: .relaxed)
            }
        }
    }
}
