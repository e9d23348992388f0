// SPDX-License-Identifier: GPL-2.0-only
// rig_fail.h
import CPlatform
import CTDPMMU

@c @implementation
public func tdpmmu_fail_nth(_ what: UInt32, _ n: UInt64) -> Int32 {
    let kinds = TDPMMU_FAIL_ANY.rawValue, manners = TDPMMU_FAIL_ONWARDS.rawValue | TDPMMU_FAIL_HERE.rawValue
    guard what & ~(kinds | manners) == 0, what & kinds != 0 else {
        Contract.tdpmmu_fail_nth.refuse("what names no kind, or has unknown bits (what)", nil, UInt64(what))
        return .invalid
    }
    cp_fail_plan(what, n)
    return 0
}

@c @implementation
public func tdpmmu_fail_count(_ what: UInt32) -> UInt64 { cp_fail_calls(what) }
