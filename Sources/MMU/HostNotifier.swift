// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable
import Sync

/// What the host's memory manager asks, in its own addresses.
extension VM {
    /// The host is about to take [start, end) away: nothing may map it any more, and
    /// nothing may map it again before the end is told.
    @inline(never)
    package func invalidateHostRange(_ start: UInt64, _ end: UInt64, mayBlock: Bool) {
        traceHost(TDPMMU_TRACE_UNMAP_HVA_RANGE, start, end)
        lock.write { hold in
            // In a slot that the range does not touch nothing is invalidated.
            beginInvalidation(isNamed: true, hold)
            var flush = OwedFlush()
            forEachGFNRange(hostStart: start, hostEnd: end) { space, first, last in
                addInvalidation(start: first, end: last, hold)
                var own = OwedFlush()
                unmapRange(addressSpace: space, start: first, end: last, mayBlock: mayBlock, &hold, owing: &own)
                flush.add(own)
            }
            flush.pay { flushAll() }
            memory.pointee.taken.add(start, end)
        }
    }

    /// False: no invalidation was under way.
    @inline(never)
    package func endHostInvalidation(_ start: UInt64, _ end: UInt64) -> Bool {
        lock.write { hold in
            memory.pointee.taken.remove(start, end)
            return endInvalidation(hold) != .noneUnderWay
        } ?? false
    }

    /// Was any page of [start, end) used?  None looks so from here on.
    @inline(never)
    package func ageHostRange(_ start: UInt64, _ end: UInt64) -> Bool {
        traceHost(TDPMMU_TRACE_AGE_HVA, start, end)
        var young = false
        forEachGFNRange(hostStart: start, hostEnd: end) { space, first, last in
            if age(addressSpace: space, start: first, end: last) { young = true }
        }
        return young
    }

    /// Was the page at this address used?
    @inline(never)
    package func isHostPageAccessed(_ address: UInt64) -> Bool {
        traceHost(TDPMMU_TRACE_TEST_AGE_HVA, address, address)
        var young = false
        forEachGFNRange(hostStart: address, hostEnd: address + 1) { space, first, last in
            young = young || isAccessed(addressSpace: space, start: first, end: last)
        }
        return young
    }
}
