// SPDX-License-Identifier: GPL-2.0-only
// refused by the linker inside PageTable: cp_dropped_without_being_settled
@_cdecl("tdpmmu_version")
public func forgets(_ isOwed: Bool) -> Bool {
    let flush = OwedFlush(handedOver: isOwed)
    return flush.isForTable
}
