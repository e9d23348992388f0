// SPDX-License-Identifier: GPL-2.0-only
// accepted: the same steps as in the files beside this one, as the rules have them
import CTDPMMU
import MMU
import PageTable
import RCU
import Sync

func reads(_ table: Table) -> SPTE { insideRCU { rcu in table[0].load(rcu) } }
func reads(_ vcpu: VCPU) -> Int32 { insideRCU { rcu in vcpu.root(rcu)?.level.raw ?? 0 } }
func looks(_ vm: VM) -> Bool { insideRCU { rcu in vm.slot(holding: GFN(0), addressSpace: 0, rcu) != nil } }
func zaps(_ vm: VM) { vm.lock.write { hold in vm.zapAll(&hold) } }

func pays(_ vm: VM) {
    vm.lock.write { hold in
        vm.zapRange(start: GFN(0), end: GFN(1), &hold).pay { vm.flushAll() }
    }
}

func puts(_ vcpu: VCPU) {
    if let root = vcpu.acquireRoot() { root.put(vcpu.vm) }
}

@_cdecl("tdpmmu_version")
public func useAll(_ vcpu: OpaquePointer) {
    let vcpu = VCPU(vcpu)
    if reads(vcpu) == 4, looks(vcpu.vm) { zaps(vcpu.vm) }
    pays(vcpu.vm)
    puts(vcpu)
}
