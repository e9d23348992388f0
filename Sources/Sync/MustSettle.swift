// SPDX-License-Identifier: GPL-2.0-only
// Values that must be used up: a change of an SPTE, a flush that is owed, a reference to a
// root, a table that is not linked yet.
//
// Each is a type that cannot be copied, whose consuming methods end with `discard self`, and
// whose deinit calls mustBeSettled().  The library that ships has no such function: where a
// value could be dropped or overwritten the optimised code still calls it, and the link fails
// with the name of the function that drops it.  Where nothing is dropped no call is left.  (What
// is built without optimisation, the Swift tests, has the function: it ends the program.)
import CPlatform

@inlinable
@inline(__always)
package func mustBeSettled() { cp_dropped_without_being_settled() }
