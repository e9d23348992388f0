// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import LibraryClient

/// What concerns the whole VM, and what is only looked at.
extension Performer {
    func otherResult(_ call: Call) -> String {
        let kvm = call.kvm
        switch call.kind {
        case .zapall: kvm.lockedForWrite { kvm_tdp_mmu_zap_all(kvm) }
        case .zapfast: kvm_mmu_zap_all_fast(kvm)
        case .invalidate: kvm.lockedForWrite { kvm_tdp_mmu_invalidate_all_roots(kvm) }
        case .zapinvalid: kvm_tdp_mmu_zap_invalidated_roots(kvm)
        case .nx: return text(status: Int(tdpmmu_set_nx_huge_pages(kvm, call[0] != 0)))
        case .recover: return text(status: Int(tdpmmu_nx_recover(kvm, UInt32(clamping: call[0]))))
        case .eager: return text(status: Int(tdpmmu_set_eager_page_split(kvm, call[0] != 0)))
        case .logmode: return text(status: call.vm.enable(UInt32(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2), call[0]))
        case .yield: call.vm.yielding.every = call[0]
        case .barrier: rcu_barrier()
        case .stats: return stats(call.vm)
        default: return "unknown"
        }
        return "ok"
    }

    /// With what is only right when all that was unlinked is gone.
    private func stats(_ vm: TestVM) -> String {
        rcu_barrier()
        let stats = vm.stats
        return "4k=\(stats.pages_4k) 2m=\(stats.pages_2m) 1g=\(stats.pages_1g) "
            + "tables=\(stats.tables &- stats.tables_stray &- stats.roots) roots=\(stats.roots) nx=\(stats.nx_splits) "
            + "yields=\(stats.yields)"
    }
}
