// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// How a VM's dirty bitmaps work.
struct DirtyLogMode {
    /// Pages are protected again when userspace clears their bits, not when it reads them.
    var isManual = false
    /// Bitmaps begin full.
    var isInitiallySet = false

    init() {}

    /// KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, KVM_DIRTY_LOG_INITIALLY_SET.
    init(argument: UInt64) {
        isManual = argument & 1 != 0
        isInitiallySet = argument & 2 != 0
    }
}

/// A slot's bitmap as our VM gave it, and what the trace has told of the kernel's.
struct DirtyLogCopy {
    var slot: UInt32
    var base: UInt64
    var bitmap: [UInt64]
    /// Pages that the trace has listed so far.
    var listed: UInt64 = 0

    var count: UInt64 { bitmap.reduce(0) { $0 + UInt64($1.nonzeroBitCount) } }

    /// Takes the pages of a range out; returns the first that was not there although
    /// it should be.
    mutating func remove(_ range: ClosedRange<UInt64>, unless isForgiven: (UInt64) -> Bool) -> UInt64? {
        let end = UInt64(bitmap.count) * 64
        var missing: UInt64?
        for page in range.lowerBound..<max(range.lowerBound, min(range.upperBound &+ 1, end)) {
            let (word, bit) = (Int(page / 64), UInt64(1) << (page % 64))
            if bitmap[word] & bit == 0, missing == nil, !isForgiven(page) { missing = page }
            bitmap[word] &= ~bit
        }
        return missing ?? (range.upperBound >= end ? max(end, range.lowerBound) : nil)
    }

    /// Leaves out what one side alone may have.
    mutating func drop(_ gfns: Set<UInt64>) {
        for gfn in gfns where gfn >= base && gfn - base < UInt64(bitmap.count) * 64 {
            bitmap[Int((gfn - base) / 64)] &= ~(1 << ((gfn - base) % 64))
        }
    }

    /// The first page that is left.
    var first: UInt64? {
        bitmap.firstIndex { $0 != 0 }.map { UInt64($0) * 64 + UInt64(bitmap[$0].trailingZeroBitCount) }
    }
}

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

    /// base: the gfn of the bitmap's first bit.
    static func expected(_ bitmap: [UInt64], base: UInt64, _ mode: DirtyLogMode, splitsEagerly: Bool) -> [HarvestCall] {
        var calls: [HarvestCall] = []
        for (index, mask) in bitmap.enumerated() where mask != 0 {
            let gfn = base &+ UInt64(index) * 64
            if mode.isManual, mode.isInitiallySet { calls += untilNowUnprotected(gfn, mask, splitsEagerly) }
            calls.append(.clearDirty(gfn: gfn, mask: mask, writeProtect: true))
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
