// SPDX-License-Identifier: GPL-2.0-only
// `ins` and `outs`: as many items at once as lie in one page of the guest's memory, as KVM tells userspace of them.
import CKVMDevice

private let directionFlag = UInt64(1 << 10)

/// What one exit moves.
private struct StringMove {
    let instruction: OwnInstruction
    /// Linear, of the first item.
    let address: UInt64
    let count: UInt64

    var bytes: Int { Int(count * instruction.size) }
    var isInput: Bool { if case .ins = instruction.kind { true } else { false } }
}

extension VCPU {
    private var isBackwards: Bool { pointee.regs.rflags & directionFlag != 0 }

    private func mask(_ instruction: OwnInstruction) -> UInt64 {
        instruction.addressBytes == 8 ? .max : (1 << (8 * instruction.addressBytes)) - 1
    }

    /// `ins` goes to ES; `outs` comes from DS, or from what a prefix names.  With 64 bits only FS and GS have a base.
    private func segmentBase(_ instruction: OwnInstruction) -> UInt64 {
        let sregs = pointee.sregs
        var segment = instruction.segment
        if case .ins = instruction.kind { segment = 0x26 }
        switch segment {
        case 0x64: return sregs.fs.base
        case 0x65: return sregs.gs.base
        case _ where pointee.mode == 64: return 0
        case 0x26: return sregs.es.base
        case 0x2e: return sregs.cs.base
        case 0x36: return sregs.ss.base
        default: return sregs.ds.base
        }
    }

    /// The string instruction that the guest stands at, and what of it comes next; nil: it cannot be read now.
    private func nextMove() -> StringMove? {
        ckd_engine_store(pointee.engine, &pointee.regs)
        ckd_engine_store_system(pointee.engine, &pointee.sregs)
        guard let found = ownInstruction(at: ckd_engine_linear_rip(pointee.engine)) else { return nil }
        let isInput: Bool
        switch found.kind {
        case .ins: isInput = true
        case .outs: isInput = false
        default: return nil
        }
        let index = isInput ? pointee.regs.rdi : pointee.regs.rsi
        let address = segmentBase(found) &+ (index & mask(found))
        let left = found.repeats ? pointee.regs.rcx & mask(found) : 1
        let inPage = isBackwards ? 1 : max((4096 - address & 4095) / found.size, 1)
        return StringMove(instruction: found, address: address, count: min(left, inPage))
    }

    private func replaced(_ old: UInt64, _ new: UInt64, _ instruction: OwnInstruction) -> UInt64 {
        let mask = mask(instruction)
        // A register of 32 bits that is written clears what is above it.
        return instruction.addressBytes == 2 ? old & ~mask | new & mask : new & mask
    }

    /// The registers, after so many items.
    private func pass(_ move: StringMove) {
        let instruction = move.instruction
        let step = isBackwards ? 0 &- UInt64(move.bytes) : UInt64(move.bytes)
        if move.isInput {
            pointee.regs.rdi = replaced(pointee.regs.rdi, pointee.regs.rdi &+ step, instruction)
        } else {
            pointee.regs.rsi = replaced(pointee.regs.rsi, pointee.regs.rsi &+ step, instruction)
        }
        if instruction.repeats {
            pointee.regs.rcx = replaced(pointee.regs.rcx, pointee.regs.rcx &- move.count, instruction)
        }
        if !instruction.repeats || pointee.regs.rcx & mask(instruction) == 0 {
            pointee.regs.rip = pointee.regs.rip &+ instruction.length
        }
        ckd_engine_load(pointee.engine, &pointee.regs)
    }

    /// The guest stands at a string instruction: what userspace is to do of it.  In the guest; `why` says what comes of it.
    func beginString() {
        why = CKD_STOP_NONE
        guard let move = nextMove() else { return }
        if move.count == 0 { return pass(move) }
        let data = UnsafeMutableRawBufferPointer(start: portData, count: move.bytes)
        if move.isInput {
            // What it would fault at it faults at now, before userspace is asked.
            guard access(move.address, CKD_WRITE.rawValue) != nil,
                  access(move.address &+ UInt64(move.bytes - 1), CKD_WRITE.rawValue) != nil else { return refuseDevice() }
        } else if !copyGuest(move.address, data, write: false) {
            return refuseDevice()
        }
        pointee.port = UInt16(truncatingIfNeeded: pointee.regs.rdx)
        pointee.port_size = UInt8(move.instruction.size)
        pointee.port_in = move.isInput ? 1 : 0
        pointee.port_count = UInt32(move.count)
        if !move.isInput { pass(move) }
        why = CKD_STOP_STRING
    }

    private func refuseDevice() {
        guard why == CKD_STOP_MMIO else { return }
        sayInstruction("a string between a port and a device is not had")
        why = CKD_STOP_ENGINE
    }

    /// Hands in what userspace has put behind kvm_run.  Returns whether the guest could take it; if not, it is pending
    /// still, and `why` says why.
    func finishString() -> Bool {
        let data = UnsafeMutableRawBufferPointer(start: portData, count: Int(pointee.port_count) * Int(pointee.port_size))
        takeTurn()
        enterGuest()
        defer {
            leaveGuest()
            giveTurn()
        }
        while true {
            why = CKD_STOP_NONE
            if let move = nextMove(), move.isInput, move.bytes >= data.count,
               copyGuest(move.address, data, write: true) {
                pass(StringMove(instruction: move.instruction, address: move.address, count: UInt64(pointee.port_count)))
                pointee.port_pending = 0
                return true
            }
            guard why == CKD_STOP_AGAIN else { return false }
            leaveGuest()
            enterGuest()
        }
    }
}
