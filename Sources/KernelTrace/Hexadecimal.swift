// SPDX-License-Identifier: GPL-2.0-only

/// Without 0x, as a kernel prints most numbers.
package func hex(_ value: UInt64) -> String {
    String(value, radix: 16)
}
