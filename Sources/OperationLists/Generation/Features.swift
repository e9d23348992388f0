// SPDX-License-Identifier: GPL-2.0-only

/// What a list has that others have not: the rows of the table.
extension OperationList {
    package var features: [String] {
        let traits: [(String, Bool)] = [
            ("5 levels", setup.rootLevel == 5), ("MAXPHYADDR 52", setup.physicalBits == 52), ("L1TF", setup.l1tfCacheBits > 0),
            ("NX huge pages", setup.noExecutableHugePages), ("PML", setup.pageModificationLogging),
            ("manual log", setup.log == .manual && setup.ringBytes == 0), ("initially all set", setup.log == .initset && setup.ringBytes == 0),
            ("dirty ring", setup.ringBytes > 0), ("no eager split", !setup.splitsEagerly),
            ("SMM", operations.contains { $0.kind == .vcpu && $0.argument(1) == 1 }),
            ("yields", operations.contains { $0.kind == .yield && $0.argument(0) != 0 }),
            ("in the middle", operations.contains { $0.afterYields != nil }),
        ]
        return [setup.vendor.rawValue] + traits.filter(\.1).map(\.0)
    }

    /// All that there may be, in the table's order.
    package static let featureOrder = Setup.Vendor.allCases.map(\.rawValue) + [
        "5 levels", "MAXPHYADDR 52", "L1TF", "NX huge pages", "PML", "manual log", "initially all set", "dirty ring",
        "no eager split", "SMM", "yields", "in the middle",
    ]
}
