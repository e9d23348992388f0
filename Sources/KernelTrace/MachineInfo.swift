// SPDX-License-Identifier: GPL-2.0-only

/// A line "INFO vendor= …", as it stands there.
package struct MachineInfo: Equatable {
    package var facts = MachineFacts()
    /// What is wrong with the line, or nil.
    package var problem: String?

    static let keys: Set<String> = ["vendor", "ad", "pml", "root_level", "maxphyaddr", "l1tf_cache_bits"]

    /// The fields behind "INFO "; nil: they are no such fields.
    init(_ fields: [(key: String, value: String)]?) {
        guard let fields else {
            problem = "what the machine has is key=value, and nothing else"
            return
        }
        var seen: Set<String> = []
        for (key, value) in fields where problem == nil {
            problem = seen.insert(key).inserted ? take(key, value) : "the machine has two values of \(key)"
        }
        if problem == nil, facts.vendor == nil { problem = "the machine has no vendor" }
        if problem == nil { problem = facts.contradiction }
    }

    private mutating func take(_ key: String, _ value: String) -> String? {
        switch key {
        case "vendor":
            facts.vendor = Vendor(rawValue: value)
            return facts.vendor == nil ? "unknown vendor \"\(value)\": npt or ept" : nil
        case "ad": facts.hasAD = Self.flag(value)
        case "pml": facts.hasPML = Self.flag(value)
        case "root_level": facts.rootLevel = Self.number(value, 4...5)
        case "maxphyaddr": facts.physicalBits = Self.number(value, 36...52)
        case "l1tf_cache_bits": facts.l1tfCacheBits = value == "0" ? 0 : Self.number(value, 36...46)
        default: return "unknown fact \"\(key)\" of the machine"
        }
        return facts.has(key) ? nil : "the machine cannot have \(key)=\(value)"
    }

    private static func flag(_ text: String) -> Bool? { text == "1" ? true : text == "0" ? false : nil }

    private static func number(_ text: String, _ range: ClosedRange<Int>) -> Int? {
        // In the one way in which it is written.
        Int(text).flatMap { range.contains($0) && String($0) == text ? $0 : nil }
    }
}

extension MachineFacts {
    fileprivate func has(_ key: String) -> Bool {
        switch key {
        case "ad": hasAD != nil
        case "pml": hasPML != nil
        case "root_level": rootLevel != nil
        case "maxphyaddr": physicalBits != nil
        default: l1tfCacheBits != nil
        }
    }
}
