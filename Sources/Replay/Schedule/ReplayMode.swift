// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// How much of a trace is taken for given.
package enum ReplayMode {
    /// Every call of the TDP MMU, with its arguments.
    case calls
    /// What userspace, the guest and the host did, and the host's pages; what the TDP
    /// MMU makes of it is the library's own decision.
    case guest
}
