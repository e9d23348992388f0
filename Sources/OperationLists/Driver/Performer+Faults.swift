// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import LibraryClient

/// What vCPUs do.
extension Performer {
    func faultResult(_ call: Call) -> String? {
        switch call.kind {
        case .fault: call.withVCPU { fault(call, $0) }
        case .mapcall: call.withVCPU { map(call, $0) }
        case .fastpf: call.withVCPU { fastFault(call, $0) }
        case .hw: call.withVCPU { access(call, $0) }
        case .exit: call.withVCPU { String(tdpmmu_cpu_exit($0)) }
        case .prefault: call.withVCPU { prefault(call, $0) }
        case .walk: call.withVCPU { walk(call, $0) }
        case .vcpu: make(call)
        case .load: call.withVCPU { load($0) }
        case .unload: call.withVCPU { kvm_mmu_unload($0); return "ok" }
        case .smm: call.withVCPU { text(status: Int(tdpmmu_vcpu_set_as_id($0, Int32(call[1])))) }
        default: nil
        }
    }

    private static func faultText(_ result: Int) -> String {
        let names = ["continue", "retry", "emulate", "write_protected", "invalid", "fixed", "spurious"]
        return names.indices.contains(result) ? names[result] : text(status: result)
    }

    private func fault(_ call: Call, _ vcpu: OpaquePointer) -> String {
        call.vm.largestLevel = Int(call[3, default: 3])
        defer { call.vm.largestLevel = 3 }
        return Self.faultText(Int(kvm_tdp_mmu_page_fault(vcpu, call[1] << 12, call[2])))
    }

    private func fastFault(_ call: Call, _ vcpu: OpaquePointer) -> String {
        guard tdpmmu_vcpu_root(vcpu) != nil else { return "no root" }
        return Self.faultText(Int(tdpmmu_fast_page_fault(vcpu, call[1] << 12, call[2])))
    }

    /// The slot decides what is MMIO, as in the kernel, and the host how huge a page may be.
    private func map(_ call: Call, _ vcpu: OpaquePointer) -> String {
        guard let root = tdpmmu_vcpu_root(vcpu), root.pointee.role.invalid == 0 else { return "no valid root" }
        let space = Int(tdpmmu_vcpu_as_id(vcpu)), gfn = call[1]
        let slot = call.vm.slots.first { $0?.addressSpace == space && $0?.contains(gfn) == true } ?? nil
        let level = min(Int(call[4]), slot?.level(of: gfn) ?? 3)
        let pfn = slot == nil ? 1 << 63 : call[5]
        return Self.faultText(call.kvm.lockedForRead {
            Int(kvm_tdp_mmu_map(vcpu, gfn << 12, call[2], slot != nil && call[3] != 0, Int32(level), pfn, call[6] != 0))
        })
    }

    private func access(_ call: Call, _ vcpu: OpaquePointer) -> String {
        guard tdpmmu_vcpu_root(vcpu) != nil else { return "no root" }
        var runs = Runs()
        for page in 0..<call[3, default: 1] {
            let level = Int(tdpmmu_cpu_access(vcpu, (call[1] &+ page) << 12, call[2] & ~Access.present, nil))
            runs.add(level > 0 ? "level \(level)" : level == 0 ? "fault" : text(status: level))
        }
        return runs.text
    }

    /// Where the host invalidates, or the root is obsolete, the kernel tries again until a signal comes.
    private func prefault(_ call: Call, _ vcpu: OpaquePointer) -> String {
        if let root = tdpmmu_vcpu_root(vcpu), root.pointee.role.invalid != 0 { return "no valid root" }
        guard call.vm.invalidations.isEmpty else { return "not while the host invalidates" }
        var range = kvm_pre_fault_memory()
        range.gpa = call[1] << 12
        range.size = call[2] << 12
        let status = Int(kvm_vcpu_pre_fault_memory(vcpu, &range))
        return "\(text(status: status)), \(range.size >> 12) pages left"
    }

    private func walk(_ call: Call, _ vcpu: OpaquePointer) -> String {
        guard tdpmmu_vcpu_root(vcpu) != nil else { return "no root" }
        var sptes = [UInt64](repeating: 0, count: 8), rootLevel: Int32 = 0
        let leaf = insideRCU { Int(kvm_tdp_mmu_get_walk(vcpu, call[1] << 12, &sptes, &rootLevel)) }
        guard leaf > 0, leaf <= rootLevel, rootLevel < 8 else { return "leaf=\(leaf)" }
        let entries = (leaf...Int(rootLevel)).reversed().map { "\($0):\(RenamedEntry.text(sptes[$0], level: $0))" }
        return "leaf=\(leaf) root=\(rootLevel) \(entries.joined(separator: " "))"
    }

    private func make(_ call: Call) -> String {
        let id = Int(call[0])
        guard call.vm.vcpus[id] == nil else { return "there already" }
        guard let vcpu = tdpmmu_create_vcpu(call.kvm, Int32(id)) else { return "not made" }
        call.vm.vcpus[id] = vcpu
        let status = Int(tdpmmu_vcpu_set_as_id(vcpu, Int32(call[1])))
        return status == 0 ? load(vcpu) : text(status: status)
    }

    private func load(_ vcpu: OpaquePointer) -> String { text(status: Int(kvm_mmu_load(vcpu))) }
}

/// What came one after another, what is alike together: "level 1, 2 times fault".
private struct Runs {
    private var runs: [(text: String, count: Int)] = []

    mutating func add(_ text: String) {
        if runs.last?.text == text { runs[runs.count - 1].count += 1 } else { runs.append((text, 1)) }
    }

    var text: String {
        runs.map { $0.count == 1 ? $0.text : "\($0.count) times \($0.text)" }.joined(separator: ", ")
    }
}
