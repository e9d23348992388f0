// SPDX-License-Identifier: GPL-2.0-only

/// Whose tables a machine's KVM makes: AMD's nested page tables, or Intel's extended ones.
package enum Vendor: String, CaseIterable, Sendable {
    case npt, ept
}

/// The recorded machine, as far as its SPTEs and dirty logs depend on it.
package struct RecordedMachine: Equatable, Sendable {
    package var vendor: Vendor
    /// The CPU sets Accessed and Dirty; else KVM tracks accesses by protecting SPTEs.
    package var hasAD: Bool
    /// The CPU logs which pages become dirty (PML).
    package var hasPML: Bool
    package var rootLevel: Int
    /// MAXPHYADDR.
    package var physicalBits: Int
    /// Address bits of the caches, where L1TF is mitigated in MMIO SPTEs; else 0.
    package var l1tfCacheBits: Int

    package init(vendor: Vendor, hasAD: Bool, hasPML: Bool, rootLevel: Int, physicalBits: Int, l1tfCacheBits: Int) {
        (self.vendor, self.hasAD, self.hasPML) = (vendor, hasAD, hasPML)
        (self.rootLevel, self.physicalBits, self.l1tfCacheBits) = (rootLevel, physicalBits, l1tfCacheBits)
    }
}

/// What somebody says of the machine, each fact or nil: the recorder, in an INFO line, or who
/// replays, by options.
package struct MachineFacts: Equatable, Sendable {
    package var vendor: Vendor?
    package var hasAD: Bool?
    package var hasPML: Bool?
    package var rootLevel: Int?
    package var physicalBits: Int?
    package var l1tfCacheBits: Int?

    package init() {}

    /// All of a machine.
    package init(_ machine: RecordedMachine) {
        (vendor, hasAD, hasPML) = (machine.vendor, machine.hasAD, machine.hasPML)
        (rootLevel, physicalBits, l1tfCacheBits) = (machine.rootLevel, machine.physicalBits, machine.l1tfCacheBits)
    }

    package init(physicalBits: Int) { self.physicalBits = physicalBits }

    /// `other` says all this as well.
    package func isPart(of other: MachineFacts) -> Bool {
        func agrees<Fact: Equatable>(_ path: KeyPath<MachineFacts, Fact?>) -> Bool {
            self[keyPath: path] == nil || self[keyPath: path] == other[keyPath: path]
        }
        return agrees(\.vendor) && agrees(\.hasAD) && agrees(\.hasPML) && agrees(\.rootLevel)
            && agrees(\.physicalBits) && agrees(\.l1tfCacheBits)
    }

    /// The INFO line that the recorder writes, without "INFO ".
    package var text: String {
        let fields: [(String, String?)] = [
            ("vendor", vendor?.rawValue), ("ad", hasAD.map { $0 ? "1" : "0" }), ("pml", hasPML.map { $0 ? "1" : "0" }),
            ("root_level", rootLevel.map(String.init)), ("maxphyaddr", physicalBits.map(String.init)),
            ("l1tf_cache_bits", l1tfCacheBits.map(String.init)),
        ]
        return fields.compactMap { name, value in value.map { "\(name)=\($0)" } }.joined(separator: " ")
    }

    /// What cannot be of one machine, or nil.
    package var contradiction: String? {
        if vendor == .npt, hasAD == false { return "ad=0 contradicts vendor=npt" }
        if vendor == .npt, hasPML == true { return "pml=1 contradicts vendor=npt" }
        if hasAD == false, hasPML == true { return "pml=1 contradicts ad=0" }
        return nil
    }
}
