// SPDX-License-Identifier: GPL-2.0-only
// synchronize_srcu(), and polled grace periods of a domain.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

extension SRCUDomain {
    private static var firstSpins: Int { 200 }

    /// SRCU mutex held, dropped while waiting.  Until the condition holds.
    func waitUntil(_ function: StaticString, _ condition: () -> Bool) {
        var complaints = StallClock()
        var spins = Self.firstSpins
        while true {
            // Before the look: what changes after it changes the event.  Acquire: pairs
            // with the releases in SRCU.changed, SRCU.readerLeft and WaitersForCallbacks.threadIsGone.
            let seen = SRCU.event.pointee.load(ordering: .acquiring)
            if condition() { return }
            state.pointee.waiters &+= 1
            cp_srcu_all().pointee.sleepers &+= 1
            SRCU.mutex.unlock()
            if spins > 0 {
                spins -= 1
                if spins % 20 == 0 { cp_yield() } else { cp_cpu_relax() }
            } else {
                cp_futex_wait(cp_srcu_event(), seen, complaints.sleepNS)
                if let age = complaints.stalledFor() {
                    warn(.rcu, function, "a reader holds up an SRCU grace period",
                         address, age)
                }
            }
            SRCU.mutex.lock()
            cp_srcu_all().pointee.sleepers &-= 1
            state.pointee.waiters &-= 1
        }
    }

    /// Wait until every reader that was inside when the call began has left.
    package func synchronize(_ function: StaticString = "synchronize_srcu") {
        guard check(function) else { return }
        if isReadLockHeld {
            warn(.rcu, function, "called inside a reader of the domain: it would wait for itself",
                 address)
            return
        }
        guard mayWaitByOrder(function) else { return }
        Threads.joinIfNew()
        withoutCancellation {
            SRCU.mutex.lock()
            let number = want()
            waitUntil(function) {
                advance()
                return state.pointee.completed >= number
            }
            SRCU.mutex.unlock()
        }
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
        enlist()
        advance()
        let mustRun = state.pointee.is_listed != 0
        SRCU.mutex.unlock()
        if mustRun {
            SRCUWork.set(bucket)
            Worker.wake()
        }
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
}
