// SPDX-License-Identifier: GPL-2.0-only
// What userspace completes: port I/O and MMIO.  An instruction that meets no memory is made once to see what it
// wants, with a page in place that notes it, and where it reads, once more with the value that userspace gave.
import CKVMDevice

@c @implementation
public func ckd_port(
    _ vcpu: UnsafeMutablePointer<ckd_vcpu>!, _ port: UInt32, _ size: Int32, _ isIn: Bool, _ value: UInt32
) {
    let vcpu: VCPU = vcpu
    // Port I/O that the engine makes before it stops for an earlier one would be lost: PortStops.swift sees to it.
    vcpu.why = CKD_STOP_PORT
    vcpu.pointee.port = UInt16(truncatingIfNeeded: port)
    vcpu.pointee.port_size = UInt8(size)
    vcpu.pointee.port_in = isIn ? 1 : 0
    vcpu.pointee.port_count = 1
    vcpu.portData.storeBytes(of: value, as: UInt32.self)
    ckd_engine_stop(vcpu.pointee.engine)
}

@c @implementation
public func ckd_mmio_read(_ vcpu: UnsafeMutablePointer<ckd_vcpu>!, _ offset: UInt64, _ size: UInt32) -> UInt64 {
    let vcpu: VCPU = vcpu
    if vcpu.pointee.mmio_phase == 2 {
        vcpu.pointee.mmio_hits += 1
        let value = vcpu.pointee.mmio_value >> (((offset &- UInt64(vcpu.pointee.mmio_offset)) &* 8) & 63)
        return size == 8 ? value : value & ((1 << UInt64(size * 8)) - 1)
    }
    vcpu.noteMMIO(offset, size, write: false)
    return 0
}

@c @implementation
public func ckd_mmio_write(
    _ vcpu: UnsafeMutablePointer<ckd_vcpu>!, _ offset: UInt64, _ size: UInt32, _ value: UInt64
) {
    let vcpu: VCPU = vcpu
    if vcpu.pointee.mmio_phase == 2, vcpu.pointee.mmio_write == 0 { // it reads and writes: the write is another exit
        vcpu.pointee.mmio_hits = 0
        vcpu.pointee.mmio_write = 1
    }
    let done = vcpu.pointee.mmio_hits == 0 ? 0 : UInt64(vcpu.pointee.mmio_size)
    // Only the first access of an instruction that reads first is known in the first phase.
    if vcpu.pointee.mmio_phase == 1, vcpu.pointee.mmio_hits != 0, vcpu.pointee.mmio_write == 0 { return }
    vcpu.noteMMIO(offset, size, write: true)
    vcpu.pointee.mmio_value |= value << (done * 8)
}

extension VCPU {
    /// The page behind kvm_run, where the data of port I/O is.
    var portData: UnsafeMutableRawPointer { UnsafeMutableRawPointer(pointee.run) + 4096 }

    /// One piece of the instruction's access: eight bytes come as two of four.
    fileprivate func noteMMIO(_ offset: UInt64, _ size: UInt32, write: Bool) {
        if pointee.mmio_hits == 0 {
            pointee.mmio_offset = UInt32(offset)
            pointee.mmio_size = 0
            pointee.mmio_value = 0
            pointee.mmio_write = write ? 1 : 0
        }
        pointee.mmio_hits += 1
        // An instruction may save hundreds of bytes.
        pointee.mmio_size = UInt8(min(UInt32(pointee.mmio_size) + size, 255))
    }

    /// Makes one instruction with the MMIO page in place.  Returns whether it touched it.
    private func step(phase: UInt8) -> Bool {
        pointee.mmio_phase = phase
        pointee.mmio_hits = 0
        why = CKD_STOP_NONE
        ckd_engine_forget_code(pointee.engine)
        enterGuest()
        _ = ckd_engine_run(pointee.engine, 1)
        leaveGuest()
        pointee.mmio_phase = 0
        // The page is the instruction's only.
        ckd_engine_flush(pointee.engine)
        return pointee.mmio_hits != 0
    }

    /// The guest met no memory: is it a read or a write, of how many bytes?  Returns whether userspace is to be
    /// asked; else it has stopped for something else, or nothing.
    func beginMMIO() -> Bool {
        ckd_engine_store(pointee.engine, &pointee.regs)
        let before = pointee.regs
        guard step(phase: 1) else { return false }
        if pointee.mmio_write == 0 { // as if it had not been made
            pointee.regs = before
            ckd_engine_load(pointee.engine, &pointee.regs)
            pointee.mmio_read_pending = 1
        }
        return true
    }

    /// Hands in what userspace answered.  Returns whether the instruction now writes, which is another exit.
    func finishMMIO() -> Bool {
        pointee.mmio_read_pending = 0
        pointee.mmio_value = ckd_mmio_data(pointee.run).loadUnaligned(as: UInt64.self)
        pointee.mmio_write = 0
        _ = step(phase: 2)
        return pointee.mmio_write != 0
    }

    func finishPortInput() {
        pointee.port_pending = 0
        let data = UInt64(portData.loadUnaligned(as: UInt32.self)), old = pointee.regs.rax
        switch pointee.port_size {
        case 1: pointee.regs.rax = old & ~0xff | data & 0xff
        case 2: pointee.regs.rax = old & ~0xffff | data & 0xffff
        default: pointee.regs.rax = data
        }
        pointee.regs_changed = true
    }
}
