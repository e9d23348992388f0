// SPDX-License-Identifier: GPL-2.0-only
// refused: deinit of non-copyable type not visible in the current module
import PageTable

@_cdecl("tdpmmu_version")
public func forgets() -> UInt64 {
    guard let page = TableArena.take(count: 1) else { return 0 }
    let role = Role(rootLevel: Level(4), addressSpace: 0, adDisabled: false)
    let table = UnlinkedTable(page, owner: 1, role: role, gfn: GFN(0), parent: nil)
    return table.table.address
}
