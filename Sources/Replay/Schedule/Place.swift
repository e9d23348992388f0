// SPDX-License-Identifier: GPL-2.0-only

/// Where in the trace the replay is.
final class Place {
    /// Index of the item that is being performed.
    var item = 0
    /// Number of the line whose moment it is for the host's memory.
    var line = 0
    /// Several vCPUs run at once: lines under mmu_lock held for read may be swapped.
    var isParallel = false
}
