// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import LibraryClient

/// The TDP MMU's operations on ranges, slots and tables.
extension Performer {
    func leafResult(_ call: Call) -> String? {
        let kvm = call.kvm
        return switch call.kind {
        case .zapleafs: text(kvm.lockedForWrite { kvm_tdp_mmu_zap_leafs(kvm, call[0], call[1], false) })
        case .unmap: call.withRange { range in text(kvm.lockedForWrite { kvm_tdp_mmu_unmap_gfn_range(kvm, range, false) }) }
        case .zapsp: call.withVCPU { zapTable(call, $0) }
        case .wrprot: call.withSlot { _, slot in
            text(kvm.lockedForRead { kvm_tdp_mmu_wrprot_slot(kvm, slot, Int32(call[1, default: 1])) })
        }
        case .wrprotgfn: call.withSlot { _, slot in
            text(kvm.lockedForWrite { kvm_tdp_mmu_write_protect_gfn(kvm, slot, call[1], Int32(call[2, default: 1])) })
        }
        case .cleardirty: call.withSlot { _, slot in text(kvm.lockedForRead { kvm_tdp_mmu_clear_dirty_slot(kvm, slot) }) }
        case .cleardirtymask: clearDirtyMasked(call)
        case .age: call.withRange { range in text(kvm.lockedForWrite { kvm_tdp_mmu_age_gfn_range(kvm, range) }) }
        case .testage: call.withRange { range in text(kvm.lockedForWrite { kvm_tdp_mmu_test_age_gfn(kvm, range) }) }
        case .split: call.withRange { split(call, $0.pointee) }
        case .collapse: call.withSlot { _, slot in
            kvm.lockedForRead { kvm_tdp_mmu_zap_collapsible_sptes(kvm, slot) }
            return "ok"
        }
        default: nil
        }
    }

    private func zapTable(_ call: Call, _ vcpu: OpaquePointer) -> String {
        guard let root = tdpmmu_vcpu_root(vcpu) else { return "no root" }
        let kvm = call.kvm
        return kvm.lockedForWrite {
            let table = insideRCU { Tables.table(root, gfn: call[1], level: Int(call[2])) }
            guard let table, table.pointee.ptep != nil else { return "none" }
            return text(kvm_tdp_mmu_zap_sp(kvm, table))
        }
    }

    private func clearDirtyMasked(_ call: Call) -> String {
        call.withSlot { _, slot in
            guard call[2] != 0 else { return "nothing" }
            call.kvm.lockedForWrite {
                kvm_tdp_mmu_clear_dirty_pt_masked(call.kvm, slot, call[1], UInt(call[2]), call[3] != 0)
            }
            return "ok"
        }
    }

    private func split(_ call: Call, _ range: kvm_gfn_range) -> String {
        let isShared = call[4, default: 1] != 0, level = Int32(min(call[3, default: 1], 2))
        let body = {
            Int(kvm_tdp_mmu_try_split_huge_pages(call.kvm, range.slot, range.start, range.end, level, isShared))
        }
        return text(status: isShared ? call.kvm.lockedForRead(body) : call.kvm.lockedForWrite(body))
    }
}
