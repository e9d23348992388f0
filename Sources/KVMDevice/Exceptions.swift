// SPDX-License-Identifier: GPL-2.0-only
// Exceptions into the guest's own handlers: of 64 or 32 bits, ring 0, no stack of the IST; or in real mode, by its table
// of vectors.  What cannot be delivered is a triple fault.
import CKVMDevice

/// One gate of a 64-bit IDT.
private struct Gate {
    let low: UInt64
    let high: UInt64

    var isPresent: Bool { low >> 47 & 1 != 0 }
    var type: UInt64 { low >> 40 & 15 }
    var handler: UInt64 { low & 0xffff | low >> 32 & 0xffff_0000 | high << 32 }
    var disablesInterrupts: Bool { type == 14 }
}

private let trapFlag = UInt64(1 << 8), interruptFlag = UInt64(1 << 9), alignmentCheck = UInt64(1 << 18)

@c @implementation
public func ckd_exception(_ vcpu: UnsafeMutablePointer<ckd_vcpu>!, _ vector: UInt32) {
    let vcpu: VCPU = vcpu
    vcpu.why = CKD_STOP_EXCEPTION
    vcpu.pointee.vector = vector
    ckd_engine_stop(vcpu.pointee.engine)
}

extension VCPU {
    /// Does the CPU push an error code?  #DF, and #TS to #PF.
    private func hasErrorCode(_ vector: UInt32) -> Bool { vector == 8 || vector >= 10 && vector <= 14 }

