// SPDX-License-Identifier: GPL-2.0-only
// What a forked child has to set right.  The child is a copy of the process with one thread:
// what other threads were in the middle of stays as it was at that moment, for ever.
//
// So before the fork each entry is brought to rest, in the order below, which is that of the
// locks; after it, in the reverse order, the parent lets go, and the child lets go and
// forgets what belonged to threads that it does not have.
import CPlatform
import Synchronization

/// The entries.  What each does at a fork stands with the thing itself, which adds it to the
/// list before it is first used.
package enum ForkStep: UInt32 {
    /// ForkGate: the library's own threads change VMs (NX recovery) and free tables (RCU's
    /// callbacks), and nobody in the child could finish that.  First: they may need all that
    /// is below.  The child counts itself, so that it knows that it has none of these threads.
    case gate
    /// The arena's mutex, for the free list is whole only outside.  Before RCU: a page may
    /// be taken by a thread that then calls call_rcu() first.
    case arena
    /// The SRCU mutex.  The child's domains have the readers of its one thread and none of
    /// the parent's callbacks.
    case srcu
    /// The registry mutex.  The child's registry holds its one thread; there is no callback
    /// thread yet; the parent's callbacks are dropped, but for those that free tables.  Not
    /// brought to rest are the mutexes of the engine, of grace periods and of the worker,
    /// whose holders may be waiting for the forking thread's reader: the child sets them free.
    case rcu
    /// The mutex of the list of threads that note what they read.  The child's list has its one
    /// thread: what others had noted is held by nobody there.
    case readerNotes
    /// Queues of waiters for reader-writer locks, and their mutexes: the child empties them,
    /// as nobody waits there.  A lock that another thread holds for write stays held, and so does one
    /// that it counted itself in at.
    case lockQueues
    /// The trace mutex, innermost.  The child's thread has another number, and the rings of
    /// the others have no owner.
    case trace

    static var entries: UInt32 { 7 }
}

package enum ForkList {
    package typealias Hook = @convention(c) () -> Void

    @inline(__always)
    private static func hooks(_ step: UInt32) -> (prepare: AtomicWord, parent: AtomicWord, child: AtomicWord) {
        let entry = cp_fork_steps() + Int(step)
        return (shared(cp_fork_step_prepare(entry)), shared(cp_fork_step_parent(entry)),
                shared(cp_fork_step_child(entry)))
    }

    /// Is it in the list?  Then a fork that begins from now on brings it to rest.
    @inline(__always)
    package static func has(_ step: ForkStep) -> Bool {
        // Acquire: pairs with the release in set(); who sees the hook sees the others.
        hooks(step.rawValue).prepare.pointee.load(ordering: .acquiring) != 0
    }

    /// Before a mutex of the step is taken for the first time, by whatever way: where the mutex is
    /// given out, or, for RCU, at each first use.
    /// Cheap enough for every thread's first use: any number of threads may add an entry, and
    /// all add the same.
    package static func add(_ step: ForkStep, prepare: Hook, parent: Hook, child: Hook) {
        cp_set_fork_hooks({ ForkList.prepare() }, { ForkList.parent() }, { ForkList.child() })
        set(.gate, { ForkGate.close() }, { ForkGate.open() }, { ForkGate.childForked() })
        set(.lockQueues, {}, {}, { LockQueue.forgetAll() })
        set(step, prepare, parent, child)
    }

    private static func set(_ step: ForkStep, _ prepare: Hook, _ parent: Hook, _ child: Hook) {
        let hooks = hooks(step.rawValue)
        hooks.child.pointee.store(unsafeBitCast(child, to: UInt.self), ordering: .relaxed)
        hooks.parent.pointee.store(unsafeBitCast(parent, to: UInt.self), ordering: .relaxed)
        // Release: pairs with the acquire in has().
        hooks.prepare.pointee.store(unsafeBitCast(prepare, to: UInt.self), ordering: .releasing)
    }

    /// False if there is none.
    private static func run(_ hook: AtomicWord) -> Bool {
        let address = hook.pointee.load(ordering: .relaxed)
        guard address != 0 else { return false }
        unsafeBitCast(address, to: Hook.self)()
        return true
    }

    private static func prepare() {
        var prepared: UInt16 = 0
        for step in 0..<ForkStep.entries where run(hooks(step).prepare) { prepared |= 1 &<< UInt16(step) }
        cp_self().pointee.fork_steps = prepared
    }

    /// An entry that another thread has added meanwhile is not let go.
    private static func parent() {
        for step in (0..<ForkStep.entries).reversed()
        where cp_self().pointee.fork_steps &>> UInt16(step) & 1 != 0 { _ = run(hooks(step).parent) }
    }

    /// That one is set right all the same: the thread that was using it is not here.
    private static func child() {
        for step in (0..<ForkStep.entries).reversed() { _ = run(hooks(step).child) }
    }
}
