// SPDX-License-Identifier: GPL-2.0-only
// fork() in a program with threads: the child has one thread, a registry that
// says so, no worker yet and none of the parent's callbacks.
import CPlatform
import CTDPMMU
import Sync
import Synchronization

enum ForkSupport {
    /// Cheap enough for every registration: three stores.
    static func install() {
        cp_set_fork_hooks(prepareFork, parentForked, childForked)
    }

    /// Only the mutexes that guard lists: they are held for short sections.  (The others
    /// may be held by a thread that waits for the forking thread's section to end.)
    /// The gate first: who is inside it may take them.
    static func prepare() {
        ForkGate.close()
        SRCU.mutex.lock()
        registryMutex.lock()
    }

    static func parent() {
        registryMutex.unlock()
        SRCU.mutex.unlock()
        ForkGate.open()
    }

    static func child() {
        ForkGate.childForked()
        let state = cp_registry()
        let thread = cp_self()
        cp_rcu_gp_mutex().pointee = 0
        cp_rcu_worker_mutex().pointee = 0
        // Whoever forks in a callback holds it, and releases it when the callback returns.
        if thread.pointee.in_callback == 0 { cp_rcu_engine_mutex().pointee = 0 }
        state.pointee.cursor = nil
        state.pointee.late_count = thread.pointee.late_depth == 0 ? 0 : 1
        if thread.pointee.late_depth == 0 {
            LateReaders.word.pointee.store(ReaderWord.idle.raw, ordering: .relaxed)
        }
        keepOnlySelf(state)
        forgetLockWaiters()
        // The parent's callbacks are the parent's; heads they mark count as free here.
        atomicWord(cp_rcu_cookie()).pointee.wrappingAdd(1 &<< 48, ordering: .relaxed)
        atomic32(cp_rcu_barriers_done()).pointee.store(
            atomic32(cp_rcu_barriers_wanted()).pointee.load(ordering: .relaxed), ordering: .relaxed)
        Worker.childForked()
        atomic64(cp_rcu_pending()).pointee.store(0, ordering: .relaxed)
        atomic32(cp_rcu_hurry()).pointee.store(0, ordering: .relaxed)
        registryMutex.unlock()
        SRCU.childForked()
        SRCU.mutex.unlock()
    }

    private static func keepOnlySelf(_ state: UnsafeMutablePointer<cp_registry>) {
        let reader = cp_reader()
        let isMember = ownWord.pointee.load(ordering: .relaxed) != ReaderWord.unregistered.raw
        state.pointee.readers = isMember ? reader : nil
        cp_reader_set_next(reader, nil)
        cp_reader_set_prev(reader, nil)
        cp_reader_tid(reader).pointee = UInt64(cp_gettid())
        state.pointee.orphans_head = nil
        state.pointee.queues = nil
        if CallbackQueue.own.known != 0 { CallbackQueue.own.enlist() }
    }
}

func prepareFork() { ForkSupport.prepare() }

func parentForked() { ForkSupport.parent() }

func childForked() { ForkSupport.child() }
