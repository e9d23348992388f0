// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// All entries of a VM's tables.
enum EntriesJSON {
    static func object(_ replay: StoppedReplay) -> JSON {
        let snapshot = replay.snapshot
        return ["name": .string(snapshot.name), "vendor": .string(snapshot.layout.vendor.rawValue),
                "roots": .array(snapshot.roots.map { root($0, snapshot.layout) }),
                "differences": .number(replay.report.differences),
                "shown": .array(replay.report.shown.map(ReportTable.object))]
    }

    private static func root(_ root: TableSnapshot.Root, _ layout: SPTELayout) -> JSON {
        .object(head(root) + [("entries", .array(root.entries.map { entry($0, layout) }))])
    }

    /// What it is, without its entries.
    static func head(_ root: TableSnapshot.Root) -> [(key: String, value: JSON)] {
        [("address", .hexadecimal(root.address)), ("levels", .number(root.level)),
         ("role", root.role.map { .hexadecimal(UInt64($0)) }.orNull), ("address_space", root.addressSpace.map(JSON.number).orNull),
         ("vcpus", .array(root.vcpus.map(JSON.number)))]
    }

    private static func entry(_ entry: DumpEntry, _ layout: SPTELayout) -> JSON {
        ["level": .number(entry.level), "gfn": .hexadecimal(entry.gfn), "kind": .string(entry.kind.rawValue),
         "spte": .hexadecimal(entry.spte), "bits": entry.kind == .leaf ? .string(layout.letters(entry.spte)) : .null,
         "at": .hexadecimal(entry.address)]
    }
}
