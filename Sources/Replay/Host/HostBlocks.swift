// SPDX-License-Identifier: GPL-2.0-only

/// Number of a 2M stretch of host virtual addresses.
typealias HostBlock = UInt64

enum HostBlocks {
    static let shift: UInt64 = 21
    static let size: UInt64 = 1 << shift

    /// Blocks that lie inside a range, and those of which it has a part.
    static func of(_ hva: UInt64, _ length: UInt64) -> (whole: Range<HostBlock>, partial: [HostBlock]) {
        let end = hva.addingReportingOverflow(length)
        guard length > 0, !end.overflow else { return (0..<0, []) }
        let first = hva >> shift, last = (end.partialValue - 1) >> shift
        let isRagged = (hva & (size - 1) != 0, end.partialValue & (size - 1) != 0)
        let start = first + (isRagged.0 ? 1 : 0), stop = last + (isRagged.1 ? 0 : 1)
        // No mapping of a recorded machine is that long.
        guard last - first < 1 << 20 else { return (0..<0, []) }
        let partial = (isRagged.0 ? [first] : []) + (isRagged.1 && !(isRagged.0 && first == last) ? [last] : [])
        return (start..<max(start, stop), partial)
    }
}
