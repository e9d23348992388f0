// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import Sync
import Synchronization

extension VM {
    /// Must huge pages not be executed?  Whatever is mapped is zapped, and mapped anew by the answer.
    package func setNXHugePages(_ on: Bool) {
        withSlotsLocked { held in
            // Decided before the zap: faults from here on map as they should.
            if state.pointee.nxHugePages.exchange(on, ordering: .acquiringAndReleasing) != on { zapAllFast(held) }
        }
        wakeNXRecovery()
    }
}
