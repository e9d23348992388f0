// SPDX-License-Identifier: GPL-2.0-only
// A VM from Swift: faults, and a walk that counts leaves and tables.
//     swiftc -I include -o count_leaves examples/count_leaves.swift -L build -ltdpmmu -Xlinker -rpath -Xlinker $PWD/build
import CTDPMMU

struct Counts {
    var leaves = 0
    var tables = 0
}

guard let kvm = tdpmmu_create_vm(nil), let vcpu = tdpmmu_create_vcpu(kvm, 0) else { fatalError("no VM") }
let pages: UInt64 = 600
var memory = kvm_userspace_memory_region()
memory.memory_size = pages << 12
memory.userspace_addr = 0x1000_1000  // an odd frame: no huge page fits
guard kvm_set_memory_region(kvm, &memory) == 0, kvm_mmu_load(vcpu) == 0 else { fatalError("no memory") }
for gfn in 0..<pages {
    let result = kvm_tdp_mmu_page_fault(vcpu, gfn << 12, TDPMMU_PFERR_WRITE)
    precondition(result == Int32(RET_PF_FIXED.rawValue))
}

var counts = Counts()
let flags = TDPMMU_WALK_LEAF.rawValue | TDPMMU_WALK_TABLE_AFTER.rawValue | TDPMMU_WALK_SHARED.rawValue
tdpmmu_read_lock(&kvm.pointee.mmu_lock)
let status = tdpmmu_walk(kvm, tdpmmu_vcpu_root(vcpu), 0, pages, flags, { _, iter, when, argument in
    guard let iter, let counts = argument?.assumingMemoryBound(to: Counts.self) else { return -22 }
    if when == TDPMMU_WALK_TABLE_AFTER {
        counts.pointee.tables += 1
    } else if iter.pointee.old_spte & TDPMMU_SPTE_PRESENT != 0 {
        counts.pointee.leaves += 1
    }
    return 0
}, &counts)
tdpmmu_read_unlock(&kvm.pointee.mmu_lock)
precondition(status == 0 && counts.leaves == Int(pages) && counts.tables == 4, "\(counts)")
tdpmmu_destroy_vm(kvm)
print("\(counts.leaves) leaves in \(counts.tables) tables below the root")
