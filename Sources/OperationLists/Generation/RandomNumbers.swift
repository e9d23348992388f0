// SPDX-License-Identifier: GPL-2.0-only

/// The same numbers for the same seed, everywhere and always: lists are named by their seed.
package struct RandomNumbers {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    /// SplitMix64.
    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    /// 0 to before limit; limit 0 counts as 1.
    mutating func below(_ limit: UInt64) -> UInt64 { next().multipliedFullWidth(by: max(limit, 1)).high }

    /// True so many times of a hundred.
    mutating func isTrue(percent: UInt64) -> Bool { below(100) < percent }

    mutating func element<Element>(_ elements: [Element]) -> Element { elements[Int(below(UInt64(elements.count)))] }

    /// One of several by weight.
    mutating func weighted<Element>(_ elements: [(weight: UInt64, element: Element)]) -> Element {
        var place = below(elements.reduce(0) { $0 + $1.weight })
        for candidate in elements.dropLast() {
            if place < candidate.weight { return candidate.element }
            place -= candidate.weight
        }
        return elements[elements.count - 1].element
    }
}
