// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

extension Machine {
    /// The roots that vCPUs use, each once.
    var rootsInUse: [(address: UInt64, vcpus: [Int])] {
        var users: [(address: UInt64, vcpus: [Int])] = []
        for vcpu in vcpuIDs {
            guard let address = rootAddress(vcpu: vcpu) else { continue }
            if let index = users.firstIndex(where: { $0.address == address }) {
                users[index].vcpus.append(vcpu)
            } else {
                users.append((address, [vcpu]))
            }
        }
        return users
    }

    /// Our tables as they are now.
    package func snapshot(name: String) -> TableSnapshot {
        TableSnapshot(name: name, layout: layout, roots: rootsInUse.compactMap { address, vcpus in
            guard let first = vcpus.first, let root = root(vcpu: first) else { return nil }
            let entries = TableWalk.listed(root: root, address: address).map {
                DumpEntry(line: 0, level: $0.level, gfn: $0.gfn, spte: $0.spte, kind: $0.kind, address: $0.address)
            }
            return TableSnapshot.Root(address: address, level: rootLevel, role: role(vcpu: first),
                                      addressSpace: addressSpace(vcpu: first), vcpus: vcpus, entries: entries)
        })
    }
}
