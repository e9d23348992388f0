// SPDX-License-Identifier: GPL-2.0-only
// KVM_RUN: into the guest, until something is userspace's affair.
import CKVMDevice

private let kernelModeBits = UInt64(1 << 10) // EFER.LMA

/// What the loop does after the guest has stopped.
private enum Next {
    case goOn
    case exit(Int32)
}

@c @implementation
public func ckd_run(
    _ object: UnsafeMutablePointer<ckd_object>!, _: UnsafeMutableRawPointer!, _ argument: UInt64
) -> Int32 {
    let vcpu = object!.vcpu
    guard argument == 0 else { return -EINVAL }
    if let missing = ckd_engine_missing() {
        ckd_say(missing, 0)
        return -ENOEXEC
    }
    if vcpu.pointee.mp_state.mp_state == UInt32(KVM_MP_STATE_UNINITIALIZED) { return -EAGAIN }
    // Before the engine is made, which takes milliseconds: a signal meanwhile is a kick.
    ckd_set_current(vcpu)
    guard vcpu.hasEngine() else {
        ckd_set_current(nil)
        return -ENOMEM
    }
    vcpu.pointee.runs += 1
    let kvm = vcpu.vm.pointee.kvm!
    let result = kvm.marked("run", { kvm.mark("run vcpu", UInt64(vcpu.pointee.id)) }, {
        let result = vcpu.run()
        // What the CPU logged is in the dirty log before userspace looks.
        tdpmmu_cpu_exit(vcpu.pointee.kvm_vcpu)
        return result
    })
    withUnsafeMutablePointer(to: &vcpu.pointee.regs) { ckd_engine_store(vcpu.pointee.engine, $0) }
    ckd_set_current(nil)
    if ckd_options().pointee.trace != 0 {
        ckd_trace_exit(vcpu.pointee.id, vcpu.pointee.run.pointee.exit_reason, result, vcpu.pointee.regs.rip)
    }
    return result
}

extension VCPU {
    private var bits: UInt32 {
        if pointee.sregs.efer & kernelModeBits != 0 { return 64 }
        return pointee.sregs.cr0 & 1 != 0 ? 32 : 16
    }

    /// An engine of the mode that the registers ask for.
    func hasEngine() -> Bool {
        if pointee.engine != nil, !pointee.sregs_changed || pointee.mode == bits { return true }
        ckd_engine_free(pointee.engine)
        pointee.mode = bits
        pointee.engine = ckd_engine_make(Int32(bits), self)
        forgetBlocks()
        pointee.regs_changed = true
        pointee.sregs_changed = true
        return pointee.engine != nil
    }

    private func loadRegisters() {
        if pointee.sregs_changed {
            pointee.sregs_changed = false
            pointee.cr0 = pointee.sregs.cr0
            pointee.cr3 = pointee.sregs.cr3
            pointee.cr4 = pointee.sregs.cr4
            ckd_engine_load_system(pointee.engine, &pointee.sregs)
            // Who gives a vCPU another state may have given it another program.
            ckd_engine_forget_code(pointee.engine)
            forgetBlocks()
            ckd_store(&pointee.flush, 1)
        }
        if pointee.regs_changed {
            pointee.regs_changed = false
            ckd_engine_load(pointee.engine, &pointee.regs)
        }
    }

    private var signalIsPending: Bool { pointee.has_signal_mask && ckd_signal_pending(pointee.signal_mask) }

    fileprivate func run() -> Int32 {
        if pointee.port_pending == 1 { finishPortInput() }
        // First of all: what the engine has when this returns are the registers.
        loadRegisters()
        if pointee.port_pending == 2, !finishString() {
            guard why == CKD_STOP_RING_FULL || why == CKD_STOP_ERROR, case .exit(let result) = act() else {
                pointee.port_pending = 0
                return internalError("what a port gave has nowhere to go")
            }
            return result
        }
        if pointee.mmio_read_pending != 0 {
            takeTurn()
            let writes = finishMMIO()
            giveTurn()
            if writes { return tellMMIO() }
        }
        // KVM leaves exit_reason as it was.
        if pointee.run.pointee.immediate_exit != 0 { return -EINTR }
        while true {
            if ckd_load(&pointee.kick) != 0 || signalIsPending {
                pointee.run.pointee.exit_reason = UInt32(KVM_EXIT_INTR)
                return -EINTR
            }
            let loaded = kvm_mmu_load(pointee.kvm_vcpu)
            if loaded < 0 { return loaded }
            if case .exit(let result) = runOnce() { return result }
        }
    }

    /// One turn in the guest, and what comes of it.
    private func runOnce() -> Next {
        takeTurn()
        defer { giveTurn() }
        why = CKD_STOP_NONE
        pointee.asked = false
        enterGuest()
        let complaint = ckd_engine_run(pointee.engine, 0)
        if why == CKD_STOP_NONE { classify(complaint) }
        if why == CKD_STOP_STRING { beginString() }
        if why == CKD_STOP_PAGE_FAULT || why == CKD_STOP_EXCEPTION { deliver() }
        leaveGuest()
        return act()
    }

