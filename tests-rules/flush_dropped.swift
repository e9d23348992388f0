// SPDX-License-Identifier: GPL-2.0-only
// refused: deinit of non-copyable type not visible in the current module
import MMU
import PageTable
import Sync

@_cdecl("tdpmmu_version")
public func forgets(_ vcpu: OpaquePointer) {
    let vm = VCPU(vcpu).vm
    vm.lock.write { hold in
        let flush = vm.zapRange(start: GFN(0), end: GFN(1), &hold)
        if flush.isOwed { vm.wakeUp() }
    }
}

extension VM { func wakeUp() { lock.readUnlock() } }
