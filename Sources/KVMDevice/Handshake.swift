// SPDX-License-Identifier: GPL-2.0-only
// Kicks, and the handshake of a flush.  Whoever asks sets a word and waits until the vCPU is outside the guest;
// the vCPU looks at it before each block, on the engine's own thread, and stops there.  So no instruction is
// ever made twice, and none uses a translation after flush_tlb has returned.
import CKVMDevice

extension VCPU {
    /// The guest's code is about to run: translations that were to be forgotten are.
    func enterGuest() {
        // Pairs with the fence in forgetTranslations(): either it sees us inside, or we its wish.
        _ = ckd_swap(&pointee.in_guest, 1)
        if ckd_load(&pointee.flush) != 0 { flush() }
    }

    /// Nothing of the guest's translations is used from here on.
    func leaveGuest() { _ = ckd_swap(&pointee.in_guest, 0) }

    /// Forgets what is remembered, on the vCPU's own thread.
    func flush() {
        _ = ckd_swap(&pointee.flush, 0)
        pointee.flushes += 1
        forgetCached()
        if let engine = pointee.engine { ckd_engine_flush(engine) }
    }

    /// Makes the vCPU forget all translations; on return it uses none of them any more.
    func forgetTranslations() {
        _ = ckd_swap(&pointee.flush, 1)
        // The vCPU's own thread is outside the guest when it changes page tables.
        guard ckd_current() != self else { return }
        var rounds = 0
        while ckd_load(&pointee.in_guest) != 0, ckd_load(&pointee.flush) != 0 {
            rounds += 1
            if rounds & 63 == 0 { ckd_yield() } else { ckd_relax() }
        }
    }
}

@c @implementation
public func ckd_block(_ vcpu: UnsafeMutablePointer<ckd_vcpu>!, _ gva: UInt64, _ size: UInt32) {
    let vcpu: VCPU = vcpu
    if vcpu.readBlock(gva, size) {
        ckd_engine_forget_code(vcpu.pointee.engine)
        vcpu.pointee.asked = true
        return ckd_engine_stop(vcpu.pointee.engine)
    }
    let wanted = ckd_peek(&vcpu.pointee.flush) | ckd_peek(&vcpu.pointee.kick)
    guard wanted != 0 || vcpu.turnIsOver || vcpu.signalWaits else { return }
    vcpu.pointee.asked = true
    ckd_engine_stop(vcpu.pointee.engine)
}

extension VCPU {
    /// A signal that only KVM_SET_SIGNAL_MASK lets through runs no handler: it has to be asked for.
    fileprivate var signalWaits: Bool {
        guard pointee.has_signal_mask, pointee.blocks & 4095 == 0 else { return false }
        return ckd_signal_pending(pointee.signal_mask)
    }
}

/// The library's flush_tlb: all vCPUs of the VM forget everything.  (A CPU may forget more than it must.)
func flushTLB(_ context: UnsafeMutableRawPointer?, _: UnsafeMutablePointer<kvm>?, _: gfn_t, _: UInt64) {
    let vm = context!.assumingMemoryBound(to: ckd_vm.self)
    for case let vcpu? in vm.vcpus { vcpu.forgetTranslations() }
}

/// The library asks one vCPU to leave the guest.
func vcpuRequest(
    _ context: UnsafeMutableRawPointer?, _: UnsafeMutablePointer<kvm>?, _ asked: OpaquePointer?, _: tdpmmu_request
) {
    let vm = context!.assumingMemoryBound(to: ckd_vm.self)
    for case let vcpu? in vm.vcpus where vcpu.pointee.kvm_vcpu == asked { vcpu.forgetTranslations() }
}
