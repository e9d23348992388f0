// SPDX-License-Identifier: GPL-2.0-only

/// "DATA …": the payload of a step.
enum DataParser {
    /// More pages than any slot of a recorded machine has.
    static let mostPages: UInt64 = 1 << 28

    static func parse(_ text: inout ByteCursor) -> TraceEvent? {
        if text.skip("dirty ") { return pages(&text, isToClear: false) }
        if text.skip("clear ") { return pages(&text, isToClear: true) }
        if text.skip("ring ") { return ring(&text) }
        return text.toEnd(.note)
    }

    private static func pages(_ text: inout ByteCursor, isToClear: Bool) -> TraceEvent? {
        guard let fields = MarkerFields(&text), let slot = fields.slot else { return nil }
        var list = PageList(isToClear: isToClear, slot: slot)
        if fields.text("total") != nil {
            guard let total = fields.number("total") else { return nil }
            list.total = total
            return .pages(list)
        }
        guard var cursor = fields.cursor("pages") else { return nil }
        if cursor.skip("none") { return cursor.isAtEnd ? .pages(list) : nil }
        while !cursor.isAtEnd {
            guard let range = range(&cursor), cursor.isAtEnd || cursor.skip(",") else { return nil }
            list.ranges.append(range)
        }
        return .pages(list)
    }

    /// a or b-c, in hexadecimal.
    private static func range(_ cursor: inout ByteCursor) -> ClosedRange<UInt64>? {
        guard let first = cursor.hex() else { return nil }
        guard cursor.skip("-") else { return first < mostPages ? first...first : nil }
        guard let last = cursor.hex(), first <= last, last < mostPages else { return nil }
        return first...last
    }

    /// entries=slot:offset,… in hexadecimal.
    private static func ring(_ text: inout ByteCursor) -> TraceEvent? {
        guard let fields = MarkerFields(&text), let vcpu = fields.integer("vcpu") else { return nil }
        guard fields.text("total") == nil else { return .note }
        guard var cursor = fields.cursor("entries") else { return nil }
        var entries: [RingEntry] = []
        if cursor.skip("none") { return cursor.isAtEnd ? .note : nil }
        while !cursor.isAtEnd {
            guard let slot = cursor.hex().flatMap({ UInt32(exactly: $0) }), cursor.skip(":"),
                let offset = cursor.hex(), cursor.isAtEnd || cursor.skip(",")
            else { return nil }
            entries.append(RingEntry(slot: slot, offset: offset))
        }
        return .ringEntries(vcpu: vcpu, entries: entries)
    }
}
