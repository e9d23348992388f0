// SPDX-License-Identifier: GPL-2.0-only
// What is looked at before each block of the guest's code: wishes of others, signals, the end of the turn.
import CKVMDevice

@c @implementation
public func ckd_block(_ vcpu: UnsafeMutablePointer<ckd_vcpu>!, _ gva: UInt64, _ size: UInt32) {
    let vcpu: VCPU = vcpu
    if vcpu.readBlock(gva, size) {
        ckd_engine_forget_code(vcpu.pointee.engine)
        vcpu.pointee.asked = true
        return ckd_engine_stop(vcpu.pointee.engine)
    }
    let wanted = ckd_peek(&vcpu.pointee.flush) | ckd_peek(&vcpu.pointee.leave) | ckd_peek(&vcpu.pointee.kick)
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
