// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable

/// What may be switched while the VM runs.
package struct VMSwitches {
    /// Huge pages must not be executed.
    package var nxHugePages = false
    /// Enabling dirty logging splits huge leaves at once.
    package var eagerSplit = true
    /// Reading the dirty log does not clear it.
    package var manualProtect = false
    /// A logged slot starts all dirty, and nothing is protected until it is cleared.
    package var initiallySet = false
    /// Deleting or moving a slot zaps its leaves only.
    package var zapSlotOnly = false

    package init() {}
}

/// Numbers of the next entry of each dirty ring, of the slots' generation, and of invalidations that have ended.
package struct CounterStarts {
    package var ringIndex: UInt32 = 0
    package var slotGeneration: UInt64 = 0
    package var invalidateSequence: UInt64 = 0

    package init() {}
}

/// What a VM is made from, checked by the caller.
package struct VMConfiguration {
    package var vendor: Vendor
    package var rootLevel: Level
    package var maxPhysicalBits: Int
    package var adDisabled: Bool
    /// Most tables alive at once; 0: no limit.
    package var tableLimit: UInt64
    package let rig: RigTable
    /// The CPU logs dirty pages by their Dirty bits.
    package var usesPML = false
    /// That log is emptied in the order in which it was written, as since 6.14.
    package var pmlOldestFirst = false
    /// What can be switched later begins so.
    package var switches = VMSwitches()
    /// Cached physical address bits of a CPU that leaks through them; 0: it does not.
    package var l1tfCacheBits = 0
    /// Where counters begin that wrap.
    package var starts = CounterStarts()

    /// The word of events, at the beginning.
    var events: UInt64 { (rig.traces ? allEvents : 0) | rig.bitOfChanges }

    package init(
        vendor: Vendor, rootLevel: Level, maxPhysicalBits: Int, adDisabled: Bool,
        tableLimit: UInt64, ops: tdpmmu_ops, opsContext: UnsafeMutableRawPointer?
    ) {
        self.vendor = vendor
        self.rootLevel = rootLevel
        self.maxPhysicalBits = maxPhysicalBits
        self.adDisabled = adDisabled
        self.tableLimit = tableLimit
        rig = RigTable(ops, context: opsContext)
    }
}
