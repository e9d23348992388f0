// SPDX-License-Identifier: GPL-2.0-only

/// The kernel's role word: what sort of table it is.
package struct Role: Equatable {
    package var raw: UInt32

    @inline(__always) package init(raw: UInt32) { self.raw = raw }

    /// direct, access rwx, efer_nx, cr0_wp: the same for every TDP table.
    private static let constant: UInt32 = (1 &<< 7) | (7 &<< 8) | (1 &<< 12) | (1 &<< 13)
    private static let invalidBit: UInt32 = 1 &<< 11

    package init(rootLevel: Level, addressSpace: Int32, adDisabled: Bool) {
        raw = Self.constant | UInt32(bitPattern: rootLevel.raw) & 0xf
            | (adDisabled ? 1 &<< 16 : 0) | UInt32(bitPattern: addressSpace) &<< 24
    }

    @inline(__always) package var level: Level { Level(Int32(bitPattern: raw & 0xf)) }
    @inline(__always) package var isInvalid: Bool { raw & Self.invalidBit != 0 }
    @inline(__always) package var addressSpace: Int32 { Int32(bitPattern: raw &>> 24) }

    /// Role of a table one level down.
    @inline(__always) package var child: Role { Role(raw: raw &- 1) }
    /// Of a root below which no fault maps and no CPU walks any more.
    package var invalidated: Role { Role(raw: raw | Self.invalidBit) }
}
