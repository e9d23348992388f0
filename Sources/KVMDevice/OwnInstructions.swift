// SPDX-License-Identifier: GPL-2.0-only
// Instructions that the engine makes wrongly, and that are looked at in front of it: `ins` and `outs`, which are made
// here (StringIO.swift), and what a CPU refuses by a #GP, while the engine takes anything (Refused.swift).
import CKVMDevice

/// One of them, as its bytes have it.
struct OwnInstruction {
    enum Kind {
        case ins, outs, rdmsr, wrmsr
        /// mov to a control register, from a register of regs.
        case movToControl(number: UInt8, from: UInt8)
    }

    let kind: Kind
    let length: UInt64
    /// Bytes of one of a string's items, and of its addresses.
    let size: UInt64
    let addressBytes: UInt64
    let repeats: Bool
    /// The prefix that names a segment, or 0.
    let segment: UInt8
}

/// Bytes that may stand in front of an opcode.
private struct Prefixes {
    var operand = false, address = false, repeats = false
    var segment: UInt8 = 0, rex: UInt8 = 0

    /// Takes in a prefix; false: it is none.
    mutating func take(_ byte: UInt8, bits: UInt32) -> Bool {
        if bits == 64, byte & 0xf0 == 0x40 {
            rex = byte
            return true
        }
        rex = 0 // one that is not the last does nothing
        switch byte {
        case 0x66: operand = true
        case 0x67: address = true
        case 0xf2, 0xf3: repeats = true
        case 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65: segment = byte
        case 0xf0: break
        default: return false
        }
        return true
    }
}

extension OwnInstruction {
    static let longest = 15

    /// What these bytes begin with, in code of so many bits; nil: with none of them.
    init?(_ bytes: UnsafeRawBufferPointer, bits: UInt32) {
        var prefixes = Prefixes(), at = 0, rex: UInt8 = 0
        while at < bytes.count, prefixes.take(bytes[at], bits: bits) {
            rex = prefixes.rex
            at += 1
        }
        guard at < bytes.count else { return nil }
        let opcode = bytes[at]
        repeats = prefixes.repeats
        segment = prefixes.segment
        addressBytes = bits == 64 ? (prefixes.address ? 4 : 8) : (bits == 32) == prefixes.address ? 2 : 4
        size = opcode & 1 == 0 ? 1 : (bits == 16) == prefixes.operand ? 4 : 2
        if opcode & 0xfc == 0x6c {
            kind = opcode & 2 == 0 ? .ins : .outs
            length = UInt64(at + 1)
            return
        }
        guard opcode == 0x0f, at + 1 < bytes.count else { return nil }
        switch bytes[at + 1] {
        case 0x30: kind = .wrmsr
        case 0x32: kind = .rdmsr
        case 0x22 where at + 2 < bytes.count:
            let fields = bytes[at + 2]
            kind = .movToControl(number: fields >> 3 & 7 | (rex & 4) << 1, from: fields & 7 | (rex & 1) << 3)
        default: return nil
        }
        length = UInt64(at + (bytes[at + 1] == 0x22 ? 3 : 2))
    }

    /// May one of them have its opcode there?
    static func mayStand(at index: Int, in bytes: UnsafeMutableRawBufferPointer) -> Bool {
        if bytes[index] & 0xfc == 0x6c { return true }
        guard bytes[index] == 0x0f, index + 1 < bytes.count else { return false }
        return bytes[index + 1] == 0x30 || bytes[index + 1] == 0x32 || bytes[index + 1] == 0x22
    }

    /// Where an instruction with its opcode at `index` may begin: there, and at each of what may be its prefixes.
    static func firstByte(before index: Int, in bytes: UnsafeMutableRawBufferPointer, bits: UInt32) -> Int {
        var first = index, prefixes = Prefixes()
        while first > 0, index - first < longest, prefixes.take(bytes[first - 1], bits: bits) { first -= 1 }
        return first
    }
}

extension VCPU {
    /// The one that begins at this linear address; nil: none does, or the code cannot be read now, and `why` says why.
    func ownInstruction(at address: UInt64) -> OwnInstruction? {
        withUnsafeTemporaryAllocation(byteCount: OwnInstruction.longest, alignment: 8) { bytes in
            // It may end with its page, behind which there need not be any memory.
            let left = Int(4096 - address & 4095), count = min(left, OwnInstruction.longest)
            let here = UnsafeMutableRawBufferPointer(rebasing: bytes[..<count])
            guard copyGuest(address, here, write: false) else { return nil }
            if let found = OwnInstruction(UnsafeRawBufferPointer(here), bits: pointee.mode) { return found }
            guard count < OwnInstruction.longest, copyGuest(address, bytes, write: false) else { return nil }
            return OwnInstruction(UnsafeRawBufferPointer(bytes), bits: pointee.mode)
        }
    }
}
