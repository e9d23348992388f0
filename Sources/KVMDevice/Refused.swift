// SPDX-License-Identifier: GPL-2.0-only
// What a CPU answers by a #GP and the engine would take: MSRs that are not there, values that a control register or an
// MSR cannot have.  And the values of CR0 and CR4, which the engine does not tell as they were set.
import CKVMDevice

private let extendedFeatures = UInt32(0xc000_0080)
/// EFER: SCE, LME, LMA, NXE, and FFXSR, which the engine's CPU has.
private let extendedFeatureBits = UInt64(0x4d01)

private let protection = UInt64(1 << 0), writeProtect = UInt64(1 << 16), notWriteThrough = UInt64(1 << 29)
private let cacheDisable = UInt64(1 << 30), paging = UInt64(1) << 31
private let pae = UInt64(1 << 5), fiveLevels = UInt64(1 << 12)
/// CR4: VME to OSXMMEXCPT; UMIP, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP are not in CPUID.
private let control4Bits = UInt64(0x7ff)

extension VCPU {
    /// Must this instruction, which the engine stands in front of, raise a #GP?  If not it has been taken note of.
    func refuses(_ instruction: OwnInstruction) -> Bool {
        ckd_engine_store(pointee.engine, &pointee.regs)
        let msr = UInt32(truncatingIfNeeded: pointee.regs.rcx)
        let value = pointee.regs.rdx << 32 | pointee.regs.rax & 0xffff_ffff
        switch instruction.kind {
        case .rdmsr: return !hasMSR(msr)
        case .wrmsr: return !hasMSR(msr) || !canHave(msr, value)
        case .movToControl(let number, let from): return refusesControl(number, register(from))
        case .ins, .outs: return false
        }
    }

    /// Those that the engine keeps: TSC, APIC base, SYSENTER, MCG, MISC_ENABLE, MTRRs, PAT, EFER, SYSCALL, bases, TSC_AUX.
    private func hasMSR(_ msr: UInt32) -> Bool {
        switch msr {
        case 0x10, 0x1b, 0x174...0x176, 0x179...0x17b, 0x1a0, 0xfe, 0x200...0x20f, 0x250, 0x258, 0x259, 0x268...0x26f,
             0x277, 0x2ff, extendedFeatures...0xc000_0084, 0xc000_0100...0xc000_0103: true
        default: false
        }
    }

    private func isCanonical(_ address: UInt64) -> Bool {
        let unused: Int64 = pointee.cr4 & fiveLevels != 0 ? 7 : 16
        return (Int64(bitPattern: address) << unused) >> unused == Int64(bitPattern: address)
    }

    private func canHave(_ msr: UInt32, _ value: UInt64) -> Bool {
        switch msr {
        case extendedFeatures: value & ~extendedFeatureBits == 0
        case 0x175, 0x176, 0xc000_0082, 0xc000_0083, 0xc000_0100...0xc000_0102: isCanonical(value) // entries and bases
        case 0x277: isMemoryTypes(value)
        default: true
        }
    }

    /// Eight of 0, 1, 4, 5, 6, 7.
    private func isMemoryTypes(_ value: UInt64) -> Bool {
        for index in UInt64(0)..<8 {
            let type = value >> (8 * index) & 0xff
            if type > 7 || type == 2 || type == 3 { return false }
        }
        return true
    }

    private func register(_ number: UInt8) -> UInt64 {
        // regs has RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP, R8 to R15; instructions count RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI.
        let value = switch number {
        case 0: pointee.regs.rax
        case 1: pointee.regs.rcx
        case 2: pointee.regs.rdx
        case 3: pointee.regs.rbx
        case 4: pointee.regs.rsp
        case 5: pointee.regs.rbp
        case 6: pointee.regs.rsi
        case 7: pointee.regs.rdi
        case 8: pointee.regs.r8
        case 9: pointee.regs.r9
        case 10: pointee.regs.r10
        case 11: pointee.regs.r11
        case 12: pointee.regs.r12
        case 13: pointee.regs.r13
        case 14: pointee.regs.r14
        default: pointee.regs.r15
        }
        return pointee.mode == 64 ? value : value & 0xffff_ffff
    }

    private func refusesControl(_ number: UInt8, _ value: UInt64) -> Bool {
        let isLong = pointee.mode == 64
        switch number {
        case 0:
            if value >> 32 != 0 || value & paging != 0 && value & protection == 0 { return true }
            if isLong && value & paging == 0 { return true }
            if value & notWriteThrough != 0 && value & cacheDisable == 0 { return true }
            note(&pointee.cr0, value, changing: writeProtect | paging)
        case 3:
            // Bit 63 is for PCIDs, which CPUID does not have.
            if isLong && value >> ckd_options().pointee.maxphyaddr != 0 { return true }
            pointee.cr3 = value
        case 4:
            // What userspace has set stays; with 64 bits neither PAE nor the number of levels can change.
            if value & ~(control4Bits | pointee.cr4) != 0 || isLong && (value ^ pointee.cr4) & (pae | fiveLevels) != 0 { return true }
            note(&pointee.cr4, value, changing: pae)
        default: break
        }
        return false
    }

    /// The register's value, which the walk of the guest's tables goes by.
    private func note(_ register: inout UInt64, _ value: UInt64, changing bits: UInt64) {
        // Translations of before stay until the next stop between instructions.
        if (register ^ value) & bits != 0 { _ = ckd_swap(&pointee.flush, 1) }
        register = value
    }
}
