// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

/// What the library asks and tells.  The context of each callback is the VM.
extension TestVM {
    static var callbacks: tdpmmu_ops {
        var operations = tdpmmu_ops()
        operations.size = MemoryLayout<tdpmmu_ops>.size
        operations.gfn_to_pfn = gfnToPFN
        operations.mapping_level = mappingLevel
        operations.flush_tlb = flushed
        operations.spte_changed = spteChanged
        operations.need_resched = needResched
        operations.yielded = yielded
        operations.vcpu_request = vcpuRequested
        operations.warn = warned
        return operations
    }

    fileprivate func slot(_ slot: UnsafePointer<kvm_memory_slot>?) -> HostSlot? {
        guard let id = slot?.pointee.id, Int(id) < slots.count else { return nil }
        return slots[Int(id)]
    }
}

private func vm(_ context: UnsafeMutableRawPointer?) -> TestVM? {
    context.map { Unmanaged<TestVM>.fromOpaque($0).takeUnretainedValue() }
}

private func gfnToPFN(
    _ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?,
    _ gfn: UInt64, _ write: Bool, _ writable: UnsafeMutablePointer<Bool>?, _ level: UnsafeMutablePointer<Int32>?
) -> UInt64 {
    guard let vm = vm(context), let host = vm.slot(slot) else { return UInt64(0x7ff) << 52 }
    level?.pointee = Int32(min(vm.largestLevel, host.level(of: gfn)))
    return host.pfn(of: gfn)
}

private func mappingLevel(
    _ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?, _ gfn: UInt64
) -> Int32 {
    Int32(vm(context)?.slot(slot)?.level(of: gfn) ?? 1)
}

private func flushed(_ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?, _ start: UInt64, _ pages: UInt64) {
    vm(context)?.observations.flush(start: start, pages: pages)
}

private func spteChanged(
    _ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?, _ addressSpace: Int32, _ gfn: UInt64, _ level: Int32,
    _ old: UInt64, _ new: UInt64, _ shared: Bool
) {
    vm(context)?.observations.change(addressSpace: Int(addressSpace), gfn: gfn, level: Int(level), old: old, new: new)
}

private func needResched(_ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?) -> Bool {
    vm(context)?.yielding.isWanted() ?? false
}

private func yielded(_ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?) {
    vm(context)?.hasYielded?()
}

private func vcpuRequested(
    _ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?, _ vcpu: OpaquePointer?, _ request: tdpmmu_request
) {
    vm(context)?.observations.request(vcpu: Int(tdpmmu_vcpu_id(vcpu)), UInt64(request.rawValue))
}

private func warned(
    _ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?, _ warning: UnsafePointer<tdpmmu_warning>?
) {
    guard let warning = warning?.pointee else { return }
    vm(context)?.observations.warning(
        "\(warning.function.map { String(cString: $0) } ?? "?"): \(warning.text.map { String(cString: $0) } ?? "?") "
            + "(\(hexadecimal(warning.value.0)), \(hexadecimal(warning.value.1)))")
}
