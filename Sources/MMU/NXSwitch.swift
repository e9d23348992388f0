// SPDX-License-Identifier: GPL-2.0-only
import Sync
import Synchronization

extension VM {
    /// Must huge pages not be executed?  Whatever is mapped is zapped, and mapped anew by the answer.
    package func setNXHugePages(_ on: Bool) {
        withSlotsLocked { held in
            // Before the zap.  Relaxed: a fault that maps by the old value does so under mmu_lock before
            // zapAllFast() takes it, and what it mapped is zapped.
            if state.pointee.nxHugePages.exchange(on, ordering: .relaxed) != on { zapAllFast(held) }
        }
        wakeNXRecovery()
    }
}
