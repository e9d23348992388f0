// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// That the thread is alone with a vCPU's log and what the log is emptied into, its ring: made here only.
struct OwnsLog: ~Copyable {
    @inline(__always) fileprivate init() {}
}

/// How it ended that a CPU was to set bits in an SPTE.
package enum BitsResult {
    case made
    /// The SPTE is no longer what the CPU saw.
    case lost
    /// Nothing was set: the CPU must exit, which empties its log.
    case logFull
    /// Nothing was set: what the log is emptied into has no room.
    case ringFull
}

// A CPU's page-modification log, as hardware has it: room for 512 addresses and an index that counts
// down from 511.  The CPU model writes it; the kernel empties it whenever the vCPU leaves the guest.

extension VM {
    /// Have the CPUs logs of the pages whose Dirty bit they set?
    package var usesPML: Bool { state.pointee.config.usesPML }

    /// Do they use them?  As in the kernel, while any slot is logged.
    /// Sequentially consistent, with countLogged(): an access goes by the new count, or is waited for.
    fileprivate var isLoggedByCPUs: Bool {
        usesPML && memory.pointee.slots.logged.load(ordering: .sequentiallyConsistent) != 0
    }
}

extension VCPU {
    private static var lastIndex: UInt16 { 511 }

    private var logIndex: UInt16 { memory.pointee.log.index.load(ordering: .relaxed) }

    /// If so it stays so, until the vCPU's own thread logs a page: others only empty.
    private var logHasRoom: Bool { logIndex <= Self.lastIndex }

    // Written by the CPU -------------------------------------------------------

    /// Sets Accessed or Dirty bits by `set`, which is false for an SPTE that has changed.  `dirtied`: the
    /// page that becomes dirty, or nil.  The index is looked at first, whichever bits they are.  In the
    /// guest.
    @inline(__always)
    package func setBits(dirtying dirtied: GFN?, _ set: () -> Bool) -> BitsResult {
        guard vm.isLoggedByCPUs else { return set() ? .made : .lost }
        guard logHasRoom else { return .logFull }
        guard let dirtied else { return set() ? .made : .lost }
        return setAndLog(dirtied, set)
    }

    /// One hold for the bit and the entry: whoever empties the log finds both or neither.
    private func setAndLog(_ gfn: GFN, _ set: () -> Bool) -> BitsResult {
        withLog { _ in
            guard let entries = memory.pointee.log.entries, logHasRoom else { return .logFull }
            // What the log holds was logged with room for 512 in the ring, so that all of it fits.
            if ringIsNearlyFull { return .ringFull }
            let index = logIndex
            Self.entry(entries, index).pointee.store(gfn.raw &<< 12, ordering: .relaxed)
            // The entry comes first and the bit releases it (SPTESlot.replace()): who has seen the bit, also in
            // the SPTE that it zapped, finds the log not empty in exitGuest(), and waits for this hold.
            // Release: pairs with the acquire in logHas().
            memory.pointee.log.index.store(index &- 1, ordering: .releasing)
            if set() { return .made }
            // Release: pairs with the acquire in exitGuest(), as in emptyLog(), whose marks this thread has seen.
            memory.pointee.log.index.store(index, ordering: .releasing)
            return .lost
        } ?? .ringFull
    }

