// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU

/// What the host's memory manager does, by host addresses.
extension Performer {
    func hostResult(_ call: Call) -> String? {
        switch call.kind {
        case .invalbegin: withHostRange(call) { beginInvalidation(call, $0, $1) }
        case .invalend: call.vm.invalidations.isEmpty ? "none" : { endInvalidation(call.vm); return "ok" }()
        case .young: withHostRange(call) { start, end in
            text(call[3] != 0 ? kvm_mmu_notifier_clear_flush_young(call.kvm, start, end)
                : kvm_mmu_notifier_clear_young(call.kvm, start, end))
        }
        case .testyoung: call.slot.map { slot in
            slot.contains(call[1]) ? text(kvm_mmu_notifier_test_young(call.kvm, slot.hostAddress(of: call[1]))) : "empty"
        } ?? "none"
        default: nil
        }
    }

    private func withHostRange(_ call: Call, _ body: (UInt64, UInt64) -> String) -> String {
        guard let slot = call.slot else { return "none" }
        let range = call.range(slot)
        guard range.start < range.end else { return "empty" }
        return body(slot.hostAddress(of: range.start), slot.hostAddress(of: range.end))
    }

    private func beginInvalidation(_ call: Call, _ start: UInt64, _ end: UInt64) -> String {
        call.vm.invalidations.append((start, end))
        kvm_mmu_notifier_invalidate_range_start(call.kvm, start, end, true)
        return "ok"
    }
}
