// SPDX-License-Identifier: GPL-2.0-only
import CPlatform
import CTDPMMU
import PageTable
import RCU
import Sync
import Tracing

/// How a VM comes and goes.
extension VM {
    /// nil when there is no memory.
    package static func make(_ config: VMConfiguration) -> VM? {
        keepInForkedChild(freeTable)
        guard let memory = cp_alloc_zeroed(MemoryLayout<VMMemory>.size) else { return nil }
        let vm = VM(memory.assumingMemoryBound(to: VMMemory.self))
        vm.memory.initialize(to: VMMemory(config))
        vm.lock.setRank(LockRank.mmu)
        vm.srcu.initialize(rank: LockRank.srcuReader)
        guard vm.makeSlotTables() else {
            vm.srcu.cleanUp()
            cp_free_zeroed(memory)
            return nil
        }
        return vm
    }

    /// After the last vCPU, root and callback are gone.
    package func free() {
        seeDestruction()
        guard srcu.cleanUp() else {
            return warn(.leak, "tdpmmu_destroy_vm", "kvm->srcu has readers: the VM's memory is not freed")
        }
        freeSlotTables()
        cp_free_zeroed(memory)
    }
}
