// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization

/// A reference to a root, which keeps the root from being freed.  It is put, or kept by
/// a vCPU or a caller; it cannot be forgotten.
@frozen
package struct RootReference: ~Copyable {
    package let table: Table

    @inline(__always)
    fileprivate init(_ table: Table) { self.table = table }

    /// One that was kept somewhere, and is so no more.
    @inline(__always)
    package init(kept table: Table) { self.table = table }

    /// Takes one, unless the root is dying.  What is named must be there: RCU, or mmu_lock.
    @inline(__always)
    package static func take(_ table: Table) -> RootReference? {
        table.addReference() ? RootReference(table) : nil
    }

    /// A vCPU, or a caller, has it from here on.
    @inline(__always)
    package consuming func keep() -> Table {
        let table = table
        discard self
        return table
    }

    /// Drops it.
    @inline(__always)
    package consuming func put(_ vm: VM) { vm.putRoot(keep()) }

    deinit { mustBeSettled() }
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

    package static func valid(in space: Int32) -> RootFilter {
        RootFilter(validOnly: true, addressSpace: space)
    }

    @inline(__always)
    func accepts(_ root: Table) -> Bool {
        let role = root.role
        return !(validOnly && role.isInvalid) && (addressSpace == nil || addressSpace == role.addressSpace)
    }
}

extension VM {
    /// First root of the list.  RCU or VMLock.pages.
    /// Acquire: pairs with the release that listed the root.
    package var firstRoot: Table? { Table(word: state.pointee.firstRoot.load(ordering: .acquiring)) }

    /// The next root to visit, with a reference; drops the one of `previous`.
    /// `previous` is still listed because of that reference, so its link is good
    /// even if the lock was dropped meanwhile.
    @inline(never)
    private func nextRoot(after previous: consuming RootReference?, _ filter: RootFilter) -> RootReference? {
        if let previous {
            let next = insideRCU { _ in self.firstAccepted(from: previous.table.nextRoot, filter) }
            previous.put(self)
            return next
        }
        return insideRCU { _ in self.firstAccepted(from: self.firstRoot, filter) }
    }

    /// RCU.
    private func firstAccepted(from root: Table?, _ filter: RootFilter) -> RootReference? {
        var candidate = root
        while let found = candidate {
            if filter.accepts(found), let reference = RootReference.take(found) { return reference }
            candidate = found.nextRoot
        }
        return nil
    }

    /// Visits roots, holding a reference to each; `body` may drop mmu_lock.
    @inline(__always)
    func forEachRoot(_ filter: RootFilter, _ body: (borrowing RootReference) -> Void) {
        var root = nextRoot(after: nil, filter)
        while let here = root {
            body(here)
            root = nextRoot(after: here, filter)
        }
    }

    /// Visits roots that the reader keeps, without references: for who does not leave it meanwhile.  A root
    /// that was given up, and has nothing under it any more, may be among them.
    @inline(__always)
    func forEachRoot(_ filter: RootFilter, _ rcu: borrowing InsideRCU, _ body: (Table, borrowing InsideRCU) -> Void) {
        var candidate = firstRoot
        while let root = candidate {
            if filter.accepts(root) { body(root, rcu) }
            candidate = root.nextRoot
        }
    }

    /// Visits all roots without references.  Under VMLock.pages.
    func forEachListedRoot(_ body: (Table) -> Void) {
        var here = firstRoot
        while let root = here {
            here = root.nextRoot
            body(root)
        }
    }

    package var rootCount: UInt64 {
        locked(.pages) {
            var count: UInt64 = 0
            forEachListedRoot { _ in count += 1 }
            return count
        }
    }

    /// Drops a reference that was kept.  False if it was the last one of a valid root, or
    /// there was none.
    @inline(never)
    @discardableResult
    package func putRoot(_ root: Table) -> Bool {
        traceRoot(TDPMMU_TRACE_PUT_ROOT, root)
        // In a reader: who looks at the list finds no root that is dying for longer than a grace period.
        return insideRCU { _ in
            switch root.dropReference() {
            case .stillUsed: return true
            case .refused: return false
            case .last:
                // Both at once, for who counts tables under the lock.
                locked(.pages) {
                    unlist(root)
                    counters.add(.strays, 1, exclusive: false)
                }
                handToRCU(root)
                return true
            }
        }
    }

