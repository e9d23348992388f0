// SPDX-License-Identifier: GPL-2.0-only
// Kicks, and the handshakes of a flush and of a request to leave.  Whoever asks sets a word and waits until the vCPU is
// outside the guest; the vCPU looks at it before each block, on the engine's own thread, and stops there.  So no
// instruction is ever made twice, and none uses a translation after flush_tlb has returned.
import CKVMDevice

extension VCPU {
    /// The guest's code is about to run: on a root that is valid, and without translations that were to be forgotten.
    func enterGuest() {
        // Pairs with the exchange in ask(): either it sees us inside, or we its wish.
        _ = ckd_swap(&pointee.in_guest, 1)
        while ckd_load(&pointee.leave) != 0 {
            leaveGuest()
            _ = ckd_swap(&pointee.leave, 0)
            // Another root makes the library ask for a flush, here and now.  Without one the guest's first access says why.
            _ = kvm_mmu_load(pointee.kvm_vcpu)
            _ = ckd_swap(&pointee.in_guest, 1)
        }
        if ckd_load(&pointee.flush) != 0 { flush() }
    }

    /// The same in the middle of an instruction, where the engine forgets nothing and the root stays.  Returns whether
    /// something is asked: then the instruction is left, and made again.
    func enterGuestAgain() -> Bool {
        _ = ckd_swap(&pointee.in_guest, 1)
        return ckd_load(&pointee.flush) | ckd_load(&pointee.leave) != 0
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
    func forgetTranslations() { ask(&pointee.flush) }

    /// Makes the vCPU leave the guest once.  Its translations stay: a real CPU's do, too.
    fileprivate func leaveOnce() { ask(&pointee.leave) }

    /// Sets the word, and waits until the vCPU has taken note of it or is outside.
    private func ask(_ word: UnsafeMutablePointer<UInt32>) {
        _ = ckd_swap(word, 1)
        // The vCPU's own thread is outside the guest when it changes page tables.
        guard ckd_current() != self else { return }
        var rounds = 0
        while ckd_load(&pointee.in_guest) != 0, ckd_load(word) != 0 {
            rounds += 1
            if rounds & 63 == 0 { ckd_yield() } else { ckd_relax() }
        }
    }
}

/// The library's flush_tlb: all vCPUs of the VM forget everything.  (A CPU may forget more than it must.)
func flushTLB(_ context: UnsafeMutableRawPointer?, _: UnsafeMutablePointer<kvm>?, _: gfn_t, _: UInt64) {
    let vm = context!.assumingMemoryBound(to: ckd_vm.self)
    for case let vcpu? in vm.vcpus { vcpu.forgetTranslations() }
}

/// The library asks one vCPU to leave the guest, or to forget what it knows of its old root.
func vcpuRequest(
    _ context: UnsafeMutableRawPointer?, _: UnsafeMutablePointer<kvm>?, _ asked: OpaquePointer?,
    _ request: tdpmmu_request
) {
    let vm = context!.assumingMemoryBound(to: ckd_vm.self)
    for case let vcpu? in vm.vcpus where vcpu.pointee.kvm_vcpu == asked {
        if request == TDPMMU_REQ_TLB_FLUSH { vcpu.forgetTranslations() } else { vcpu.leaveOnce() }
    }
}