    /// No hook has said why it stopped: a HLT, or because it was asked to.
    private func classify(_ complaint: UnsafePointer<CChar>?) {
        if let complaint {
            ckd_say(complaint, ckd_engine_rip(pointee.engine))
            sayInstruction("the engine cannot go on")
            why = CKD_STOP_ENGINE
            return
        }
        if pointee.asked { return }
        let rip = ckd_engine_linear_rip(pointee.engine)
        var opcode: UInt8 = 0
        var there = false
        repeat {
            why = CKD_STOP_NONE
            leaveGuest()
            enterGuest()
            there = withUnsafeMutableBytes(of: &opcode) { copyGuest(rip &- 1, $0, write: false) }
        } while !there && why == CKD_STOP_AGAIN
        why = there && opcode == 0xf4 ? CKD_STOP_HALT : CKD_STOP_NONE
    }

    private func act() -> Next {
        let run = pointee.run!
        switch why {
        case CKD_STOP_PORT, CKD_STOP_STRING: return .exit(tellPort())
        case CKD_STOP_HALT: run.pointee.exit_reason = UInt32(KVM_EXIT_HLT)
        case CKD_STOP_TRIPLE_FAULT: run.pointee.exit_reason = UInt32(KVM_EXIT_SHUTDOWN)
        case CKD_STOP_RING_FULL: run.pointee.exit_reason = UInt32(KVM_EXIT_DIRTY_RING_FULL)
        case CKD_STOP_ENGINE: return .exit(internalError(nil))
        case CKD_STOP_TABLES: return .exit(internalError("the guest's page tables are where no memory is"))
        case CKD_STOP_ERROR:
            run.pointee.exit_reason = UInt32(KVM_EXIT_UNKNOWN)
            return .exit(pointee.error)
        case CKD_STOP_MMIO:
            // No instruction can be fetched from where no memory is.
            if pointee.fault_access & fetchAccess != 0 {
                return .exit(internalError("an instruction is fetched from where no memory is"))
            }
            if beginMMIO() { return .exit(tellMMIO()) }
            return why == CKD_STOP_TABLES ? .exit(internalError("the guest's page tables are where no memory is")) : .goOn
        default: return .goOn
        }
        return .exit(0)
    }

    private func internalError(_ reason: StaticString?) -> Int32 {
        if let reason { ckd_say(reason.text, pointee.fault_gpa) }
        let run = pointee.run!
        run.pointee.exit_reason = UInt32(KVM_EXIT_INTERNAL_ERROR)
        run.pointee.internal.suberror = UInt32(KVM_INTERNAL_ERROR_EMULATION)
        run.pointee.internal.ndata = 0
        return 0
    }

    private func tellPort() -> Int32 {
        let run = pointee.run!
        run.pointee.exit_reason = UInt32(KVM_EXIT_IO)
        run.pointee.io.direction = UInt8(pointee.port_in != 0 ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT)
        run.pointee.io.size = pointee.port_size
        run.pointee.io.port = pointee.port
        run.pointee.io.count = pointee.port_count
        run.pointee.io.data_offset = 4096
        pointee.port_pending = pointee.port_in == 0 ? 0 : why == CKD_STOP_STRING ? 2 : 1
        return 0
    }

    private func tellMMIO() -> Int32 {
        // kvm_run has room for so many.
        guard pointee.mmio_size <= 8 else {
            pointee.mmio_read_pending = 0
            return internalError("more than eight bytes of a device are accessed at once")
        }
        let run = pointee.run!
        run.pointee.exit_reason = UInt32(KVM_EXIT_MMIO)
        run.pointee.mmio.phys_addr = pointee.mmio_page | UInt64(pointee.mmio_offset)
        run.pointee.mmio.len = UInt32(pointee.mmio_size)
        run.pointee.mmio.is_write = pointee.mmio_write
        if pointee.mmio_write != 0 {
            ckd_mmio_data(run).storeBytes(of: pointee.mmio_value, as: UInt64.self)
        }
        return 0
    }
}

@c @implementation
public func ckd_thread_died(_ vcpu: UnsafeMutablePointer<ckd_vcpu>!) {
    let vcpu: VCPU = vcpu
    // Its engine stands in the middle of an instruction and goes unused; the registers are those of the last exit.
    vcpu.leaveGuest()
    if vcpu.hasTurn { vcpu.giveTurn() }
    vcpu.pointee.engine = nil
    vcpu.pointee.regs_changed = true
    vcpu.pointee.sregs_changed = true
    ckd_drop(&vcpu.pointee.lock)
    ckd_put(vcpu.object)
}
