// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Which of our tables stands for which of the kernel's.
///
/// Tables lie at other addresses here than in the recorded machine.  An address
/// is learned when the table is linked, must stay the same as long as the table
/// lives, and is forgotten when it is unlinked: both sides use memory again.
/// One table of the kernel's is one of ours and the other way round.
struct TableRenaming {
    private var ours: [UInt64: UInt64] = [:]
    private var recorded: [UInt64: UInt64] = [:]
    private var roots: Set<UInt64> = []

    /// Our address of a recorded table, and the other way round.
    func ours(of recordedAddress: UInt64) -> UInt64? { ours[recordedAddress] }
    func recorded(of ourAddress: UInt64) -> UInt64? { recorded[ourAddress] }

    func agree(recorded recordedAddress: UInt64, ours ourAddress: UInt64) -> Bool {
        ours[recordedAddress] == ourAddress && recorded[ourAddress] == recordedAddress
    }

    /// A new table.  False if either side is in use as another one; the new
    /// pair is kept nevertheless, so that one difference does not become many.
    mutating func learn(recorded recordedAddress: UInt64, ours ourAddress: UInt64, isRoot: Bool = false)
        -> Bool
    {
        let isNew = ours[recordedAddress] == nil && recorded[ourAddress] == nil
        if !isNew { forget(recorded: recordedAddress, ours: ourAddress) }
        ours[recordedAddress] = ourAddress
        recorded[ourAddress] = recordedAddress
        if isRoot { roots.insert(recordedAddress) }
        return isNew
    }

    /// The table is gone on both sides.
    mutating func forget(recorded recordedAddress: UInt64?, ours ourAddress: UInt64?) {
        if let recordedAddress, let pair = ours.removeValue(forKey: recordedAddress) {
            recorded[pair] = nil
            roots.remove(recordedAddress)
        }
        if let ourAddress, let pair = recorded.removeValue(forKey: ourAddress) {
            ours[pair] = nil
            roots.remove(pair)
        }
    }

    /// All roots were invalidated: their memory is free as soon as the last user
    /// lets go, which no line tells.
    mutating func forgetRoots() {
        for root in roots { forget(recorded: root, ours: nil) }
    }

    var rootCount: Int { roots.count }
}

/// SPTEs that mean the same.
extension TableRenaming {
    /// An SPTE that was there: a table in it must be a known pair.
    func same(recorded: UInt64, ours: UInt64, level: Int) -> Bool {
        guard SPTEBits.isTable(recorded, level: level), SPTEBits.isTable(ours, level: level) else {
            return recorded == ours
        }
        return recorded & ~SPTEBits.address == ours & ~SPTEBits.address
            && agree(recorded: recorded & SPTEBits.address, ours: ours & SPTEBits.address)
    }

    /// An SPTE that was just written: a table in it is a new pair.
    mutating func sameNew(recorded: UInt64, ours: UInt64, level: Int) -> Bool {
        guard SPTEBits.isTable(recorded, level: level), SPTEBits.isTable(ours, level: level) else {
            return recorded == ours
        }
        let isNew = learn(recorded: recorded & SPTEBits.address, ours: ours & SPTEBits.address)
        return isNew && recorded & ~SPTEBits.address == ours & ~SPTEBits.address
    }

    /// One recorded change against one of ours, learning and forgetting tables.
    mutating func same(_ recorded: SPTEChange, _ ours: SPTEChange) -> Bool {
        var isSame = recorded.addressSpace == ours.addressSpace && recorded.gfn == ours.gfn
            && recorded.level == ours.level
            && same(recorded: recorded.old, ours: ours.old, level: recorded.level)
        forgetOldTable(recorded, ours)
        if !sameNew(recorded: recorded.new, ours: ours.new, level: recorded.level) { isSame = false }
        return isSame
    }

    private mutating func forgetOldTable(_ recorded: SPTEChange, _ ours: SPTEChange) {
        forget(recorded: Self.unlinked(recorded), ours: Self.unlinked(ours))
    }

    /// The table that a change unlinks.
    static func unlinked(_ change: SPTEChange) -> UInt64? {
        SPTEBits.isTable(change.old, level: change.level) ? change.old & SPTEBits.address : nil
    }
}
