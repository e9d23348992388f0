// SPDX-License-Identifier: GPL-2.0-only
// The callback thread's part of SRCU; engine mutex held.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

enum SRCUService {
    /// Push on the domains in whose buckets something happened, and run what has become ripe.
    /// Once: callbacks may queue others without end.  Never waits for a reader.
    static func run() {
        if !SRCUWork.isThere { return }
        var buckets = SRCUWork.take()
        // What an earlier round left, whose thread ended inside a callback; then bucket by bucket.
        repeat {
            while let (domain, batch) = nextRipe() {
                let count = Invocation.run(batch, of: domain)
                // In a child that a callback forked, the domain is not set up yet.
                if count != 0 { domain.haveRun(count) }
            }
        } while beginRound(&buckets)
    }

    /// A domain with callbacks to run, which is in no list.  It stays alive until they are counted.
    private static func nextRipe() -> (SRCUDomain, CallbackList)? {
        SRCU.mutex.lock()
        defer { SRCU.mutex.unlock() }
        while let state = cp_srcu_all().pointee.round {
            let domain = SRCUDomain(state)
            domain.delist()
            domain.advance()
            let batch = domain.takeRipe()
            if !batch.isEmpty { return (domain, batch) }
            if domain.hasWork { domain.enlist() }
        }
        return nil
    }

    /// The domains of the first of these buckets are the next round; false if none is left.
    private static func beginRound(_ buckets: inout UInt64) -> Bool {
        if buckets == 0 { return false }
        let number = buckets.trailingZeroBitCount
        buckets &= buckets &- 1
        SRCU.mutex.lock()
        let head = cp_srcu_global_buckets(cp_srcu_all()) + number
        cp_srcu_all().pointee.round = head.pointee
        head.pointee = nil
        SRCU.mutex.unlock()
        return true
    }
}
