// SPDX-License-Identifier: GPL-2.0-only

/// A value of JSON.  Keys stand in the order in which they were given, so that a command's output is the same each time.
enum JSON {
    case null
    case bool(Bool)
    case number(Int)
    case fraction(Double)
    case string(String)
    case array([JSON])
    case object([(key: String, value: JSON)])

    /// On one line.
    var text: String {
        var out = ""
        write(to: &out)
        return out
    }

    /// A number that JSON's readers may not hold: addresses and SPTEs.
    static func hexadecimal(_ value: UInt64) -> JSON { .string("0x" + String(value, radix: 16)) }

    private func write(to out: inout String) {
        switch self {
        case .null: out += "null"
        case .bool(let value): out += value ? "true" : "false"
        case .number(let value): out += String(value)
        case .fraction(let value): out += value.isFinite ? String(value) : "null"
        case .string(let value): Self.quote(value, to: &out)
        case .array(let values):
            Self.list(values, between: "[]", to: &out) { $0.write(to: &$1) }
        case .object(let members):
            Self.list(members, between: "{}", to: &out) { member, out in
                Self.quote(member.key, to: &out)
                out += ":"
                member.value.write(to: &out)
            }
        }
    }

    private static func list<Element>(
        _ elements: [Element], between brackets: String, to out: inout String, _ write: (Element, inout String) -> Void
    ) {
        out.append(brackets.first!)
        for (index, element) in elements.enumerated() {
            if index > 0 { out += "," }
            write(element, &out)
        }
        out.append(brackets.last!)
    }

    private static func quote(_ value: String, to out: inout String) {
        out += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"", "\\": out += "\\\(scalar)"
            case "\n": out += "\\n"
            case _ where scalar.value < 0x20 || scalar.value == 0x7f:
                let digits = String(scalar.value, radix: 16)
                out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: out.unicodeScalars.append(scalar)
            }
        }
        out += "\""
    }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral, ExpressibleByNilLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    init(stringLiteral value: String) { self = .string(value) }
    init(integerLiteral value: Int) { self = .number(value) }
    init(booleanLiteral value: Bool) { self = .bool(value) }
    init(nilLiteral: ()) { self = .null }
    init(arrayLiteral elements: JSON...) { self = .array(elements) }
    init(dictionaryLiteral elements: (String, JSON)...) { self = .object(elements.map { (key: $0.0, value: $0.1) }) }
}

extension Optional where Wrapped == JSON {
    var orNull: JSON { self ?? .null }
}
