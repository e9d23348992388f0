// SPDX-License-Identifier: GPL-2.0-only
#if SCHEDULE_POINTS
/// States from which all has been tried, by hash, each with the preemptions that were left there.
struct SeenStates {
    private var slots: UnsafeMutablePointer<UInt64>
    private var mask: Int
    private(set) var count = 0

    /// Of a hash; the rest of a slot's word are the preemptions left.
    private static var hashBits: UInt64 { ~31 }
    private static var mostSlots: Int { 1 << 25 }

    init() {
        mask = (1 << 16) - 1
        slots = UnsafeMutablePointer.allocate(capacity: mask + 1)
        slots.initialize(repeating: 0, count: mask + 1)
    }

    mutating func forgetAll() {
        slots.update(repeating: 0, count: mask + 1)
        count = 0
    }

    /// False if it was seen with as many preemptions left.
    mutating func add(_ hash: UInt64, left: Int) -> Bool {
        if count * 2 > mask { grow() }
        let key = (hash & Self.hashBits) | 32
        var i = Int(truncatingIfNeeded: key >> 20) & mask
        while slots[i] != 0 {
            if (slots[i] & Self.hashBits) == key & Self.hashBits {
                if slots[i] & 31 >= UInt64(left) { return false }
                slots[i] = (key & Self.hashBits) | UInt64(left)
                return true
            }
            i = (i + 1) & mask
        }
        // Full: what is not remembered is tried again.
        if count * 2 > mask { return true }
        slots[i] = (key & Self.hashBits) | UInt64(left)
        count += 1
        return true
    }

    private mutating func grow() {
        guard (mask + 1) * 2 <= Self.mostSlots else { return }
        let old = slots, oldCount = mask + 1
        mask = oldCount * 2 - 1
        slots = UnsafeMutablePointer.allocate(capacity: mask + 1)
        slots.initialize(repeating: 0, count: mask + 1)
        for i in 0..<oldCount where old[i] != 0 {
            var j = Int(truncatingIfNeeded: old[i] >> 20) & mask
            while slots[j] != 0 { j = (j + 1) & mask }
            slots[j] = old[i]
        }
        old.deallocate()
    }
}

@inline(__always)
func mixed(_ a: UInt64, _ b: UInt64) -> UInt64 {
    var x = (a ^ b) &* 0xff51_afd7_ed55_8ccd
    x = (x ^ (x >> 32)) &* 0xc4ce_b9fe_1a85_ec53
    return x ^ (x >> 29)
}
#endif
