// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// What a vCPU is asked to do before it runs on, by a thread that is not its own.  With a rig
/// that has CPUs the request goes to the rig; the CPU model in Rig needs none.
///
/// 1. The asker makes what it changed visible (a root's invalid bit), then sets the request.
/// 2. It waits until the vCPU has left the guest: an access that began before may not have seen it.
/// 3. An access that begins later sees the request, and does not walk.
/// 4. kvm_mmu_load() takes the request back and looks at the root afterwards.
extension VCPU {
    /// Returns when the vCPU is out of the guest and cannot enter again without doing it; what its CPU
    /// had logged by then is marked, whether or not the rig does anything.
    fileprivate func ask(_ request: tdpmmu_request) {
        if request == TDPMMU_REQ_FREE_OBSOLETE_ROOTS {
            // Sequentially consistent, with inGuest(): at least one sees the other.
            state.pointee.mustLoad.store(true, ordering: .sequentiallyConsistent)
            state.pointee.leftRoot.store(state.pointee.root.load(ordering: .relaxed), ordering: .relaxed)
        }
        vm.rig.request(request, of: pointer)
        waitUntilOutOfGuest()
        exitGuest()
        if request == TDPMMU_REQ_FREE_OBSOLETE_ROOTS { vm.see(.mustLeave, nil, pointer) }
    }

    /// Its next entry goes by a root that it did not walk before.  By its own thread.
    func flushForNewRoot() { vm.rig.request(TDPMMU_REQ_TLB_FLUSH, of: pointer) }

    /// Before its root is looked at: what is asked from here on is asked anew.
    func answerRequests() {
        // Acquire: pairs with the store in ask(); the root is seen to be invalid.
        _ = state.pointee.mustLoad.exchange(false, ordering: .acquiringAndReleasing)
    }

    /// The CPU model's accesses are short and wait for nothing.
    private func waitUntilOutOfGuest() {
        // Sequentially consistent, with inGuest().
        let entries = state.pointee.guestEntries.load(ordering: .sequentiallyConsistent)
        guard entries & 1 != 0 else { return }
        // Acquire: pairs with the release in inGuest(); what the access logged is seen.
        while state.pointee.guestEntries.load(ordering: .acquiring) == entries {
            // The thread that was in the guest stayed behind in the parent.
            if state.pointee.guestForks.load(ordering: .relaxed) != ForkGate.forks { return }
            cp_yield()
        }
    }

    /// Runs `body` with the vCPU in the guest, on its root; nil if it has none, or was asked to
    /// leave the one it has.
    @inline(__always)
    package func inGuest<T>(_ rcu: borrowing InsideRCU, _ body: (Table) -> T) -> T? {
        if state.pointee.guestForks.load(ordering: .relaxed) != ForkGate.forks { beginInThisProcess() }
        // Sequentially consistent, with ask() and waitUntilOutOfGuest().
        state.pointee.guestEntries.wrappingAdd(1, ordering: .sequentiallyConsistent)
        // Release: pairs with the acquire in waitUntilOutOfGuest().
        defer { state.pointee.guestEntries.wrappingAdd(1, ordering: .releasing) }
        guard !state.pointee.mustLoad.load(ordering: .sequentiallyConsistent),
              let root = root(rcu), !root.role.isInvalid else { return nil }
        return body(root)
    }
}

extension VCPU {
    /// The first entry since a fork: a thread that was in the guest stayed behind in the parent.
    @inline(never)
    private func beginInThisProcess() {
        if state.pointee.guestEntries.load(ordering: .relaxed) & 1 != 0 {
            // Releasing, as where the guest is left.
            state.pointee.guestEntries.wrappingAdd(1, ordering: .releasing)
        }
        state.pointee.guestForks.store(ForkGate.forks, ordering: .relaxed)
    }
}

extension VM {
    /// Has a vCPU the root that nobody has asked to leave it?
    package func isLoaded(_ root: Table) -> Bool {
        var found = false
        forEachVCPU { vcpu in
            if vcpu.state.pointee.root.load(ordering: .relaxed) == root.word,
               vcpu.state.pointee.leftRoot.load(ordering: .relaxed) != root.word { found = true }
        }
        return found
    }

    /// Asks every vCPU, and returns when all are out of the guest.  No small lock.
    @inline(never)
    func askVCPUs(_ request: tdpmmu_request) { forEachVCPU { $0.ask(request) } }

    /// Before dirty pages are read, or the CPUs begin or end to log: what they have logged must come in.
    func drainDirtyLogs() {
        if usesPML { askVCPUs(TDPMMU_REQ_LEAVE_GUEST) }
    }
}
