// SPDX-License-Identifier: GPL-2.0-only

/// As much of an ELF file for x86-64 as tells whether it can be a certain shared library.
/// Every place in it is looked up with a check: the file may be anything.
package struct ELFFile {
    private let bytes: [UInt8]

    private static let sharedObject = 3, x86_64 = 62
    private enum Segment { static let load = 1, dynamic = 2, size = 56 }
    private enum Tag { static let end = 0, stringTable = 5, soname = 14, size = 16 }

    /// nil if it is no shared object for this machine.
    package init?(_ bytes: [UInt8]) {
        self.bytes = bytes
        // Magic, 64 bits, little-endian.
        guard bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2, 1]), number(at: 16, width: 2) == Self.sharedObject,
            number(at: 18, width: 2) == Self.x86_64
        else { return nil }
    }

    /// The name by which the loader knows the library.
    package var soname: String? {
        let entries = dynamicEntries
        guard let name = entries[Tag.soname], let table = entries[Tag.stringTable], let start = offset(ofAddress: table),
            let first = sum(start, name), bytes.indices.contains(first)
        else { return nil }
        return String(decoding: bytes[first...].prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Where in the file the byte is that is loaded at an address (that of the file itself, not moved).
    package func offset(ofAddress address: Int) -> Int? {
        for segment in segments where segment.kind == Segment.load {
            let place = address - segment.address
            if place >= 0, place < segment.count { return sum(segment.offset, place) }
        }
        return nil
    }

    private var segments: [(kind: Int, offset: Int, address: Int, count: Int)] {
        guard let table = number(at: 32, width: 8), let count = number(at: 56, width: 2) else { return [] }
        return (0..<count).compactMap { index in
            guard let start = sum(table, index * Segment.size), let kind = number(at: start, width: 4),
                let offset = number(at: start + 8, width: 8), let address = number(at: start + 16, width: 8),
                let count = number(at: start + 32, width: 8)
            else { return nil }
            return (kind, offset, address, count)
        }
    }

    private var dynamicEntries: [Int: Int] {
        guard let dynamic = segments.first(where: { $0.kind == Segment.dynamic }) else { return [:] }
        var entries: [Int: Int] = [:]
        for index in 0..<min(dynamic.count, bytes.count) / Tag.size {
            guard let start = sum(dynamic.offset, index * Tag.size), let tag = number(at: start, width: 8),
                tag != Tag.end, let value = number(at: start + 8, width: 8)
            else { break }
            entries[tag] = value
        }
        return entries
    }

    private func number(at offset: Int, width: Int) -> Int? {
        guard offset >= 0, offset <= bytes.count - width else { return nil }
        let value = bytes[offset..<offset + width].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return Int(exactly: value)
    }

    /// nil instead of an overflow.
    private func sum(_ one: Int, _ other: Int) -> Int? {
        let (sum, isTooLarge) = one.addingReportingOverflow(other)
        return isTooLarge ? nil : sum
    }
}
