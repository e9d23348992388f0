// SPDX-License-Identifier: GPL-2.0-only

/// A VM's tables at one moment: all roots, each with every entry that a dump lists, in walk order.
package struct TableSnapshot {
    package struct Root {
        /// Of the root's table.
        package let address: UInt64
        package let level: Int
        /// nil: a dump does not say.
        package let role: UInt32?, addressSpace: Int?
        package let vcpus: [Int]
        package let entries: [DumpEntry]

        package init(address: UInt64, level: Int, role: UInt32? = nil, addressSpace: Int? = nil, vcpus: [Int] = [],
                     entries: [DumpEntry])
        {
            (self.address, self.level, self.role, self.addressSpace) = (address, level, role, addressSpace)
            (self.vcpus, self.entries) = (vcpus, entries)
        }
    }

    package let name: String
    package let layout: SPTELayout
    package let roots: [Root]

    package init(name: String, layout: SPTELayout, roots: [Root]) { (self.name, self.layout, self.roots) = (name, layout, roots) }

    /// A dump as it was recorded.
    package init(name: String, layout: SPTELayout, _ dump: Dump) {
        self.init(name: name, layout: layout, roots: [Root(address: dump.root, level: dump.rootLevel, entries: dump.entries)])
    }
}

extension DumpFile {
    /// What machine the entries are of, as far as they show it: host- and MMU-writable lie elsewhere with EPT,
    /// and so does the type of an SPTE whose accesses KVM tracks.
    package func layout(_ options: MachineFacts) -> SPTELayout {
        let leaves = dumps.values.flatMap(\.entries).filter { $0.kind == .leaf }
        let isEPT = leaves.contains { $0.spte & 3 << 57 != 0 }
        let tracks = isEPT && leaves.contains { $0.spte & 3 << 52 == 1 << 52 }
        let vendor = options.vendor ?? (isEPT ? .ept : .npt)
        return SPTELayout(RecordedMachine(vendor: vendor, hasAD: options.hasAD ?? !(vendor == .ept && tracks), hasPML: false,
                                          rootLevel: 4, physicalBits: 40, l1tfCacheBits: 0))
    }
}
