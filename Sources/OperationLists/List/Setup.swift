// SPDX-License-Identifier: GPL-2.0-only

/// The VM of a list: the words of its `init`.
package struct Setup: Equatable {
    package enum Vendor: String, CaseIterable {
        case npt, ept
        /// EPT without Accessed and Dirty bits.
        case eptWithoutAD = "ept-noad"
    }

    package enum Log: String, CaseIterable {
        /// Reading the log clears it.
        case plain
        /// Clearing is a step of its own; and all pages are dirty at first.
        case manual, initset
    }

    package var vendor = Vendor.npt
    package var rootLevel = 4
    package var physicalBits = 48
    package var noExecutableHugePages = false
    /// EPT with A/D bits: the CPU logs what it makes dirty.
    package var pageModificationLogging = false
    /// The bits that a CPU with L1TF caches; 0: it has not.
    package var l1tfCacheBits = 0
    package var log = Log.plain
    /// Bytes of each vCPU's dirty ring; 0: bitmaps.
    package var ringBytes = 0
    package var splitsEagerly = true
    package var zapsSlotOnly = false

    package init() {}

    /// Each word but the vendor's: its name, and its value if that is not the default.
    private var words: [(name: String, value: String?)] {
        let standard = Setup()
        func number(_ path: KeyPath<Setup, Int>) -> String? {
            self[keyPath: path] == standard[keyPath: path] ? nil : String(self[keyPath: path])
        }
        func flag(_ path: KeyPath<Setup, Bool>) -> String? {
            self[keyPath: path] == standard[keyPath: path] ? nil : self[keyPath: path] ? "1" : "0"
        }
        return [
            ("root", number(\.rootLevel)), ("phys", number(\.physicalBits)), ("nx", flag(\.noExecutableHugePages)),
            ("pml", flag(\.pageModificationLogging)), ("l1tf", number(\.l1tfCacheBits)),
            ("log", log == standard.log ? nil : log.rawValue), ("ring", number(\.ringBytes)),
            ("eager", flag(\.splitsEagerly)), ("zapslot", flag(\.zapsSlotOnly)),
        ]
    }

    package var text: String {
        (["init", vendor.rawValue] + words.compactMap { word in word.value.map { "\(word.name)=\($0)" } }).joined(separator: " ")
    }

    /// Of all words but the vendor's.
    var wordNames: [String] { words.map(\.name) }

    /// Takes a word; what is wrong with it otherwise.
    mutating func take(_ word: Substring) -> ListProblem? {
        if let vendor = Vendor(rawValue: String(word)) {
            self.vendor = vendor
            return nil
        }
        let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, set(parts[0], parts[1]) else { return ListProblem("\"\(word)\" is no word of init, or cannot be") }
        return nil
    }

    private mutating func set(_ name: Substring, _ value: Substring) -> Bool {
        switch name {
        case "root": take(value, 4...5, \.rootLevel)
        case "phys": take(value, 36...52, \.physicalBits)
        case "nx": take(value, \.noExecutableHugePages)
        case "pml": take(value, \.pageModificationLogging)
        case "l1tf": value == "0" ? take(value, 0...0, \.l1tfCacheBits) : take(value, 36...46, \.l1tfCacheBits)
        case "log": takeLog(value)
        case "ring": take(value, 0...1 << 20, \.ringBytes)
        case "eager": take(value, \.splitsEagerly)
        case "zapslot": take(value, \.zapsSlotOnly)
        default: false
        }
    }

    /// A word back to its default.
    mutating func putBack(_ name: String) {
        let standard = Setup()
        switch name {
        case "root": rootLevel = standard.rootLevel
        case "phys": physicalBits = standard.physicalBits
        case "nx": noExecutableHugePages = standard.noExecutableHugePages
        case "pml": pageModificationLogging = standard.pageModificationLogging
        case "l1tf": l1tfCacheBits = standard.l1tfCacheBits
        case "log": log = standard.log
        case "ring": ringBytes = standard.ringBytes
        case "eager": splitsEagerly = standard.splitsEagerly
        default: zapsSlotOnly = standard.zapsSlotOnly
        }
    }

    private mutating func take(_ word: Substring, _ range: ClosedRange<Int>, _ path: WritableKeyPath<Setup, Int>) -> Bool {
        guard let value = Int(word), range.contains(value) else { return false }
        self[keyPath: path] = value
        return true
    }

    private mutating func take(_ word: Substring, _ path: WritableKeyPath<Setup, Bool>) -> Bool {
        guard word == "0" || word == "1" else { return false }
        self[keyPath: path] = word == "1"
        return true
    }

    private mutating func takeLog(_ word: Substring) -> Bool {
        guard let log = Log(rawValue: String(word)) else { return false }
        self.log = log
        return true
    }
}
