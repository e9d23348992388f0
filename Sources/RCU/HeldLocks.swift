// SPDX-License-Identifier: GPL-2.0-only
// What a thread holds, readers of RCU and SRCU included.
import CPlatform
import Sync

extension LockOrder {
    /// All that the calling thread holds of what has a rank.
    package static var held: LockSet {
        var held = heldLocks
        if rcuReadLockHeld() { held.insert(.rcuReader) }
        if SRCUHolds.containsRanked { held.insert(.srcuReader) }
        return held
    }
}
