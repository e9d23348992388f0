// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Synchronization
import Tracing

/// How a VM comes and goes.
extension VM {
    /// nil when there is no memory.
    package static func make(_ config: VMConfiguration) -> VM? {
        keepInForkedChild(freeTable)
        guard let memory = cp_alloc_zeroed(MemoryLayout<VMMemory>.size) else { return nil }
        let vm = VM(memory.assumingMemoryBound(to: VMMemory.self))
        vm.memory.initialize(to: VMMemory(config))
        vm.publishFacts()
        vm.lock.setRank(LockRank.mmu)
        vm.srcu.initialize(rank: LockRank.srcuReader)
        guard vm.makeSlotTables() else {
            vm.srcu.cleanUp()
            cp_free_zeroed(memory)
            return nil
        }
        VM.alive.wrappingAdd(1, ordering: .relaxed)
        return vm
    }

    /// What kernel.h has to know to make SPTEs, and to walk the list of roots.  Before anybody has the VM.
    private func publishFacts() {
        let facts: UnsafeMutablePointer<tdpmmu_facts> = place(of: &memory.pointee.facts.forC)
        masks.describe(in: &facts.pointee)
        facts.pointee.gfn_limit = gfnLimit.raw
        facts.pointee.pfn_mask = pfnMask
        facts.pointee.asks_to_yield = rig.areAskedToYield
        // As C sees two atomic words: an address, and a byte.
        facts.pointee.first_root = withUnsafePointer(to: state.pointee.firstRoot) { UnsafePointer(OpaquePointer($0)) }
        facts.pointee.nx_huge_pages = withUnsafePointer(to: state.pointee.nxHugePages) { UnsafePointer(OpaquePointer($0)) }
        memory.pointee.kvm.facts = UnsafePointer(facts)
    }

    /// After the last vCPU, root and callback are gone.
    package func free() {
        takeBackForgotten()
        seeDestruction()
        guard srcu.cleanUp() else {
            return warn(.leak, "tdpmmu_destroy_vm", "kvm->srcu has readers: the VM's memory is not freed")
        }
        freeSlotTables()
        VM.alive.wrappingSubtract(1, ordering: .relaxed)
        cp_free_zeroed(memory)
    }

    /// Tables that callers have, and forgot, go with their VM (RootLifecycle.swift told of them): else they were
    /// another's that comes to be where it was.
    private func takeBackForgotten() {
        guard memory.pointee.tables.handedOut.load(ordering: .relaxed) != 0 else { return }
        while let table = TableArena.handedOut(by: UInt(bitPattern: kvm)), takeBackTable(table) {}
    }
}
