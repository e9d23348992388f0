// SPDX-License-Identifier: GPL-2.0-only
// The engine stops at the end of a block, not behind an `in` or `out` in its middle.  So each block is read once,
// before it first runs, and the engine is told to look whether it shall stop in front of whatever may come
// behind such an instruction, and in front of those that are looked at before the engine makes them
// (OwnInstructions.swift).  (Bytes that only look like one cost a look, and nothing else.)
import CKVMDevice

/// Blocks that were read, by their place and size; one that has lost its place is read again.
private let rememberedBlocks = 1 << 14

extension VCPU {
    /// Returns whether the block must be translated anew, since a place in it is watched now.
    func readBlock(_ gva: UInt64, _ size: UInt32) -> Bool {
        guard let seen = pointee.blocks_read else { return false }
        let name = gva &* 31 &+ UInt64(size) &+ 1
        let at = seen + Int(truncatingIfNeeded: (gva ^ gva >> 14) & UInt64(rememberedBlocks - 1))
        guard at.pointee != name, let watches = watchPlaces(gva, Int(min(size, 4096))) else { return false }
        at.pointee = name
        return watches
    }

    func forgetBlocks() {
        if pointee.blocks_read == nil {
            let memory = ckd_zalloc(rememberedBlocks * MemoryLayout<UInt64>.stride)
            pointee.blocks_read = memory?.assumingMemoryBound(to: UInt64.self)
        }
        pointee.blocks_read?.update(repeating: 0, count: rememberedBlocks)
    }

    /// nil: the code cannot be read now, and the block is left before it runs.
    private func watchPlaces(_ gva: UInt64, _ size: Int) -> Bool? {
        withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { room -> Bool? in
            let bytes = UnsafeMutableRawBufferPointer(rebasing: room[..<size])
            let before = why
            guard copyGuest(gva, bytes, write: false) else {
                why = before
                pointee.asked = true
                ckd_engine_stop(pointee.engine)
                return nil
            }
            var watches = false
            for index in 0..<size {
                if let length = portLength(bytes[index]), index + length < size {
                    watches = ckd_engine_watch(pointee.engine, gva &+ UInt64(index + length)) || watches
                }
                guard OwnInstruction.mayStand(at: index, in: bytes) else { continue }
                for first in OwnInstruction.firstByte(before: index, in: bytes, bits: pointee.mode)...index {
                    watches = ckd_engine_watch(pointee.engine, gva &+ UInt64(first)) || watches
                }
            }
            return watches
        }
    }

    /// 0xe4 to 0xe7 have the port behind them, 0xec to 0xef take it from DX.
    private func portLength(_ opcode: UInt8) -> Int? {
        switch opcode {
        case 0xe4...0xe7: 2
        case 0xec...0xef: 1
        default: nil
        }
    }
}

/// The engine stands in front of a watched place: behind port I/O, or at what may be an instruction of ours.
@c @implementation
public func ckd_watched(_ vcpu: UnsafeMutablePointer<ckd_vcpu>!, _ address: UInt64) {
    let vcpu: VCPU = vcpu
    if vcpu.why == CKD_STOP_PORT { return ckd_engine_stop(vcpu.pointee.engine) }
    let before = vcpu.why
    vcpu.why = CKD_STOP_NONE
    guard let found = vcpu.ownInstruction(at: address) else {
        // Where the code cannot be read now the instruction waits for the next try; else it is not one of these.
        if vcpu.why != CKD_STOP_NONE {
            vcpu.pointee.asked = true
            ckd_engine_stop(vcpu.pointee.engine)
        }
        vcpu.why = before
        return
    }
    switch found.kind {
    case .ins, .outs:
        vcpu.why = CKD_STOP_STRING
        ckd_engine_stop(vcpu.pointee.engine)
    case .rdmsr, .wrmsr, .movToControl:
        vcpu.why = before
        if vcpu.refuses(found) { ckd_exception(vcpu, 13) }
    }
}
