// SPDX-License-Identifier: GPL-2.0-only

/// How the tool asks itself to be a driver of lists.
package enum DriverCommandName {
    package static let hidden = "perform-lists"
}
