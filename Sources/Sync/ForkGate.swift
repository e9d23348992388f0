// SPDX-License-Identifier: GPL-2.0-only
// fork() and the threads that the library starts itself: the child must not find
// half of what they were about, for nobody there could know.
import CPlatform
import Synchronization

package enum ForkGate {
    private static var closed: AtomicWord32 { shared(cp_fork_closed()) }
    private static var inside: AtomicWord32 { shared(cp_fork_inside()) }

    /// A fork waits this long for those inside; they may be waiting for the forking thread.
    private static var patienceNS: UInt64 { 1_000_000_000 }
    private static var roundNS: UInt64 { 100_000 }

    /// Differs in a child from what it was in its parent: a thread that was started at
    /// another count is not in this process.
    package static var forks: UInt32 { shared(cp_fork_forks()).pointee.load(ordering: .relaxed) }

    // MARK: The library's threads

    /// Before a lock that others know of; no fork is between here and leave().
    package static func enter() {
        cp_self().pointee.in_gate &+= 1
        if cp_self().pointee.in_gate > 1 {
            inside.pointee.wrappingAdd(1, ordering: .relaxed)  // a fork waits for us already
            return
        }
        while true {
            // Sequentially consistent, with close(): at least one sees the other.
            inside.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
            let forks = closed.pointee.load(ordering: .sequentiallyConsistent)
            if forks == 0 { return }
            // Release: as in leave().
            inside.pointee.wrappingSubtract(1, ordering: .releasing)
            cp_futex_wait(cp_fork_closed(), forks, 0)
        }
    }

    package static func leave() {
        cp_self().pointee.in_gate &-= 1
        // Release: pairs with the acquire in close().
        inside.pointee.wrappingSubtract(1, ordering: .releasing)
    }

    // MARK: Around a fork

    package static func close() {
        // Sequentially consistent, with enter().
        closed.pointee.wrappingAdd(1, ordering: .sequentiallyConsistent)
        let own = UInt32(cp_self().pointee.in_gate)  // a callback that forks
        let end = cp_monotonic_ns() + patienceNS
        // Acquire: pairs with the release in leave(); sequentially consistent for enter().
        while inside.pointee.load(ordering: .sequentiallyConsistent) > own, cp_monotonic_ns() < end {
            cp_sleep_ns(roundNS)
        }
    }

    package static func open() {
        if closed.pointee.wrappingSubtract(1, ordering: .relaxed).newValue == 0 {
            cp_futex_wake(cp_fork_closed(), .max)
        }
    }

    package static func childForked() {
        closed.pointee.store(0, ordering: .relaxed)
        inside.pointee.store(UInt32(cp_self().pointee.in_gate), ordering: .relaxed)
        shared(cp_fork_forks()).pointee.wrappingAdd(1, ordering: .relaxed)
    }
}
