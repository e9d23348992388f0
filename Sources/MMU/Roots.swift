// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

extension Table {
    /// Takes a reference unless the count is zero already: a dying root stays dead.
    package func get() -> Bool {
        var count = references.pointee.load(ordering: .relaxed)
        while count > 0 {
            let (done, seen) = references.pointee.weakCompareExchange(
                expected: count, desired: count &+ 1, ordering: .relaxed)
            if done { return true }
            count = seen
        }
        return false
    }

    enum PutResult {
        case stillUsed
        case last
        case refused
    }

    /// Drops a reference, but never the last one of a valid root.
    func dropReference() -> PutResult {
        var count = references.pointee.load(ordering: .relaxed)
        while true {
            if count <= 0 || (count == 1 && !role.isInvalid) { return .refused }
            // Release: what this user did to the tables comes before their end;
            // acquire: the last user sees what the others did.  They pair with
            // each other.
            let (done, seen) = references.pointee.weakCompareExchange(
                expected: count, desired: count &- 1,
                successOrdering: .acquiringAndReleasing, failureOrdering: .relaxed)
            if done { return count == 1 ? .last : .stillUsed }
            count = seen
        }
    }
}

/// Which roots a loop visits.
package struct RootFilter {
    package var validOnly: Bool
    /// nil: every address space.
    package var addressSpace: Int32?

    package static let all = RootFilter(validOnly: false, addressSpace: nil)
    package static let valid = RootFilter(validOnly: true, addressSpace: nil)

    package static func all(in space: Int32) -> RootFilter {
        RootFilter(validOnly: false, addressSpace: space)
    }

    @inline(__always)
    func accepts(_ root: Table) -> Bool {
        let role = root.role
        return !(validOnly && role.isInvalid) && (addressSpace == nil || addressSpace == role.addressSpace)
    }
}

extension VM {
    /// First root of the list.  RCU or VMLock.pages.
    private var firstRoot: Table? { rootTable(state.pointee.firstRoot.load(ordering: .acquiring)) }

    /// Acquire here and above: pairs with the release that listed the root.
    private func root(after root: Table) -> Table? {
        rootTable(root.nextRoot.pointee.load(ordering: .acquiring))
    }

    private func rootTable(_ address: UInt) -> Table? {
        UnsafeMutablePointer(bitPattern: address).map { Table($0) }
    }

    /// The next root to visit, with a reference; drops the one of `previous`.
    /// `previous` is still listed because of that reference, so its link is good
    /// even if the lock was dropped meanwhile.
    @inline(never)
    private func nextRoot(after previous: Table?, _ filter: RootFilter) -> Table? {
        rcuReadLock()
        var candidate = previous.map { root(after: $0) } ?? firstRoot
        while let found = candidate {
            if filter.accepts(found) && found.get() { break }
            candidate = root(after: found)
        }
        rcuReadUnlock()
        if let previous { putRoot(previous) }
        return candidate
    }

    /// Visits roots, holding a reference to each; `body` may drop mmu_lock.
    @inline(__always)
    func forEachRoot(_ filter: RootFilter, _ body: (Table) -> Void) {
        var root = nextRoot(after: nil, filter)
        while let here = root {
            body(here)
            root = nextRoot(after: here, filter)
        }
    }

    package var rootCount: UInt64 {
        locked(.pages) {
            var count: UInt64 = 0
            var here = firstRoot
            while let root = here {
                count += 1
                here = self.root(after: root)
            }
            return count
        }
    }

    /// False if it was the last reference of a valid root, or there was none.
    @inline(never)
    @discardableResult
    package func putRoot(_ root: Table) -> Bool {
        traceRoot(TDPMMU_TRACE_PUT_ROOT, root)
        switch root.dropReference() {
        case .stillUsed: return true
        case .refused: return false
        case .last:
            locked(.pages) { unlist(root) }
            counters.add(.strays, 1, exclusive: false)
            callRCU(root.rcuHead, freeTable)
            return true
        }
    }

    /// Under VMLock.pages.
    private func list(_ root: Table) {
        root.nextRoot.pointee.store(state.pointee.firstRoot.load(ordering: .relaxed), ordering: .relaxed)
        // Release: pairs with the acquire of whoever follows the list.
        state.pointee.firstRoot.store(UInt(bitPattern: root.header), ordering: .releasing)
    }

    /// Under VMLock.pages.  The root's own link stays: a reader may stand on it.
    private func unlist(_ root: Table) {
        let next = root.nextRoot.pointee.load(ordering: .relaxed)
        guard var here = firstRoot else { return }
        if here == root {
            state.pointee.firstRoot.store(next, ordering: .releasing)
            return
        }
        while let following = self.root(after: here) {
            if following == root {
                here.nextRoot.pointee.store(next, ordering: .releasing)
                return
            }
            here = following
        }
    }

    /// A valid root of this role, with a reference.  Under VMLock.pages.
    private func validRoot(_ role: Role) -> Table? {
        var here = firstRoot
        while let root = here {
            if root.role == role && root.get() { return root }
            here = self.root(after: root)
        }
        return nil
    }

    /// A valid root for the vCPU, found or made, with a reference for the caller.
    /// mmu_lock, either way, so that none is invalidated meanwhile.
    func acquireRoot(_ vcpu: VCPU) -> Table? {
        let config = state
        let role = Role(
            rootLevel: config.pointee.config.rootLevel, addressSpace: vcpu.addressSpace,
            adDisabled: config.pointee.config.adDisabled)
        return locked(.pages) {
            if let root = validRoot(role) { return root }
            guard let root = takeTable(vcpu, role: role, gfn: GFN(0), parent: nil) else { return nil }
            // One reference for the caller, one for the MMU until it is invalidated.
            root.references.pointee.store(2, ordering: .relaxed)
            list(root)
            return root
        }
    }
}

extension VCPU {
    /// A valid root, with a reference for the caller.  Takes mmu_lock for read
    /// unless the thread holds it for write already.
    @inline(never)
    package func acquireRoot() -> Table? {
        traceVCPU(TDPMMU_TRACE_ALLOC_ROOT, nil)
        let lock = vm.lock
        if lock.isHeldForWrite { return vm.acquireRoot(self) }
        guard lock.readLock() else { return nil }
        defer { _ = lock.readUnlock() }
        return vm.acquireRoot(self)
    }

    /// Makes sure of a valid root.  False: no memory.
    @inline(never)
    package func load() -> Bool {
        answerRequests()
        if let root, !root.role.isInvalid { return true }
        unload()
        guard let root = acquireRoot() else { return false }
        // Release: pairs with the exchange in unload() by another thread.
        state.pointee.root.store(UInt(bitPattern: root.header), ordering: .releasing)
        traceVCPU(TDPMMU_TRACE_LOAD_PGD, root)
        flushForNewRoot()
        return true
    }

    /// Drops its root.
    @inline(never)
    package func unload() {
        let address = state.pointee.root.exchange(0, ordering: .acquiringAndReleasing)
        if let header = UnsafeMutablePointer<kvm_mmu_page>(bitPattern: address) { vm.putRoot(Table(header)) }
    }
}
