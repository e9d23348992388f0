// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import RCU
import Sync

/// What the VM tells its rig: warnings, and that CPUs are to forget translations.
extension VM {
    /// Tells the VM's handler, or the process's.
    @inline(never)
    package func warn(
        _ kind: WarningKind, _ function: StaticString, _ text: StaticString,
        _ value0: UInt64 = 0, _ value1: UInt64 = 0
    ) {
        var warning = makeWarning(kind, function, text, value0, value1)
        tell(&warning)
    }

    @inline(never)
    package func tell(_ warning: inout tdpmmu_warning) {
        counters.add(.warnings, 1, exclusive: false)
        noteWarning(&warning)
        if !rig.warned(&warning) { giveWarning(&warning, kvm) }
    }

    /// The same of the checker, whose texts are C's and stay.
    @inline(never)
    package func warnOfCheck(_ text: UnsafePointer<CChar>, _ value0: UInt64, _ value1: UInt64) {
        var warning = makeWarning(.check, "tdpmmu_check", "", value0, value1)
        warning.text = text
        tell(&warning)
    }

    /// Every CPU forgets gfns [start, start + pages).
    package func flush(_ start: GFN, pages: UInt64) {
        counters.add(.flushes, 1, exclusive: false)
        if traces(TDPMMU_TRACE_FLUSH) || traces(TDPMMU_TRACE_FLUSH_RANGE) { traceFlush(start, pages: pages) }
        see(.flushBegins, gfn: start, pages: pages)
        rig.flush(start, pages: pages)
        see(.flushEnds, gfn: start, pages: pages)
    }

    /// Every CPU forgets everything.
    package func flushAll() { flush(GFN(0), pages: .max) }

    /// May the calling thread take a lock of this rank?  If not, a warning.
    package func mayTake(_ rank: LockRank, _ function: StaticString) -> Bool {
        guard let other = LockOrder.held.first(from: rank) else { return true }
        warn(.lock, function, other.inTheWay, UInt64(other.rawValue))
        return false
    }
}

extension StaticString {
    /// Of its text, which ends with a zero, for a rig.
    package var address: UInt { UInt(bitPattern: utf8Start) }
}
