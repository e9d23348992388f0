// SPDX-License-Identifier: GPL-2.0-only

/// What a library made of a list.
package struct Reply: Equatable {
    /// The answers, a line each, with their details.
    package var text: [UInt8]
    /// How the process ended in the middle of it, and what it said then; nil if it did not.
    package var failure: String?
}
