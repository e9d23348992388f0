// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// What the library told us during a call.
final class CallbackLog {
    var changes: [SPTEChange] = []
    var warnings: [Warning] = []
    /// The largest level at which the host maps an address.
    var hostLevel: (UInt64) -> Int = { _ in 1 }
    /// Who is asked in the middle of an operation.
    unowned var observer: (any WalkObserver)?
    /// What a fault gets for a gfn.
    var hostPage: (_ gfn: UInt64) -> HostPage = { _ in .fault }
}

// The callbacks of tdpmmu_ops.  Their context is a CallbackLog.

func gfnToPFN(
    _ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?,
    _ slot: UnsafePointer<kvm_memory_slot>?, _ gfn: UInt64, _ write: Bool,
    _ writable: UnsafeMutablePointer<Bool>?, _ level: UnsafeMutablePointer<Int32>?
) -> UInt64 {
    guard let context else { return HostPage.fault.pfn }
    let log = Unmanaged<CallbackLog>.fromOpaque(context).takeUnretainedValue()
    let page = log.hostPage(gfn)
    writable?.pointee = page.isWritable
    level?.pointee = Int32(clamping: page.level)
    return page.pfn
}

func mappingLevel(
    _ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?,
    _ slot: UnsafePointer<kvm_memory_slot>?, _ gfn: UInt64
) -> Int32 {
    guard let context, let slot = slot?.pointee else { return 1 }
    let log = Unmanaged<CallbackLog>.fromOpaque(context).takeUnretainedValue()
    return Int32(clamping: log.hostLevel(slot.userspace_addr &+ (gfn &- slot.base_gfn) << Paging.pageShift))
}

func spteChanged(
    _ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?, _ addressSpace: Int32,
    _ gfn: UInt64, _ level: Int32, _ old: UInt64, _ new: UInt64, _ shared: Bool
) {
    guard let context else { return }
    let log = Unmanaged<CallbackLog>.fromOpaque(context).takeUnretainedValue()
    log.changes.append(
        SPTEChange(addressSpace: Int(addressSpace), gfn: gfn, level: Int(level), old: old, new: new))
    log.observer?.hasChanged()
}

func slotCommitting(
    _ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?, _ slot: UnsafePointer<kvm_memory_slot>?
) {
    yielded(context, kvm)
}

func yieldAt(
    _ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?, _ iter: UnsafePointer<tdp_iter>?
) -> Bool {
    guard let context, let iter else { return false }
    let place = WalkPlace(gfn: iter.pointee.gfn, level: Int(iter.pointee.level), spte: iter.pointee.old_spte,
                          nextGFN: iter.pointee.next_last_level_gfn)
    return Unmanaged<CallbackLog>.fromOpaque(context).takeUnretainedValue().observer?.yields(at: place) ?? false
}

func yielded(_ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?) {
    guard let context else { return }
    Unmanaged<CallbackLog>.fromOpaque(context).takeUnretainedValue().observer?.comeInBetween()
}

func warned(
    _ context: UnsafeMutableRawPointer?, _ kvm: UnsafeMutablePointer<kvm>?,
    _ warning: UnsafePointer<tdpmmu_warning>?
) {
    guard let context, let warning = warning?.pointee else { return }
    let function = warning.function.map { String(cString: $0) } ?? "?"
    let text = warning.text.map { String(cString: $0) } ?? "?"
    let numbers = "0x\(String(warning.value.0, radix: 16)), 0x\(String(warning.value.1, radix: 16))"
    Unmanaged<CallbackLog>.fromOpaque(context).takeUnretainedValue()
        .warnings.append(
            Warning(isAboutArguments: warning.kind == TDPMMU_WARN_ARGUMENT,
                    text: "\(function): \(text) (\(numbers))"))
}