    /// The guest goes on in its handler of `vector`.  Returns whether it has one; else `why` says why.
    func inject(_ vector: UInt32, code: UInt32) -> Bool {
        if pointee.mode == 16 { return injectReal(vector) }
        if pointee.mode == 32 { return inject32(vector, code: code) }
        guard let gate = gate(vector), gate.isPresent else { return false }
        ckd_engine_store(pointee.engine, &pointee.regs)
        let old = pointee.regs
        let words = hasErrorCode(vector) ? 6 : 5
        let stack = old.rsp & ~15 &- UInt64(words * 8)
        let pushed = withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 6) { frame -> Bool in
            _ = frame.initialize(from: [UInt64(code), old.rip, UInt64(pointee.sregs.cs.selector), old.rflags, old.rsp,
                                        UInt64(pointee.sregs.ss.selector)])
            let bytes = UnsafeMutableRawBufferPointer(frame)
            return copyGuest(stack, UnsafeMutableRawBufferPointer(rebasing: bytes[(48 - words * 8)...]), write: true)
        }
        guard pushed else { return false }
        pointee.regs.rsp = stack
        pointee.regs.rip = gate.handler
        pointee.regs.rflags = old.rflags & ~trapFlag & ~(gate.disablesInterrupts ? interruptFlag : 0)
        ckd_engine_load(pointee.engine, &pointee.regs)
        return true
    }

    /// With 32 bits: gates of 8 bytes; EFLAGS, CS, EIP and perhaps the code on the same stack, since the ring stays.
    private func inject32(_ vector: UInt32, code: UInt32) -> Bool {
        ckd_engine_store(pointee.engine, &pointee.regs)
        ckd_engine_store_system(pointee.engine, &pointee.sregs)
        guard vector * 8 + 7 <= UInt32(pointee.sregs.idt.limit) else { return false }
        var word: UInt64 = 0
        let at = pointee.sregs.idt.base &+ UInt64(vector * 8)
        guard withUnsafeMutableBytes(of: &word, { copyGuest(at, $0, write: false) }) else { return false }
        let gate = Gate(low: word, high: 0), old = pointee.regs
        guard gate.isPresent else { return false }
        let bytes = hasErrorCode(vector) ? 16 : 12, stack = (old.rsp &- UInt64(bytes)) & 0xffff_ffff
        let pushed = withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 4) { frame -> Bool in
            _ = frame.initialize(from: [code, UInt32(truncatingIfNeeded: old.rip), UInt32(pointee.sregs.cs.selector),
                                        UInt32(truncatingIfNeeded: old.rflags)])
            let all = UnsafeMutableRawBufferPointer(frame)
            return copyGuest(stack, UnsafeMutableRawBufferPointer(rebasing: all[(16 - bytes)...]), write: true)
        }
        guard pushed else { return false }
        pointee.regs.rsp = stack
        pointee.regs.rip = word & 0xffff | word >> 32 & 0xffff_0000
        pointee.regs.rflags = old.rflags & ~trapFlag & ~(gate.disablesInterrupts ? interruptFlag : 0)
        ckd_engine_load(pointee.engine, &pointee.regs)
        return true
    }

    /// In real mode: FLAGS, CS and IP on the stack, and on by the vector's segment and offset.
    private func injectReal(_ vector: UInt32) -> Bool {
        ckd_engine_store(pointee.engine, &pointee.regs)
        ckd_engine_store_system(pointee.engine, &pointee.sregs)
        ckd_engine_paging(pointee.engine, &pointee.cr0, &pointee.cr3, &pointee.cr4)
        guard pointee.cr0 & 1 == 0, vector * 4 + 3 <= UInt32(pointee.sregs.idt.limit) else { return false }
        let old = pointee.regs, stack = (old.rsp &- 6) & 0xffff
        let handler = withUnsafeTemporaryAllocation(of: UInt16.self, capacity: 5) { words -> (UInt64, UInt16)? in
            words.initialize(repeating: 0)
            let bytes = UnsafeMutableRawBufferPointer(words)
            let entry = UnsafeMutableRawBufferPointer(rebasing: bytes[..<4])
            guard copyGuest(pointee.sregs.idt.base &+ UInt64(vector * 4), entry, write: false) else { return nil }
            words[2] = UInt16(truncatingIfNeeded: old.rip)
            words[3] = pointee.sregs.cs.selector
            words[4] = UInt16(truncatingIfNeeded: old.rflags)
            let pushed = UnsafeMutableRawBufferPointer(rebasing: bytes[4...])
            guard copyGuest(pointee.sregs.ss.base &+ stack, pushed, write: true) else { return nil }
            return (UInt64(words[0]), words[1])
        }
        guard let (offset, segment) = handler else { return false }
        pointee.sregs.cs.selector = segment
        pointee.sregs.cs.base = UInt64(segment) << 4
        pointee.regs.rsp = old.rsp & ~0xffff | stack
        pointee.regs.rip = offset
        pointee.regs.rflags = old.rflags & ~(trapFlag | interruptFlag | alignmentCheck)
        ckd_engine_load_system(pointee.engine, &pointee.sregs)
        ckd_engine_load(pointee.engine, &pointee.regs)
        return true
    }

    private func gate(_ vector: UInt32) -> Gate? {
        ckd_engine_store_system(pointee.engine, &pointee.sregs)
        guard vector * 16 + 15 <= UInt32(pointee.sregs.idt.limit) else { return nil }
        return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2) { words -> Gate? in
            let at = pointee.sregs.idt.base &+ UInt64(vector * 16)
            guard copyGuest(at, UnsafeMutableRawBufferPointer(words), write: false) else { return nil }
            return Gate(low: words[0], high: words[1])
        }
    }

    /// Delivers what stopped the guest, if it is the guest's own affair.  A fault on the way to the handler that
    /// only wants another try leaves the exception for that; any other is a triple fault.
    func deliver() {
        let isPageFault = why == CKD_STOP_PAGE_FAULT
        let vector = isPageFault ? 14 : pointee.vector
        if isPageFault { ckd_engine_set_cr2(pointee.engine, pointee.fault_gva) }
        let code = isPageFault ? pointee.fault_code : 0
        while true {
            if inject(vector, code: code) {
                why = CKD_STOP_NONE
                return
            }
            if why != CKD_STOP_AGAIN { break }
            why = CKD_STOP_NONE
            leaveGuest()
            enterGuest()
        }
        if why == CKD_STOP_RING_FULL || why == CKD_STOP_ERROR { return } // the instruction is made again, and faults again
        sayInstruction(isPageFault ? "no handler for the guest's page fault" : "no handler for the guest's exception")
        why = CKD_STOP_TRIPLE_FAULT
    }

    /// Names the instruction that the guest stands at.
    func sayInstruction(_ what: StaticString) {
        let rip = ckd_engine_linear_rip(pointee.engine)
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 15) { bytes in
            let there = copyGuest(rip, UnsafeMutableRawBufferPointer(bytes), write: false)
            ckd_say_instruction(what.text, rip, bytes.baseAddress, there ? 15 : 0)
        }
    }
}
