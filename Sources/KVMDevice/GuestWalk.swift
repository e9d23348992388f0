// SPDX-License-Identifier: GPL-2.0-only
// The guest's own page walk, with the Accessed and Dirty bits that a CPU sets: four or five levels, three of PAE, two of
// entries of 32 bits, or none while the guest has paging off.
import CKVMDevice

private let present = UInt64(1 << 0), writableBit = UInt64(1 << 1), userBit = UInt64(1 << 2)
private let accessed = UInt64(1 << 5), dirty = UInt64(1 << 6), large = UInt64(1 << 7), noExecute = UInt64(1) << 63
private let frame: UInt64 = 0xf_ffff_ffff_f000
private let paging = UInt64(1) << 31, writeProtect = UInt64(1 << 16), fiveLevels = UInt64(1 << 12)
private let pae = UInt64(1 << 5), pageSizes = UInt64(1 << 4)

/// What a #PF says of the access.
private let errorPresent = UInt32(1 << 0), errorWrite = UInt32(1 << 1), errorFetch = UInt32(1 << 4)

/// What the tables on the way to a page allow.
private struct Rights {
    var writable = true
    var executable = true
    var dirty = true
}

extension VCPU {
    private var hasPaging: Bool { pointee.cr0 & paging != 0 }
    private var guardsReadOnly: Bool { pointee.cr0 & writeProtect != 0 }

    /// One access of the guest's by its own address; nil: it is not made, and `why` says why.
    func access(_ gva: UInt64, _ access: UInt32) -> Translation? {
        var rights = Rights()
        guard let gpa = hasPaging ? walk(gva, access, &rights) : gva else { return nil }
        let wanted = access == CKD_WRITE.rawValue ? writeAccess : access == CKD_EXECUTE.rawValue ? fetchAccess : 0
        guard let found = translate(gpa, wanted) else { return nil }
        return Translation(hva: found.hva,
                           writable: found.writable && rights.dirty && (rights.writable || !guardsReadOnly),
                           executable: found.executable && rights.executable)
    }

    /// Refuses the access: a #PF of the guest's own.
    private func pageFault(_ gva: UInt64, _ access: UInt32, present: Bool) -> UInt64? {
        why = CKD_STOP_PAGE_FAULT
        pointee.fault_gva = gva
        pointee.fault_code = (present ? errorPresent : 0) | (access == CKD_WRITE.rawValue ? errorWrite : 0)
            | (access == CKD_EXECUTE.rawValue ? errorFetch : 0)
        return nil
    }

    private func isCanonical(_ gva: UInt64, _ levels: UInt64) -> Bool {
        let unused = Int64(64 - 12 - 9 * levels)
        return (Int64(bitPattern: gva) << unused) >> unused == Int64(bitPattern: gva)
    }

    private func walk(_ gva: UInt64, _ access: UInt32, _ rights: inout Rights) -> UInt64? {
        if pointee.mode != 64 { return pointee.cr4 & pae != 0 ? walkPAE(gva, access, &rights) : walk32(gva, access, &rights) }
        let levels: UInt64 = pointee.cr4 & fiveLevels != 0 ? 5 : 4
        guard isCanonical(gva, levels) else {
            why = CKD_STOP_EXCEPTION
            pointee.vector = 13
            return nil
        }
        return walk(gva, access, &rights, from: pointee.cr3 & frame, level: levels)
    }

    /// Three levels, of which the first has four entries that say nothing but where the next table is.
    private func walkPAE(_ gva: UInt64, _ access: UInt32, _ rights: inout Rights) -> UInt64? {
        guard let at = tableEntry(pointee.cr3 & 0xffff_ffe0 + (gva >> 30 & 3) * 8, 0) else { return nil }
        let entry = ckd_load64(at)
        guard entry & present != 0 else { return pageFault(gva, access, present: false) }
        return walk(gva, access, &rights, from: entry & frame, level: 2)
    }

    /// Two levels of 1024 entries of 32 bits; a large page has 4 MiB, and bits 39:32 of its frame in bits 20:13.
    private func walk32(_ gva: UInt64, _ access: UInt32, _ rights: inout Rights) -> UInt64? {
        var table = pointee.cr3 & 0xffff_f000, shift: UInt64 = 22
        while true {
            let gpa = table + (gva >> shift & 1023) * 4
            guard let at = tableEntry(gpa, 0) else { return nil }
            var entry = UInt64(ckd_load32(at))
            guard entry & present != 0 else { return pageFault(gva, access, present: false) }
            rights.writable = rights.writable && entry & writableBit != 0
            let isLarge = shift == 22 && entry & large != 0 && pointee.cr4 & pageSizes != 0
            let isLeaf = shift == 12 || isLarge
            if isLeaf, !allows(access, rights) { return pageFault(gva, access, present: true) }
            guard mark(gpa, &entry, dirties: isLeaf && access == CKD_WRITE.rawValue, bytes: 4) else { return nil }
            rights.dirty = entry & dirty != 0
            if isLarge { return entry & 0xffc0_0000 | (entry >> 13 & 0xff) << 32 | gva & 0x3f_ffff }
            table = entry & 0xffff_f000
            if isLeaf { return table | gva & 0xfff }
            shift = 12
        }
    }

