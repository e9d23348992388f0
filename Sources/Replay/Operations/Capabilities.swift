// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// KVM_ENABLE_CAP of the VM.
extension Replayer {
    /// Those that the TDP MMU obeys; the others are not its business.
    private static let capabilities: [String: Int32] = [
        "MANUAL_DIRTY_LOG_PROTECT2": KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
        "DISABLE_QUIRKS2": KVM_CAP_DISABLE_QUIRKS2,
        "DIRTY_LOG_RING": KVM_CAP_DIRTY_LOG_RING,
        "DIRTY_LOG_RING_ACQ_REL": KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
    ]

    func enableCapability(_ name: String, _ argument: UInt64, _ line: TraceLine) throws(BadInput) {
        let machine = try requireMachine(line)
        let plain = name.hasPrefix("KVM_CAP_") ? String(name.dropFirst(8)) : name
        let number = Self.capabilities[plain] ?? Int32(plain).flatMap { number in
            Self.capabilities.values.first { $0 == number }
        }
        guard let number else { return }
        var argument = argument
        // The library knows the one quirk that is about the TDP MMU.
        if number == KVM_CAP_DISABLE_QUIRKS2 { argument &= UInt64(TDPMMU_QUIRK_SLOT_ZAP_ALL) }
        tasks[line.task, default: TaskState()].enabled = machine.enableCapability(UInt32(number), argument)
        if number == KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 { dirtyLogMode = DirtyLogMode(argument: argument) }
    }

    func compareCapability(_ done: Done, _ line: TraceLine) {
        guard let ours = tasks[line.task]?.enabled else { return }
        tasks[line.task]?.enabled = nil
        compare(line.number, "enable_cap returns", done.result, ours)
    }
}
