// SPDX-License-Identifier: GPL-2.0-only
import MMU
import PageTable
import RCU

/// What a change of an entry owes.  Nothing where no CPU can have what is gone, or may go on with it:
/// Accessed is a hint, and so is that a leaf was tracked for it: its rights come back with the next access, W by a fast fault.
extension SPTEChange {
    package func debt(_ masks: SPTEMasks, logsByDirtyBits: Bool) -> DebtKind? {
        guard old.isPresent else { return nil }
        guard old.isLeaf(at: level) else { return removesTable || old.pfn != new.pfn ? .table : nil }
        guard new.isPresent else { return .page }
        if new.isTable(at: level) { return splitDebt(masks) }
        if old.pfn != new.pfn { return .page }
        let lost = old.raw & ~new.raw
        if lost & masks.mmuWritable != 0 { return .rights }
        if masks.isAccessTracked(new) { return nil }
        if losesAccess(masks) { return .rights }
        return lost & (SPTE.writable | (logsByDirtyBits ? masks.dirty : 0)) != 0 ? .bits : nil
    }

    /// Leaf and leaf, of the same page.
    var keepsPage: Bool { old.isLeaf(at: level) && new.isLeaf(at: level) && old.pfn == new.pfn }

    private func losesAccess(_ masks: SPTEMasks) -> Bool {
        masks.isReadable(old) && !masks.isReadable(new) || masks.isExecutable(old) && !masks.isExecutable(new)
    }

    /// A huge leaf made way for a table: nothing, as long as its entries map what the leaf did, with no fewer
    /// rights.  One that is gone or has fewer by now is the debt of who did that, in another thread.
    private func splitDebt(_ masks: SPTEMasks) -> DebtKind? {
        insideRCU { rcu in
            guard level <= .maxHuge, let table = Table(checkedAddress: Table.entries(of: new.address)) else {
                return .page
            }
            for index in 0..<entriesPerTable {
                let child = table[index].load(rcu)
                guard child.isPresent else { continue }
                let offset = UInt64(truncatingIfNeeded: index) &* level.below.pages
                if !child.isLast(at: level.below) { continue }
                if child.pfn.raw != old.pfn.raw &+ offset { return .page }
            }
            return nil
        }
    }
}

/// Can CPUs get to the entry?  Not below a root that was invalidated, which every vCPU was asked to leave, nor in a table that is cut off: its removal owes
/// a flush of all that it mapped.  For who may be in the middle of changing it, under a lock or in RCU.
func isReachable(_ slot: SPTESlot, _ vm: VM) -> Bool {
    insideRCU { rcu in
        var table = Table(of: slot)
        while let parent = table.parent {
            let entry = parent.load(rcu)
            guard entry.isPresent, entry.address == table.address else { return false }
            table = Table(of: parent)
        }
        return !table.role.isInvalid || vm.isLoaded(table)
    }
}
