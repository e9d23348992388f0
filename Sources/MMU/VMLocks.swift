// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import PageTable
import Sync
import Synchronization

/// A VM's small locks.
enum VMLock {
    case pages, slots, retiredSlots, vcpus, recovery
}

// The lines of these locks: a mutex, and what is read and written under it.

/// Protects the root list (VMState.firstRoot), and the list of tables that NX recovery may zap.
struct PagesLock: ~Copyable {
    var mutex = cp_mutex()
    var firstNXSplit: Table? = nil
    var lastNXSplit: Table? = nil
    private let reserved = Reserved<5>(repeating: 0)
}

/// Serialises slot changes; outside mmu_lock.
struct SlotsLock: ~Copyable {
    var mutex = cp_mutex()
    /// Slot records ever made.
    var recordsMade: UInt64 = 0
    /// Slots with dirty logging.  NX recovery looks without the lock.
    let logged = Atomic<Int64>(0)
    private let reserved = Reserved<5>(repeating: 0)
}

/// Protects the slot tables that are no longer published, nor freed.
struct RetiredSlotsLock: ~Copyable {
    var mutex = cp_mutex()
    /// The table whose users a slot change waits for.
    var table: UnsafeMutablePointer<SlotTableHeader>? = nil
    private let reserved = Reserved<6>(repeating: 0)
}

/// Protects the list of vCPUs, which begins here.
struct VCPUsLock: ~Copyable {
    var mutex = cp_mutex()
    var first: UnsafeMutablePointer<VCPUMemory>? = nil
    /// vCPUs ever made.
    var made: UInt64 = 0
    private let reserved = Reserved<5>(repeating: 0)
}

/// Serialises who starts and ends the thread of NX recovery.
struct RecoveryLock: ~Copyable {
    var mutex = cp_mutex()
    /// Counts what the thread should look at; it sleeps on this.  Anybody adds, without the lock.
    var event = cp_shared32()
    /// The thread shall end.  Without the lock.
    let mustStop = Atomic<Bool>(false)
    /// There was a thread once.
    var wasStarted = false
    /// ForkGate.forks when it was started.
    var forks: UInt32 = 0
    /// For cp_thread_join().
    var thread: UInt64 = 0
    private let reserved = Reserved<5>(repeating: 0)

    /// Is there a thread, in this process?
    var isRunning: Bool { wasStarted && forks == ForkGate.forks }
}
