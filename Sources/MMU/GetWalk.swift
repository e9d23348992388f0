// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import PageTable

extension VCPU {
    /// Copies the entries that a walk to gfn meets to sptes[level]; returns the
    /// level of the last one.  RCU only.
    package func walk(to gfn: GFN, from root: Table, _ sptes: UnsafeMutablePointer<UInt64>) -> Level {
        var iter = tdp_iter(root: root, minLevel: .page4K, from: gfn)
        var lowest = root.level
        while iter.valid && iter.atGFN <= gfn {
            lowest = iter.atLevel
            sptes[Int(lowest.raw)] = iter.old_spte
            iter.next()
        }
        return lowest
    }
}
