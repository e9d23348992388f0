// SPDX-License-Identifier: GPL-2.0-only
// Translations of guest pages, 64 Ki of them, that obey only flush_tlb.  The engine's own TLB holds a few hundred
// and evicts them soon, so that a flush that was forgotten would seldom show.
import CKVMDevice

/// Bits of an access, as the page fault's error code has them.
let writeAccess = UInt64(1 << 1)
let fetchAccess = UInt64(1 << 4)

private let cachedWritable = UInt64(1 << 0)
private let cachedExecutable = UInt64(1 << 1)

/// A page of the host's, as the guest may use it.
struct Translation {
    let hva: UInt64
    let writable: Bool
    let executable: Bool

    func allows(_ access: UInt64) -> Bool {
        (access & writeAccess == 0 || writable) && (access & fetchAccess == 0 || executable)
    }
}

extension VCPU {
    func forgetCached() {
        guard let cached = pointee.cached else { return }
        for index in 0..<CKD_CACHED { cached[index].gfn = .max }
    }

    func remembered(_ gpa: UInt64, _ access: UInt64) -> Translation? {
        guard let cached = pointee.cached else { return nil }
        let entry = cached + Int(truncatingIfNeeded: gpa >> 12 & UInt64(CKD_CACHED - 1))
        guard entry.pointee.gfn == gpa >> 12 else { return nil }
        let bits = entry.pointee.hva
        let found = Translation(hva: bits & ~4095 | gpa & 4095, writable: bits & cachedWritable != 0,
                                executable: bits & cachedExecutable != 0)
        return found.allows(access) ? found : nil
    }

    func remember(_ gpa: UInt64, _ found: Translation) {
        guard let cached = pointee.cached else { return }
        let entry = cached + Int(truncatingIfNeeded: gpa >> 12 & UInt64(CKD_CACHED - 1))
        entry.pointee.gfn = gpa >> 12
        entry.pointee.hva = found.hva & ~4095 | (found.writable ? cachedWritable : 0)
            | (found.executable ? cachedExecutable : 0)
    }
}
