// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace
import LibraryClient

/// Operations on slots and parts of them.  All take the slot by a gfn in it, as the
/// kernel's probes show it, and are nil if no slot of the address space holds that.
extension Machine {
    /// RCU is held around body, as long as it needs the slot.
    private func withSlot<Result>(_ addressSpace: Int, _ gfn: UInt64,
                                  _ body: (UnsafePointer<kvm_memory_slot>) -> Result) -> Result?
    {
        // Not RCU: in the middle of a long operation others may come that wait for that.
        kvm.insideSRCU { slot(addressSpace, gfn).map(body) }
    }

    /// kvm->srcu.
    private func slot(_ addressSpace: Int, _ gfn: UInt64) -> UnsafePointer<kvm_memory_slot>? {
        slots.first {
            $0.addressSpace == addressSpace && $0.first <= gfn && gfn - $0.first < $0.pages
        }.flatMap {
            tdpmmu_id_to_memslot(kvm, Int32(clamping: addressSpace), Int32(clamping: $0.id))
        }
    }

    private func withRange<Result>(_ addressSpace: Int, _ start: UInt64, _ end: UInt64,
                                   _ body: (UnsafePointer<kvm_gfn_range>) -> Result) -> Result?
    {
        withSlot(addressSpace, start) { slot in
            var range = kvm_gfn_range()
            range.slot = slot
            range.start = start
            range.end = end
            range.may_block = true
            return body(&range)
        }
    }

    func unmap(_ addressSpace: Int, start: UInt64, end: UInt64, flush: Bool) -> Bool? {
        lockedForWrite { withRange(addressSpace, start, end) { kvm_tdp_mmu_unmap_gfn_range(kvm, $0, flush) } }
    }

    func age(_ addressSpace: Int, start: UInt64, end: UInt64) -> Bool? {
        withRange(addressSpace, start, end) { kvm_tdp_mmu_age_gfn_range(kvm, $0) }
    }

    func testAge(_ addressSpace: Int, start: UInt64, end: UInt64) -> Bool? {
        withRange(addressSpace, start, end) { kvm_tdp_mmu_test_age_gfn(kvm, $0) }
    }

    func writeProtectSlot(_ addressSpace: Int, _ gfn: UInt64, minLevel: Int) -> Bool? {
        lockedForRead {
            withSlot(addressSpace, gfn) { kvm_tdp_mmu_wrprot_slot(kvm, $0, Int32(clamping: minLevel)) }
        }
    }

    func clearDirtySlot(_ addressSpace: Int, _ gfn: UInt64) -> Bool? {
        lockedForRead { withSlot(addressSpace, gfn) { kvm_tdp_mmu_clear_dirty_slot(kvm, $0) } }
    }

    func clearDirtyMasked(_ addressSpace: Int, _ gfn: UInt64, mask: UInt64, writeProtect: Bool) -> Void? {
        lockedForWrite {
            withSlot(addressSpace, gfn) {
                kvm_tdp_mmu_clear_dirty_pt_masked(kvm, $0, gfn, UInt(mask), writeProtect)
            }
        }
    }

    func writeProtect(_ addressSpace: Int, _ gfn: UInt64, minLevel: Int) -> Bool? {
        lockedForWrite {
            withSlot(addressSpace, gfn) { kvm_tdp_mmu_write_protect_gfn(kvm, $0, gfn, Int32(clamping: minLevel)) }
        }
    }

    func split(_ addressSpace: Int, _ call: SplitCall) -> Int? {
        let body = { [self] in
            withSlot(addressSpace, call.start) {
                Int(kvm_tdp_mmu_try_split_huge_pages(
                    kvm, $0, call.start, call.end, Int32(clamping: call.target), call.shared))
            }
        }
        return call.shared ? lockedForRead(body) : lockedForWrite(body)
    }

    func zapCollapsible(_ addressSpace: Int, _ gfn: UInt64) -> Void? {
        lockedForRead { withSlot(addressSpace, gfn) { kvm_tdp_mmu_zap_collapsible_sptes(kvm, $0) } }
    }

    /// The gfn that our table covers from on, and whether it could be zapped; nil if
    /// there is no table at that host-physical address.
    func zapTable(at address: UInt64) -> (gfn: UInt64, zapped: Bool)? {
        lockedForWrite {
            rcu_read_lock()
            let page = to_shadow_page(address)
            rcu_read_unlock()
            return page.map { ($0.pointee.gfn, kvm_tdp_mmu_zap_sp(kvm, $0)) }
        }
    }

    /// Base gfn, pages and flags of the slot with an id.
    func slot(id: UInt32) -> (base: UInt64, pages: UInt64, flags: UInt32)? {
        rcu_read_lock()
        defer { rcu_read_unlock() }
        let slot = tdpmmu_id_to_memslot(kvm, Int32(id >> 16), Int32(id & 0xffff))?.pointee
        return slot.map { ($0.base_gfn, $0.npages, $0.flags) }
    }
}
