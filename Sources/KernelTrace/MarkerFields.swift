// SPDX-License-Identifier: GPL-2.0-only

/// key=value pairs of a marker.
struct MarkerFields {
    private var pairs: [(key: String, value: ByteCursor)] = []

    /// nil unless the rest of the text is blank-separated key=value pairs.
    init?(_ cursor: inout ByteCursor) {
        cursor.skipBlanks()
        while !cursor.isAtEnd {
            var word = cursor
            _ = cursor.word(until: .space)
            let key = word.word(until: UInt8(ascii: "="))
            guard word.skip("="), word.position <= cursor.position else { return nil }
            pairs.append((key, word.cut(at: cursor.position)))
            cursor.skipBlanks()
        }
    }

    /// The first pair, of a marker whose key is what it is about.
    var first: (key: String, value: String)? {
        pairs.first.map { ($0.key, $0.value.rest) }
    }

    /// All of them, in order.
    var all: [(key: String, value: String)] { pairs.map { ($0.key, $0.value.rest) } }

    func cursor(_ key: String) -> ByteCursor? {
        pairs.first { $0.key == key }?.value
    }

    func text(_ key: String) -> String? {
        cursor(key)?.rest
    }

    /// A number, decimal or with 0x, that is all of the value.
    func number(_ key: String) -> UInt64? {
        guard var value = cursor(key), let number = value.number(), value.isAtEnd else { return nil }
        return number
    }

    func integer(_ key: String) -> Int? {
        number(key).flatMap { Int(exactly: $0) }
    }

    func signed(_ key: String) -> Int? {
        guard var value = cursor(key), let number = value.signed(), value.isAtEnd else { return nil }
        return number
    }

    /// A slot as the dirty log's ioctls take it: its address space in bits 31:16.
    var slot: UInt32? {
        guard let slot = number("slot").flatMap({ UInt32(exactly: $0) }) else { return nil }
        guard text("as_id") != nil else { return slot }
        guard let addressSpace = number("as_id"), addressSpace < 1 << 16 else { return nil }
        return slot & 0xffff | UInt32(addressSpace) << 16
    }
}

extension ByteCursor {
    /// The same text, but ending at `stop`.
    func cut(at stop: Int) -> ByteCursor {
        var copy = self
        copy.limit(to: stop)
        return copy
    }
}
