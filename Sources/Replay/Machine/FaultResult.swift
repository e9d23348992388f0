// SPDX-License-Identifier: GPL-2.0-only

/// RET_PF_*.
enum FaultResult {
    static let retry = 1
    static let emulate = 2
    static let invalid = 4
    static let fixed = 5
    static let spurious = 6

    /// "5 (RET_PF_FIXED)", "-14".
    static func text(_ result: Int) -> String {
        let names = ["CONTINUE", "RETRY", "EMULATE", "WRITE_PROTECTED", "INVALID", "FIXED", "SPURIOUS"]
        return names.indices.contains(result) ? "\(result) (RET_PF_\(names[result]))" : "\(result)"
    }
}
