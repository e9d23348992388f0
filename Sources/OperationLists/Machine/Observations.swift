// SPDX-License-Identifier: GPL-2.0-only

/// What a library told while an operation was made.  Only sums are kept, but for an operation that is to be shown.
struct Observations {
    struct Sum {
        private(set) var count = 0
        private(set) var hash: UInt64 = 0

        /// In the order of their coming.
        mutating func add(_ values: UInt64...) {
            count += 1
            for value in values { hash = Hash.chain(hash, value) }
        }
    }

    let keepsTexts: Bool
    private(set) var changes = Sum(), flushes = Sum(), requests = Sum()
    private(set) var warnings = 0
    /// Of each kind of what was told, in order.
    private(set) var texts: [(field: Answer.Field, text: String)] = []

    init(keepsTexts: Bool = false) { self.keepsTexts = keepsTexts }

    mutating func change(addressSpace: Int, gfn: UInt64, level: Int, old: UInt64, new: UInt64) {
        let (old, new) = (RenamedEntry.value(old, level: level), RenamedEntry.value(new, level: level))
        changes.add(gfn, UInt64(level) << 1 | UInt64(addressSpace), old, new)
        keep(.changes, "space \(addressSpace) gfn \(hexadecimal(gfn)) level \(level): "
             + "\(RenamedEntry.text(old, level: level)) -> \(RenamedEntry.text(new, level: level))")
    }

    mutating func flush(start: UInt64, pages: UInt64) {
        flushes.add(start, pages)
        keep(.flushes, pages == .max ? "everything" : "gfns \(hexadecimal(start)) to before \(hexadecimal(start &+ pages))")
    }

    mutating func request(vcpu: Int, _ request: UInt64) {
        requests.add(UInt64(vcpu), request)
        keep(.requests, "vCPU \(vcpu): \(request)")
    }

    mutating func warning(_ text: @autoclosure () -> String) {
        warnings += 1
        keep(.warned, text())
    }

    private mutating func keep(_ field: Answer.Field, _ text: @autoclosure () -> String) {
        if keepsTexts { texts.append((field, text())) }
    }
}

enum Hash {
    /// The order matters.
    static func chain(_ hash: UInt64, _ value: UInt64) -> UInt64 {
        let mixed = (hash ^ value) &* 0x9e37_79b9_7f4a_7c15
        return mixed ^ mixed >> 29
    }

    /// Of one thing at one place: such hashes are added up, in any order.
    static func single(_ value: UInt64, at place: UInt64) -> UInt64 {
        var mixed = value ^ place &* 0xd6e8_feb8_6659_fd93
        mixed = (mixed ^ mixed >> 32) &* 0x9e37_79b9_7f4a_7c15
        return mixed ^ mixed >> 29
    }
}

func hexadecimal(_ value: UInt64) -> String { "0x\(String(value, radix: 16))" }
