// SPDX-License-Identifier: GPL-2.0-only

/// One complaint of the library.
struct Warning {
    /// About what the caller passed, not about the tables.
    var isAboutArguments: Bool
    var text: String
}
