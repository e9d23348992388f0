// SPDX-License-Identifier: GPL-2.0-only

/// The slots of a random list, as they are at some point of it.  They are small, or reach over a border, so
/// that tables and pages of all sizes come together at the same places.
struct GuestLayout {
    struct Slot {
        var id: UInt64, space: UInt64, first: UInt64, pages: UInt64, pfn: UInt64
        var isLogged = false
        /// Pages that were used before.
        var recent: [UInt64] = []

        var end: UInt64 { first + pages }
    }

    private(set) var slots: [Slot]
    /// Added to all gfns.
    let shift: UInt64
    /// Where moved slots may go.
    static let span: UInt64 = 0x200000

    init(_ setup: Setup, hasSMM: Bool, _ random: inout RandomNumbers) {
        let room = setup.gfnLimit / 0x40000
        shift = room > 8 && random.isTrue(percent: 40) ? random.below(room - 7) * 0x40000 : 0
        slots = [
            // Aligned; at odd frames; over the border of 1G, with room for a page of it.
            Slot(id: 0, space: 0, first: 0x40000, pages: 0x1000, pfn: 0x80000),
            Slot(id: 1, space: 0, first: 0x100, pages: 0x400, pfn: random.isTrue(percent: 80) ? 0x3100 : 0x3180),
            Slot(id: 2, space: 0, first: 0x7ff00, pages: random.isTrue(percent: 25) ? 0x40300 : 0x1300, pfn: 0x17ff00),
        ]
        if hasSMM { slots.append(Slot(id: 3, space: 1, first: 0x40000, pages: 0x600, pfn: 0x280000)) }
        for index in slots.indices { slots[index].first += shift }
    }

    /// A gfn without memory.
    func hole(_ random: inout RandomNumbers) -> UInt64 { 0xf0000 + shift + random.below(2048) }

    /// Mostly one that was used before, or one next to it.
    mutating func gfn(_ index: Int, _ random: inout RandomNumbers) -> UInt64 {
        let slot = slots[index]
        if !slot.recent.isEmpty, random.isTrue(percent: 60) {
            let gfn = random.element(slot.recent.suffix(40)) &+ random.element([0, 0, 0, 1, UInt64.max])
            return min(max(gfn, slot.first), slot.end - 1)
        }
        let gfn = freshGFN(slot, &random)
        slots[index].recent.append(gfn)
        return gfn
    }

    private func freshGFN(_ slot: Slot, _ random: inout RandomNumbers) -> UInt64 {
        switch random.below(3) {
        case 0: slot.first + random.below(min(slot.pages, 64))
        case 1: slot.first + min(slot.pages - 1, random.below((slot.pages + 511) / 512) << 9 + random.below(4))
        default: slot.first + random.below(slot.pages)
        }
    }

    /// Not empty, within the slot, often at borders of 2M.
    mutating func range(_ index: Int, _ random: inout RandomNumbers) -> (start: UInt64, end: UInt64) {
        let slot = slots[index], one = gfn(index, &random), other = gfn(index, &random)
        var (start, end) = (min(one, other), max(one, other))
        if random.isTrue(percent: 40) { start &= ~511 }
        if random.isTrue(percent: 40) { end = (end + 511) & ~511 }
        start = max(start, slot.first)
        return (start, min(max(end, start + 1), slot.end))
    }

    mutating func move(_ index: Int, to first: UInt64) {
        slots[index].first = first
        slots[index].recent = []
    }

    mutating func setLogged(_ index: Int, _ isLogged: Bool) { slots[index].isLogged = isLogged }

    func overlaps(_ slot: Slot) -> Bool {
        slots.contains { $0.id != slot.id && $0.space == slot.space && $0.first < slot.end && slot.first < $0.end }
    }
}