    private static func entry(_ entries: UnsafeMutablePointer<UInt64>, _ index: UInt16) -> AtomicWord64 {
        UnsafeMutableRawPointer(entries + Int(index)).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Does the CPU's log have the page?  By any thread; what is logged or emptied meanwhile may be missed.
    func logHas(_ gfn: GFN) -> Bool {
        guard let entries = memory.pointee.log.entries else { return false }
        // Above the last, by wrapping, if the log is full.  Acquire: pairs with the release in setAndLog().
        var index = memory.pointee.log.index.load(ordering: .acquiring) &+ 1
        while index <= Self.lastIndex {
            if Self.entry(entries, index).pointee.load(ordering: .relaxed) == gfn.raw &<< 12 { return true }
            index &+= 1
        }
        return false
    }

    // Emptied as the vCPU exits -------------------------------------------------

    /// The CPU is out of the guest: what its log holds is marked, in the address space that the vCPU is in
    /// now.  Returns how many entries.  By any thread.
    @inline(__always)
    @discardableResult
    package func exitGuest() -> Int32 {
        // Acquire: pairs with the release in emptyLog(), of another thread perhaps; what it marked is seen.
        memory.pointee.log.index.load(ordering: .acquiring) == Self.lastIndex ? 0 : emptyLog()
    }

    /// An access found the log full.  False: it still is, in a callback that is made under it.
    @inline(never)
    package func exitWithFullLog() -> Bool {
        counters.add(.pmlFull, 1, exclusive: true)
        exitGuest()
        return logHasRoom
    }

    @inline(never)
    private func emptyLog() -> Int32 {
        insideRCU { rcu in
            withLog { owned in
                let newest = logIndex &+ 1, count = Self.lastIndex &+ 1 &- newest
                guard count > 0 else { return 0 }
                let oldestFirst = vm.state.pointee.config.pmlOldestFirst
                var step: UInt16 = 0
                while step < count {
                    markLogged(oldestFirst ? Self.lastIndex &- step : newest &+ step, rcu, owned)
                    step &+= 1
                }
                counters.add(.pmlFlushes, 1, exclusive: true)
                // Release: pairs with the acquire in exitGuest(), for who finds nothing to empty.
                memory.pointee.log.index.store(Self.lastIndex, ordering: .releasing)
                return Int32(count)
            } ?? 0
        }
    }

    /// An entry of which no slot holds the page any more is dropped.
    private func markLogged(_ index: UInt16, _ rcu: borrowing InsideRCU, _ owned: borrowing OwnsLog) {
        guard let entries = memory.pointee.log.entries else { return }
        let gfn = GFN(entries[Int(index)] &>> 12)
        guard let slot = vm.slot(holding: gfn, addressSpace: addressSpace, rcu), slot.isDirtyLogged else { return }
        vm.see(.dirtied, gfn: gfn, pages: 1, slot: slot)
        if let ring { pushDirty(slot, gfn, ring, owned) } else { slot.markDirty(gfn, by: nil) }
    }

    /// Goes to another address space, out of the guest.  Who empties the log looks at it.
    func changeAddressSpace(_ space: Int32) {
        exitGuest()
        _ = withLog { _ in state.pointee.addressSpace = space }
    }

    // One thread at a time ------------------------------------------------------

    /// Runs `body` alone with the log and the ring; nil, with a warning, in a callback that is made there.
    /// Waits as for the guest: sections are short, and in them nothing is waited for.  A thread that stayed
    /// behind in the parent of a fork has nothing here any more.
    func withLog<T>(_ body: (borrowing OwnsLog) -> T) -> T? {
        // Without PML only the vCPU's own thread comes here.
        guard vm.usesPML else { return body(OwnsLog()) }
        let mine = UInt64(ForkGate.forks) &<< 32 | currentThreadID() & 0xffff_ffff
        while true {
            // Acquire: pairs with the release below; what the holder before left is seen.
            let (isMine, holder) = memory.pointee.log.holder.compareExchange(
                expected: 0, desired: mine, successOrdering: .acquiring, failureOrdering: .relaxed)
            if isMine { break }
            if holder == mine {
                vm.warn(.lock, "tdpmmu_cpu_exit", "called by a callback that is made under this vCPU's log (vCPU)",
                        UInt64(UInt32(bitPattern: state.pointee.id)))
                return nil
            }
            if holder &>> 32 != mine &>> 32 {
                _ = memory.pointee.log.holder.compareExchange(expected: holder, desired: 0, ordering: .relaxed)
            } else {
                cp_yield()
            }
        }
        // Release: pairs with the acquire above.
        defer { memory.pointee.log.holder.store(0, ordering: .releasing) }
        return body(OwnsLog())
    }
}
