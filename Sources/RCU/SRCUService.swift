// SPDX-License-Identifier: GPL-2.0-only
// The callback thread's part of SRCU; engine mutex held.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

enum SRCUService {
    /// Push all domains on and run what has become ripe.  Never waits for a reader.
    static func run() {
        if !SRCUWork.isThere { return }
        while SRCUWork.take() {
            while let (domain, batch) = nextRipe() {
                let count = Invocation.run(batch)
                SRCU.mutex.lock()
                domain.state.pointee.invoked &+= count
                SRCU.changed()
                SRCU.mutex.unlock()
            }
        }
    }

    /// A domain with callbacks to run.  It stays alive until they are counted.
    private static func nextRipe() -> (SRCUDomain, CallbackList)? {
        SRCU.mutex.lock()
        defer { SRCU.mutex.unlock() }
        var link = cp_srcu_all().pointee.domains
        while let state = link {
            let domain = SRCUDomain(state)
            domain.advance()
            let batch = domain.takeRipe()
            if !batch.isEmpty { return (domain, batch) }
            link = state.pointee.next
        }
        return nil
    }
}