    private func walk(
        _ gva: UInt64, _ access: UInt32, _ rights: inout Rights, from root: UInt64, level levels: UInt64
    ) -> UInt64? {
        var level = levels, table = root
        while true {
            let shift = 12 + 9 * (level - 1)
            let gpa = table + (gva >> shift & 511) * 8
            guard let at = tableEntry(gpa, 0) else { return nil }
            var entry = ckd_load64(at)
            guard entry & present != 0 else { return pageFault(gva, access, present: false) }
            rights.writable = rights.writable && entry & writableBit != 0
            rights.executable = rights.executable && entry & noExecute == 0
            let isLeaf = level == 1 || entry & large != 0 && level <= 3
            if isLeaf, !allows(access, rights) { return pageFault(gva, access, present: true) }
            guard mark(gpa, &entry, dirties: isLeaf && access == CKD_WRITE.rawValue) else { return nil }
            if isLeaf {
                rights.dirty = entry & dirty != 0
                let inside = (UInt64(1) << shift) - 1
                return entry & frame & ~inside | gva & inside
            }
            table = entry & frame
            level -= 1
        }
    }

    private func allows(_ access: UInt32, _ rights: Rights) -> Bool {
        if access == CKD_WRITE.rawValue { return rights.writable || !guardsReadOnly }
        return access != CKD_EXECUTE.rawValue || rights.executable
    }

    /// Sets Accessed, and Dirty if the access writes, where they are not set yet.
    private func mark(_ gpa: UInt64, _ entry: inout UInt64, dirties: Bool, bytes: Int = 8) -> Bool {
        let wanted = accessed | (dirties ? dirty : 0)
        guard entry & wanted != wanted else { return true }
        guard let at = tableEntry(gpa, writeAccess) else { return false }
        entry = (bytes == 8 ? ckd_or64(at, wanted) : UInt64(ckd_or32(at, UInt32(wanted)))) | wanted
        return true
    }

    /// The host's address of an entry of the guest's tables.  Where no memory is there, no CPU can go on.
    private func tableEntry(_ gpa: UInt64, _ access: UInt64) -> UInt64? {
        if let found = translate(gpa, access) { return found.hva }
        if why == CKD_STOP_MMIO { why = CKD_STOP_TABLES }
        return nil
    }
}

@c @implementation
public func ckd_fill(
    _ vcpu: UnsafeMutablePointer<ckd_vcpu>!, _ gva: UInt64, _ access: UInt32, _ page: UnsafeMutablePointer<UInt64>!,
    _ allowed: UnsafeMutablePointer<UInt32>!
) -> Bool {
    let vcpu: VCPU = vcpu
    vcpu.pointee.fills += 1
    // Port I/O that was met stays what it stops for: an access behind it is made once more.
    let metPort = vcpu.why == CKD_STOP_PORT
    defer { if metPort { vcpu.why = CKD_STOP_PORT } }
    vcpu.why = CKD_STOP_NONE
    // With 64 bits each change of a control register is seen in front of it (Refused.swift).
    if vcpu.pointee.mode != 64 {
        ckd_engine_paging(vcpu.pointee.engine, &vcpu.pointee.cr0, &vcpu.pointee.cr3, &vcpu.pointee.cr4)
    }
    if let found = vcpu.access(gva, access) {
        page.pointee = found.hva & ~4095
        allowed.pointee = CKD_READ.rawValue | (found.writable ? CKD_WRITE.rawValue : 0)
            | (found.executable ? CKD_EXECUTE.rawValue : 0)
        return true
    }
    guard vcpu.why == CKD_STOP_MMIO, vcpu.pointee.mmio_phase != 0 else { return false }
    vcpu.why = CKD_STOP_NONE
    vcpu.pointee.mmio_page = vcpu.pointee.fault_gpa & ~4095
    page.pointee = UInt64(CKD_MMIO_PAGE)
    allowed.pointee = CKD_READ.rawValue | CKD_WRITE.rawValue
    return true
}

extension VCPU {
    /// Copies between the guest's memory and `bytes`, page for page.  Returns whether all was there.
    func copyGuest(_ gva: UInt64, _ bytes: UnsafeMutableRawBufferPointer, write: Bool) -> Bool {
        var done = 0
        while done < bytes.count {
            let at = gva &+ UInt64(done)
            let count = min(bytes.count - done, Int(4096 - at & 4095))
            guard let found = access(at, write ? CKD_WRITE.rawValue : CKD_READ.rawValue),
                  let host = UnsafeMutableRawPointer(bitPattern: UInt(found.hva)) else { return false }
            let here = bytes.baseAddress! + done
            if write {
                host.copyMemory(from: here, byteCount: count)
            } else {
                here.copyMemory(from: host, byteCount: count)
            }
            done += count
        }
        return true
    }
}
