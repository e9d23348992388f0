// SPDX-License-Identifier: GPL-2.0-only
// Values that must be used up: a change of an SPTE, a flush that is owed, a reference to a
// root, a table that is not linked yet.
//
// Each is a type that cannot be copied, whose consuming methods end with `discard self`, and
// whose deinit calls mustBeSettled().  Where a value is dropped or overwritten in another module
// than the type's own, Embedded Swift cannot see the deinit, and refuses the line.  In its own
// module the optimised code still calls mustBeSettled() there, which the library that ships does
// not have: the link fails with the name of the function that drops it.  Where nothing is
// dropped no call is left.  (The Swift tests, built in ordinary Swift, have the function: it ends
// the program.)  tests-rules/ has a file for each of these, and `make check-rules` tries them.
import CPlatform

@inlinable
@inline(__always)
package func mustBeSettled() { cp_dropped_without_being_settled() }
