// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import Sync
import Synchronization

/// What the checker keeps of a VM.
package struct CheckState: ~Copyable {
    /// Every so many operations it looks; 0: never.
    package let every = Atomic<UInt32>(0)
    /// Operations that ended, checks made, checks left out because somebody was inside, faults found.
    package let operations = Atomic<UInt64>(0)
    package let made = Atomic<UInt64>(0)
    package let skipped = Atomic<UInt64>(0)
    package let faults = Atomic<UInt64>(0)
    /// Called at the end of operations (VM.afterOperations()).
    var look: (@convention(c) (UnsafeMutablePointer<kvm>) -> Void)?
    /// Who is told of each fault, beside the warning.  Written before the VM is checked.
    package var report: tdpmmu_check_report_fn?
    package var context: UnsafeMutableRawPointer?
    init() {}
}

extension VM {
    package var checks: UnsafeMutablePointer<CheckState> { place(of: &memory.pointee.checks) }
}
