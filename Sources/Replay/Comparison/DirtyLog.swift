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
