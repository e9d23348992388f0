// SPDX-License-Identifier: GPL-2.0-only

/// What an argument of an operation may be, and how it is written.
enum Parameter {
    case vcpu, slot, space, level, flag
    /// A frame of the guest, or of the host.
    case gfn, pfn
    /// One of a slot's 2M frames, or all.
    case frame
    case pages, mask
    /// Of one page after another.
    case accesses
    /// KVM_MEM_*, or PFERR_*.
    case flags, errorCode
    /// Letters: what an access wants.
    case access
    case count

    static let vcpus = 8, slots = 64
    /// No guest's memory ends above it: 52 bits of address.
    static let gfnLimit: UInt64 = 1 << 40
    static let allFrames = UInt64.max

    private var range: ClosedRange<UInt64> {
        switch self {
        case .vcpu: 0...UInt64(Self.vcpus - 1)
        case .slot: 0...UInt64(Self.slots - 1)
        case .space, .flag: 0...1
        case .level: 1...3
        case .gfn: 0...Self.gfnLimit
        case .pages: 0...1 << 31
        case .frame: 0...1 << 22
        case .accesses: 1...1 << 16
        case .flags: 0...UInt64(UInt32.max)
        case .pfn, .mask, .errorCode, .access: 0...UInt64.max
        case .count: 0...1 << 30
        }
    }

    private var name: String {
        switch self {
        case .vcpu: "a vCPU (0 to 7)"
        case .slot: "a slot (0 to 63)"
        case .space: "an address space (0 or 1)"
        case .level: "a level (1 to 3)"
        case .flag: "0 or 1"
        case .gfn: "a gfn"
        case .pfn: "a pfn"
        case .frame: "a 2M frame or *"
        case .pages: "a count of pages"
        case .mask: "a mask"
        case .flags: "flags"
        case .errorCode: "an error code"
        case .access: "an access (letters of rwxp)"
        case .accesses: "a count (1 to 65536)"
        case .count: "a count"
        }
    }

    /// The value that a word stands for; or what is wrong with it.
    func value(_ word: Substring) -> Result<UInt64, ListProblem> {
        let value: UInt64? = switch self {
        case .access: Access.errorCode(word)
        case .frame where word == "*": Self.allFrames
        default: Self.number(word).flatMap { range.contains($0) ? $0 : nil }
        }
        return value.map { .success($0) } ?? .failure(ListProblem("\"\(word)\" is not \(name)"))
    }

    func text(_ value: UInt64) -> String {
        switch self {
        case .access: Access.text(value)
        case .frame where value == Self.allFrames: "*"
        case .gfn, .pfn, .pages, .mask, .errorCode: "0x\(String(value, radix: 16))"
        default: String(value)
        }
    }

    static func number(_ word: Substring) -> UInt64? {
        word.hasPrefix("0x") ? UInt64(word.dropFirst(2), radix: 16) : UInt64(word)
    }
}

/// What is wrong with a line of a list.
struct ListProblem: Error {
    var text: String
    init(_ text: String) { self.text = text }
}

/// An access of the guest: r, w, x, and p where the error code says that the page was present.
enum Access {
    private static let letters: [(Character, UInt64)] = [("w", 1 << 1), ("x", 1 << 4), ("p", 1 << 0)]
    private static let user: UInt64 = 1 << 2
    static let present: UInt64 = 1 << 0

    static func errorCode(_ word: Substring) -> UInt64? {
        guard !word.isEmpty else { return nil }
        return word.reduce(user) { code, letter in
            guard let code else { return nil }
            if letter == "r" { return code }
            return letters.first { $0.0 == letter }.map { code | $0.1 }
        }
    }

    static func text(_ code: UInt64) -> String {
        let text = String(letters.filter { code & $0.1 != 0 }.map(\.0))
        return text.isEmpty || text == "p" ? "r" + text : text
    }
}
