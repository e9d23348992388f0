// SPDX-License-Identifier: GPL-2.0-only
import KernelTrace

/// What random lists may have in them.
package struct GeneratorOptions {
    package var vendors = Setup.Vendor.allCases
    /// Words of `init` that every list has; what they do not say is random.
    package private(set) var fixedWords: [Substring] = []
    /// Steps of a list; a step is one operation or a few.
    package var steps = 100
    package private(set) var without: Set<OperationKind> = []
    /// No second address space.
    package private(set) var isWithoutSMM = false
    /// Nothing in the middle of another operation.
    package private(set) var isWithoutMeanwhile = false
    /// `yield` of every list; nil: random.
    package var yield: UInt64?

    package init() {}

    /// What is wrong with them, or nil.
    package mutating func fix(_ text: String) -> String? {
        fixedWords = text.split(separator: " ")
        if fixedWords.first == "init" { fixedWords.removeFirst() }
        do {
            let setup = try ListParser.setup(fixedWords[...])
            if let vendor = fixedWords.compactMap({ Setup.Vendor(rawValue: String($0)) }).last { vendors = [vendor] }
            _ = setup
            return nil
        } catch {
            return error.text
        }
    }

    /// Names of operations, or `smm`, or `meanwhile`, with commas between; the name that is none of these, or nil.
    package mutating func leaveOut(_ text: String) -> String? {
        for name in text.split(separator: ",") {
            if name == "smm" {
                isWithoutSMM = true
            } else if name == "meanwhile" {
                isWithoutMeanwhile = true
            } else if let kind = OperationKind(rawValue: String(name)) {
                without.insert(kind)
            } else {
                return String(name)
            }
        }
        if without.contains(.smm) { isWithoutSMM = true }
        return nil
    }
}
