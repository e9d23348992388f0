// SPDX-License-Identifier: GPL-2.0-only

/// Reads a piece of text byte by byte.  Every step checks the end, and a number
/// that does not fit gives nil: the text may be garbage.
///
/// It borrows the bytes of the file that is being parsed, because traces have
/// hundreds of thousands of lines and a String for each would take longer than
/// the replay.
struct ByteCursor {
    private let bytes: UnsafeBufferPointer<UInt8>
    private(set) var position: Int
    private(set) var end: Int

    /// The text from `start` to before `end`, both cut to what there is.
    init(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int, to end: Int) {
        self.bytes = bytes
        self.end = min(max(end, 0), bytes.count)
        position = min(max(start, 0), self.end)
    }

    var isAtEnd: Bool { position >= end }
    var peek: UInt8? { position < end ? bytes[position] : nil }

    var count: Int { end - position }

    func append(to bytes: inout [UInt8]) { bytes.append(contentsOf: self.bytes[position..<end]) }

    /// The text from here to the end, as a string.
    var rest: String { text(from: position, to: end) }

    func text(from start: Int, to stop: Int) -> String {
        guard start >= 0, start <= stop, stop <= end else { return "" }
        return String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<stop]), as: UTF8.self)
    }

    /// Ends the text at `stop`.
    mutating func limit(to stop: Int) {
        end = max(position, min(end, stop))
    }

    /// Takes one byte.
    mutating func next() -> UInt8? {
        guard position < end else { return nil }
        defer { position += 1 }
        return bytes[position]
    }

    /// Takes `literal` if the text goes on with it.
    mutating func skip(_ literal: StaticString) -> Bool {
        let count = literal.utf8CodeUnitCount
        guard end - position >= count else { return false }
        let start = literal.utf8Start
        for index in 0..<count where bytes[position + index] != start[index] { return false }
        position += count
        return true
    }

    /// Takes blanks; false if there was none.
    @discardableResult
    mutating func skipBlanks() -> Bool {
        let start = position
        while position < end, bytes[position] == .space { position += 1 }
        return position > start
    }

    /// Goes behind the next `byte`; false, and no move, if there is none.
    mutating func skipBehind(_ byte: UInt8) -> Bool {
        var probe = position
        while probe < end {
            if bytes[probe] == byte {
                position = probe + 1
                return true
            }
            probe += 1
        }
        return false
    }

    /// Takes a line, without its end; whether it had one.  nil at the end.
    mutating func nextLine() -> (text: ByteCursor, isComplete: Bool)? {
        guard !isAtEnd else { return nil }
        let start = position
        let isComplete = skipBehind(.newline)
        if !isComplete { position = end }
        return (ByteCursor(bytes, from: start, to: isComplete ? position - 1 : end), isComplete)
    }

    /// Takes the bytes up to the next `stop` or the end, as a string.
    mutating func word(until stop: UInt8) -> String {
        let start = position
        while position < end, bytes[position] != stop { position += 1 }
        return text(from: start, to: position)
    }
}

/// Numbers.
extension ByteCursor {
    /// 1 to 16 hexadecimal digits without a prefix.
    mutating func hex() -> UInt64? {
        var value: UInt64 = 0
        let start = position
        while position < end, let digit = bytes[position].hexDigit {
            guard position - start < 16 else { return nil }
            value = value << 4 | UInt64(digit)
            position += 1
        }
        return position > start ? value : nil
    }

    /// A hexadecimal number with its 0x.
    mutating func prefixedHex() -> UInt64? {
        skip("0x") ? hex() : nil
    }

    /// A decimal number.
    mutating func decimal() -> UInt64? {
        var value: UInt64 = 0
        let start = position
        while position < end, case let digit = bytes[position], digit >= .zero, digit <= .nine {
            let (product, overflowed) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = product.addingReportingOverflow(UInt64(digit - .zero))
            guard !overflowed, !carried else { return nil }
            value = sum
            position += 1
        }
        return position > start ? value : nil
    }

    /// A decimal number that fits an Int.
    mutating func integer() -> Int? {
        decimal().flatMap { Int(exactly: $0) }
    }

    /// A decimal number with an optional minus.
    mutating func signed() -> Int? {
        let negative = skip("-")
        return integer().map { negative ? -$0 : $0 }
    }

    /// Hexadecimal with 0x, else decimal.
    mutating func number() -> UInt64? {
        skip("0x") ? hex() : decimal()
    }

    /// A decimal 0 or 1.
    mutating func flag() -> Bool? {
        switch decimal() {
        case 0: false
        case 1: true
        default: nil
        }
    }
}

extension UInt8 {
    static let space = UInt8(ascii: " ")
    static let newline = UInt8(ascii: "\n")
    static let colon = UInt8(ascii: ":")
    static let zero = UInt8(ascii: "0")
    static let nine = UInt8(ascii: "9")

    /// The value of a hexadecimal digit.
    var hexDigit: UInt8? {
        switch self {
        case .zero ... .nine: self - .zero
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// A character that ftrace text may contain.
    var isTextual: Bool { self >= .space && self < 0x7f || self == UInt8(ascii: "\t") }
}
