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

    /// Only the mutex that guards lists: it is held for short sections.  (The others
    /// may be held by a thread that waits for the forking thread's section to end.)
    static func prepare() { registryMutex.lock() }

    static func parent() { registryMutex.unlock() }

    static func child() {
        let state = cp_registry()
        let thread = cp_self()
        cp_rcu_gp_mutex().pointee = 0
        cp_rcu_engine_mutex().pointee = 0
        cp_rcu_worker_mutex().pointee = 0
        state.pointee.cursor = nil
        state.pointee.late_count = thread.pointee.late_depth == 0 ? 0 : 1
        if thread.pointee.late_depth == 0 {
            LateReaders.word.pointee.store(ReaderWord.idle.raw, ordering: .relaxed)
        }
        keepOnlySelf(state)
        forgetLockWaiters()
        // The parent's callbacks are the parent's; heads they mark count as free here.
        atomicWord(cp_rcu_cookie()).pointee.add(1 &<< 48, ordering: .relaxed)
        atomic32(cp_rcu_barriers_done()).pointee.store(
            atomic32(cp_rcu_barriers_wanted()).pointee.load(ordering: .relaxed), ordering: .relaxed)
        atomic32(cp_rcu_worker()).pointee.store(CP_WORKER_NONE.rawValue, ordering: .relaxed)
        registryMutex.unlock()
    }

    private static func keepOnlySelf(_ state: UnsafeMutablePointer<cp_registry>) {
        let reader = cp_reader()
        let isMember = ownWord.pointee.load(ordering: .relaxed) != ReaderWord.unregistered.raw
        state.pointee.readers = isMember ? reader : nil
        cp_reader_set_next(reader, nil)
        cp_reader_set_prev(reader, nil)
        state.pointee.orphans_head = nil
        state.pointee.queues = nil
        if CallbackQueue.own.known != 0 { CallbackQueue.own.enlist() }
    }
}

func prepareFork() { ForkSupport.prepare() }

func parentForked() { ForkSupport.parent() }

func childForked() { ForkSupport.child() }
