// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What the kernel calls for each word of a bitmap that it harvests.
enum HarvestCall: Equatable {
    case split(SplitCall)
    case writeProtect(gfn: UInt64, minLevel: Int)
    case clearDirty(gfn: UInt64, mask: UInt64, writeProtect: Bool)

    /// nil: no such call.
    init?(_ event: TraceEvent) {
        switch event {
        case .split(let call): self = .split(call)
        case .writeProtect(let gfn, let level): self = .writeProtect(gfn: gfn, minLevel: level)
        case .clearDirtyMasked(let gfn, let mask, let flag): self = .clearDirty(gfn: gfn, mask: mask, writeProtect: flag)
        default: return nil
        }
    }

    /// base: the gfn of the bitmap's first bit.  Where the CPU logs what becomes dirty, nothing is
    /// write-protected.
    static func expected(_ bitmap: [UInt64], base: UInt64, _ mode: DirtyLogMode, splitsEagerly: Bool,
                         hasPML: Bool) -> [HarvestCall] {
        var calls: [HarvestCall] = []
        for (index, mask) in bitmap.enumerated() where mask != 0 {
            let gfn = base &+ UInt64(index) * 64
            if mode.isManual, mode.isInitiallySet { calls += untilNowUnprotected(gfn, mask, splitsEagerly) }
            calls.append(.clearDirty(gfn: gfn, mask: mask, writeProtect: !hasPML))
        }
        return calls
    }

    /// Nothing was protected when logging began: huge pages are still to be split, or
    /// to be write-protected, at both ends if the pages lie across a border.
    private static func untilNowUnprotected(_ gfn: UInt64, _ mask: UInt64, _ splitsEagerly: Bool) -> [HarvestCall] {
        let start = gfn &+ UInt64(mask.trailingZeroBitCount)
        let last = gfn &+ UInt64(63 - mask.leadingZeroBitCount)
        var calls: [HarvestCall] = []
        if splitsEagerly {
            calls.append(.split(SplitCall(start: start, end: last &+ 1, target: 1, shared: false)))
        }
        calls.append(.writeProtect(gfn: start, minLevel: 2))
        if (start &+ 511) / 512 != (last &+ 511) / 512 { calls.append(.writeProtect(gfn: last, minLevel: 2)) }
        return calls
    }

    var text: String {
        switch self {
        case .split(let call): "split \(call.text)"
        case .writeProtect(let gfn, let level): "write_protect_gfn 0x\(hex(gfn)) min_level \(level)"
        case .clearDirty(let gfn, let mask, let flag):
            "clear_dirty_pt_masked 0x\(hex(gfn)) mask 0x\(hex(mask)) wrprot \(flag ? 1 : 0)"
        }
    }
}

extension SplitCall {
    var text: String {
        "start 0x\(hex(start)) end 0x\(hex(end)) target \(target) shared \(shared ? 1 : 0)"
    }
}
