// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import Sync
import Synchronization

/// How often a VM's thread zaps how many of the tables that stand in for huge pages.
package struct NXRecoverySettings {
    /// Both in one word, so that they change together.
    fileprivate let raw: UInt64

    package init(ratio: UInt32, periodMS: UInt32) { raw = UInt64(ratio) << 32 | UInt64(periodMS) }

    fileprivate init(raw: UInt64) { self.raw = raw }

    /// Every step zaps one in so many; 0: there are no steps.
    var ratio: UInt64 { raw >> 32 }

    /// From one step to the next.
    fileprivate var periodNS: UInt64 {
        let chosenMS = raw & UInt64(UInt32.max)
        let hourMS: UInt64 = 60 * 60 * 1000, mostPerHour: UInt64 = 3600
        return (chosenMS != 0 ? chosenMS : hourMS / min(ratio, mostPerHour)) * 1_000_000
    }
}

/// From outside.
extension VM {
    /// 0, or a positive errno if no thread can be started; then nothing has changed.
    @inline(never)
    package func setNXRecovery(_ settings: NXRecoverySettings) -> Int32 {
        let error = locked(.recovery) {
            let error = settings.ratio == 0 ? 0 : startNXRecovery()
            if error == 0 { state.pointee.nxRecovery.store(settings.raw, ordering: .relaxed) }
            return error
        }
        wakeNXRecovery()
        return error
    }

    /// Under VMLock.recovery.
    private func startNXRecovery() -> Int32 {
        if memory.pointee.recovery.isRunning { return 0 }
        let error = cp_thread_start(&memory.pointee.recovery.thread, nxRecoveryMain, memory)
        guard error == 0 else { return error }
        memory.pointee.recovery.wasStarted = true
        memory.pointee.recovery.forks = ForkGate.forks
        return 0
    }

    private var recoveryEvent: AtomicWord32 { shared(place(of: &memory.pointee.recovery.event)) }

    /// Something that the thread goes by has changed.
    func wakeNXRecovery() {
        // Release: pairs with the acquire in recoverPeriodically().
        recoveryEvent.pointee.wrappingAdd(1, ordering: .releasing)
        cp_futex_wake(recoveryEvent, 1)
    }

    /// Ends the thread, if there is one; the VM is about to go.  No lock.
    @inline(never)
    package func endNXRecovery() {
        memory.pointee.recovery.mustStop.store(true, ordering: .relaxed)
        wakeNXRecovery()
        if locked(.recovery, { memory.pointee.recovery.isRunning }) { cp_thread_join(memory.pointee.recovery.thread) }
    }
}

/// The thread itself.
extension VM {
    /// What it goes by at this moment; nil: it rests.
    private var activeNXRecovery: NXRecoverySettings? {
        let settings = NXRecoverySettings(raw: state.pointee.nxRecovery.load(ordering: .relaxed))
        return settings.ratio != 0 && nxHugePages && isSetUp ? settings : nil
    }

    fileprivate func recoverPeriodically() {
        var last = cp_monotonic_ns()
        while true {
            // Acquire: pairs with the release in wakeNXRecovery(); what was changed before is seen.
            let event = recoveryEvent.pointee.load(ordering: .acquiring)
            if memory.pointee.recovery.mustStop.load(ordering: .relaxed) { return }
            let period = activeNXRecovery?.periodNS, waited = cp_monotonic_ns() - last
            if let period, waited >= period {
                takeNXRecoveryStep()
                last = cp_monotonic_ns()
            } else {
                cp_futex_wait(recoveryEvent, event, period.map { $0 - waited } ?? 0)
            }
        }
    }

    private func takeNXRecoveryStep() {
        ForkGate.enter()
        defer { ForkGate.leave() }
        see(.begins, "nx_recovery", .pays)
        lock.write { hold in
            // Again, under the lock: a caller of tdpmmu_set_nx_recovery() who has had the lock since
            // relies on the new values.
            if let settings = activeNXRecovery { _ = zapNXSplits(oneIn: Int64(settings.ratio), &hold) }
        }
        see(.ends, "nx_recovery", .pays)
    }
}

private func nxRecoveryMain(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    VM(argument.unsafelyUnwrapped.assumingMemoryBound(to: VMMemory.self)).recoverPeriodically()
    return nil
}
