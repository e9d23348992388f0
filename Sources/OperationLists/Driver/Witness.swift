// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import LibraryClient

/// Writes down how the VM stands after an operation.
enum Witness {
    /// The fields of Answer, in their order.
    static func line(_ result: String, _ vm: TestVM?) -> String {
        guard let vm else { return result }
        let seen = vm.observations
        return [
            result, seen.warnings > 0 ? "warned" : "", counters(vm),
            text(seen.changes), text(seen.flushes), text(seen.requests), tables(vm),
        ].joined(separator: "\t")
    }

    private static func text(_ sum: Observations.Sum) -> String {
        sum.count == 0 ? "0" : "\(sum.count) \(String(sum.hash, radix: 16))"
    }

    private static func counters(_ vm: TestVM) -> String {
        guard !vm.isDestroyed else { return "" }
        let stats = vm.stats
        return "\(stats.pages_4k) \(stats.pages_2m) \(stats.pages_1g) \(stats.nx_splits) \(vm.yields)"
    }

    /// Each root, oldest first, as it is, and a sum over what is below it.
    private static func tables(_ vm: TestVM) -> String {
        insideRCU {
            vm.roots.map { root in
                var count = 0, hash: UInt64 = 0
                let problems = Tables.forEachEntry(root) { entry in
                    count += 1
                    hash &+= Hash.single(RenamedEntry.value(entry.spte, level: entry.level),
                                         at: entry.gfn << 3 | UInt64(entry.level))
                }
                return "\(text(root)) sptes \(count) \(String(hash, radix: 16))"
                    + (problems.isEmpty ? "" : " broken: \(problems[0])")
            }.joined(separator: "; ")
        }
    }

    private static func text(_ root: UnsafeMutablePointer<kvm_mmu_page>) -> String {
        let role = root.pointee.role
        return "root space \(role.smm) level \(role.level)\(role.invalid != 0 ? " invalid" : "") refs \(root.pointee.tdp_mmu_root_count)"
    }

    /// All that the sums are made of: a line for each thing, with the name of its field.
    static func details(_ vm: TestVM?) -> [String] {
        guard let vm else { return [] }
        var lines = vm.observations.texts.map { "\($0.field.rawValue) \($0.text)" }
        let stats = vm.isDestroyed ? nil : vm.stats
        if let stats {
            lines.append("counters pages 4k \(stats.pages_4k) 2m \(stats.pages_2m) 1g \(stats.pages_1g), "
                         + "nx splits \(stats.nx_splits), yields \(vm.yields)")
        }
        insideRCU {
            for root in vm.roots {
                lines.append("tables \(text(root))")
                let problems = Tables.forEachEntry(root) { entry in
                    lines.append("tables space \(root.pointee.role.smm) gfn \(hexadecimal(entry.gfn)) level \(entry.level): "
                                 + RenamedEntry.text(entry.spte, level: entry.level))
                }
                lines += problems.map { "tables \($0)" }
            }
        }
        return lines
    }
}
