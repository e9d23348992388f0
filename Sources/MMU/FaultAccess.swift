// SPDX-License-Identifier: GPL-2.0-only
import PageTable

/// An access that faulted, in the CPU's own words.
package struct FaultAccess {
    /// Guest-physical, in bytes.
    package let address: UInt64
    /// PFERR_*.
    package let errorCode: UInt64

    @inline(__always) package init(_ address: UInt64, errorCode: UInt64) {
        self.address = address
        self.errorCode = errorCode
    }

    @inline(__always) package var gfn: GFN { GFN(address &>> 12) }
    @inline(__always) package var isPresent: Bool { errorCode & 1 != 0 }
    /// Was an entry there, and stopped it?
    @inline(__always) var isOfEntry: Bool { errorCode & (1 | 8) != 0 }
    @inline(__always) package var isWrite: Bool { errorCode & 2 != 0 }
    @inline(__always) package var isReserved: Bool { errorCode & 8 != 0 }
    @inline(__always) package var isFetch: Bool { errorCode & 16 != 0 }

    @inline(__always)
    func isAllowed(by spte: SPTE, _ masks: SPTEMasks) -> Bool {
        if isFetch { return masks.isExecutable(spte) }
        return isWrite ? spte.isWritable : masks.isReadable(spte)
    }
}
