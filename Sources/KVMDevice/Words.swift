// SPDX-License-Identifier: GPL-2.0-only
// Words that all files of the module use.
import CKVMDevice

typealias VM = UnsafeMutablePointer<ckd_vm>
typealias VCPU = UnsafeMutablePointer<ckd_vcpu>

extension UnsafeMutablePointer<ckd_object> {
    var vm: VM { UnsafeMutableRawPointer(self).assumingMemoryBound(to: ckd_vm.self) }
    var vcpu: VCPU { UnsafeMutableRawPointer(self).assumingMemoryBound(to: ckd_vcpu.self) }
    var stats: UnsafeMutablePointer<ckd_stats> {
        UnsafeMutableRawPointer(self).assumingMemoryBound(to: ckd_stats.self)
    }
}

extension VM {
    var object: UnsafeMutablePointer<ckd_object> {
        UnsafeMutableRawPointer(self).assumingMemoryBound(to: ckd_object.self)
    }

    /// The vCPUs that are there now; more may come.
    var vcpus: UnsafeMutableBufferPointer<VCPU?> {
        UnsafeMutableBufferPointer(start: ckd_vcpus(self), count: Int(ckd_load(&pointee.vcpus)))
    }
}

extension VCPU {
    var object: UnsafeMutablePointer<ckd_object> {
        UnsafeMutableRawPointer(self).assumingMemoryBound(to: ckd_object.self)
    }

    var vm: VM { pointee.vm }

    var why: ckd_stop {
        get { ckd_stop(pointee.stop) }
        nonmutating set { pointee.stop = newValue.rawValue }
    }
}

/// A message for ckd_say() and its like.
extension StaticString {
    var text: UnsafePointer<CChar> { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}

/// The structure of an ioctl, as its handler knows it.
extension Optional<UnsafeMutableRawPointer> {
    func of<T>(_: T.Type) -> UnsafeMutablePointer<T> { self!.assumingMemoryBound(to: T.self) }
}