    /// Under VMLock.pages.
    private func list(_ root: Table) {
        root.setNextRoot(firstRoot)
        // Release: pairs with the acquire in `firstRoot`; a walk over roots sees the root whole.
        state.pointee.firstRoot.store(root.word, ordering: .releasing)
    }

    /// Under VMLock.pages.  The root's own link stays: a reader may stand on it.
    private func unlist(_ root: Table) {
        if firstRoot == root {
            // Release: as in list(), for the root that is first now.
            state.pointee.firstRoot.store(root.nextRoot?.word ?? 0, ordering: .releasing)
            return
        }
        forEachListedRoot { if $0.nextRoot == root { $0.setNextRoot(root.nextRoot) } }
    }

    /// A valid root of this role, with a reference.  Under VMLock.pages.
    private func validRoot(_ role: Role) -> RootReference? {
        var here = firstRoot
        while let root = here {
            if root.role == role, let reference = RootReference.take(root) { return reference }
            here = root.nextRoot
        }
        return nil
    }

    /// A valid root for the vCPU, found or made; nil without memory or TDP MMU.  Under mmu_lock none
    /// is invalidated meanwhile: tearDown() first clears isSetUp and then invalidates under Lock W, so
    /// this sees the one or is seen by the other.
    func findOrMakeRoot(_ vcpu: VCPU, _ hold: borrowing HeldForRead) -> RootReference? {
        guard isSetUp else { return nil }
        let config = state
        let role = Role(
            rootLevel: config.pointee.config.rootLevel, addressSpace: vcpu.addressSpace,
            adDisabled: config.pointee.config.adDisabled)
        if let root = locked(.pages, { validRoot(role) }) { return root }
        // Before the lock: the rig is told of each table that is taken.
        guard let new = takeTable(vcpu, role: role, gfn: GFN(0), parent: nil) else { return nil }
        // One reference for the caller, one for the MMU until it is invalidated.
        new.table.setReferences(2)
        let other = locked(.pages) { () -> RootReference? in
            if let other = validRoot(role) { return other }
            list(new.table)
            return nil
        }
        if let other {
            returnTable(vcpu, new)
            return other
        }
        return RootReference(new.linked())
    }
}

extension VCPU {
    /// A valid root, with a reference for the caller.  Takes mmu_lock for read
    /// unless the thread holds it for write already.
    @inline(never)
    package func acquireRoot() -> RootReference? {
        traceVCPU(TDPMMU_TRACE_ALLOC_ROOT, nil)
        if let hold = vm.lock.callersHold { return vm.findOrMakeRoot(self, hold) }
        return vm.lock.read { hold in vm.findOrMakeRoot(self, hold) } ?? nil
    }

    package enum LoadResult {
        case done
        case noMemory
        case notSetUp
    }

    /// Makes sure of a valid root.
    @inline(never)
    package func load() -> LoadResult {
        answerRequests()
        let isGood = insideRCU { rcu in root(rcu).map { !$0.role.isInvalid } ?? false }
        if isGood { return .done }
        unload()
        traceVCPU(TDPMMU_TRACE_ALLOC_ROOT, nil)
        let result: LoadResult? = vm.lock.read { hold in
            guard let new = vm.findOrMakeRoot(self, hold)?.keep() else { return vm.isSetUp ? .noMemory : .notSetUp }
            // Release: pairs with takeRoot() and root() in another thread.  Under mmu_lock still,
            // so that tearDown() finds the root here.
            state.pointee.root.store(new.word, ordering: .releasing)
            state.pointee.leftRoot.store(0, ordering: .relaxed)
            traceVCPU(TDPMMU_TRACE_LOAD_PGD, new)
            return .done
        }
        if result == .done {
            flushForNewRoot()
            if vm.hasEyes { insideRCU { rcu in vm.see(.loads, root(rcu), pointer) } }
        }
        return result ?? .noMemory
    }

    /// Drops its root.  Inside RCU, so that tearDown() can wait until the reference is gone.
    @inline(never)
    package func unload() {
        insideRCU { _ in
            if let root = takeRoot() { root.put(vm) }
        }
    }

    /// The reference to its root that was the vCPU's.
    func takeRoot() -> RootReference? {
        // Acquire: pairs with the release in load().
        let word = state.pointee.root.exchange(0, ordering: .acquiring)
        guard let root = Table(word: word) else { return nil }
        vm.see(.leaves, root, pointer)
        return RootReference(kept: root)
    }
}
