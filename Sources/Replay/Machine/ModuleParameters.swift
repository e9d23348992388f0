// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// Switches of the whole kvm module that the TDP MMU obeys, as the recorded machine
/// was booted.
struct ModuleParameters: Equatable {
    var noExecutableHugePages = false
    var splitsEagerly = true
    /// One of so many is recovered in a step of the recovery thread.
    var recoveryRatio: UInt32 = 60

    enum Switch: Equatable {
        case noExecutableHugePages(Bool)
        case splitsEagerly(Bool)
        case recoveryRatio(UInt32)
    }

    /// What a write to /sys/module/kvm/parameters switches; nil: nothing that matters here.
    static func parse(_ name: String, _ value: String) -> Switch? {
        switch name {
        case "nx_huge_pages":
            // The recorded CPU does not have the bug that "auto" is for.
            let isOff = value == "auto" || value == "off" || value == "never"
            return (isOff ? false : value == "force" ? true : boolean(value)).map { .noExecutableHugePages($0) }
        case "eager_page_split":
            return boolean(value).map { .splitsEagerly($0) }
        case "nx_huge_pages_recovery_ratio":
            return UInt32(value).map { .recoveryRatio($0) }
        default:
            return nil
        }
    }

    mutating func apply(_ change: Switch) {
        switch change {
        case .noExecutableHugePages(let on): noExecutableHugePages = on
        case .splitsEagerly(let on): splitsEagerly = on
        case .recoveryRatio(let ratio): recoveryRatio = ratio
        }
    }

    private static func boolean(_ text: String) -> Bool? {
        switch text {
        case "1", "Y", "y", "on": true
        case "0", "N", "n", "off": false
        default: nil
        }
    }
}
