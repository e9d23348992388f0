// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace

/// Dirty logs and switches.
extension Machine {
    /// KVM_GET_DIRTY_LOG: 0 or -errno, and the slot's bitmap.
    func getDirtyLog(slot id: UInt32) -> (result: Int, bitmap: [UInt64]) {
        var bitmap = [UInt64](repeating: 0, count: Int(clamping: ((slot(id: id)?.pages ?? 0) + 63) / 64))
        var log = kvm_dirty_log()
        log.slot = id
        let result = bitmap.withUnsafeMutableBytes {
            log.dirty_bitmap = $0.baseAddress
            return Int(kvm_vm_ioctl_get_dirty_log(kvm, &log))
        }
        return (result, bitmap)
    }

    /// KVM_CLEAR_DIRTY_LOG: 0 or -errno.  bitmap: one bit a page from `first` on.
    func clearDirtyLog(slot id: UInt32, first: UInt64, count: UInt64, _ bitmap: [UInt64]) -> Int {
        var bitmap = bitmap
        var log = kvm_clear_dirty_log()
        log.slot = id
        log.first_page = first
        // A count that does not fit is refused like any other nonsense.
        log.num_pages = UInt32(clamping: count)
        return bitmap.withUnsafeMutableBytes {
            log.dirty_bitmap = $0.baseAddress
            return Int(kvm_vm_ioctl_clear_dirty_log(kvm, &log))
        }
    }

    /// Capabilities that the TDP MMU obeys.
    enum Capability: String {
        case manualDirtyLogProtect = "MANUAL_DIRTY_LOG_PROTECT2"
        case disableQuirks = "DISABLE_QUIRKS2"
        case dirtyLogRing = "DIRTY_LOG_RING"
        case dirtyLogRingAcquireRelease = "DIRTY_LOG_RING_ACQ_REL"

        var number: Int32 {
            switch self {
            case .manualDirtyLogProtect: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2
            case .disableQuirks: KVM_CAP_DISABLE_QUIRKS2
            case .dirtyLogRing: KVM_CAP_DIRTY_LOG_RING
            case .dirtyLogRingAcquireRelease: KVM_CAP_DIRTY_LOG_RING_ACQ_REL
            }
        }

        private static var all: [Self] {
            [.manualDirtyLogProtect, .disableQuirks, .dirtyLogRing, .dirtyLogRingAcquireRelease]
        }

        /// By its name, with or without KVM_CAP_, or its number; nil: not the TDP MMU's business.
        init?(_ text: String) {
            let name = text.hasPrefix("KVM_CAP_") ? String(text.dropFirst(8)) : text
            guard let found = Self(rawValue: name) ?? Self.all.first(where: { "\($0.number)" == name }) else { return nil }
            self = found
        }
    }

    /// KVM_ENABLE_CAP: 0 or -errno.
    func enable(_ wanted: Capability, _ argument: UInt64) -> Int {
        var capability = kvm_enable_cap()
        capability.cap = UInt32(wanted.number)
        // The library knows the one quirk that is about the TDP MMU.
        capability.args.0 = wanted == .disableQuirks ? argument & UInt64(TDPMMU_QUIRK_SLOT_ZAP_ALL) : argument
        return Int(kvm_vm_ioctl_enable_cap(kvm, &capability))
    }

    func setNoExecutableHugePages(_ on: Bool) -> Int { Int(tdpmmu_set_nx_huge_pages(kvm, on)) }

    func setEagerSplit(_ on: Bool) -> Int { Int(tdpmmu_set_eager_page_split(kvm, on)) }

    /// KVM_RESET_DIRTY_RINGS: how many entries, or -errno.
    func resetDirtyRings() -> Int { Int(kvm_vm_ioctl_reset_dirty_pages(kvm)) }

    /// Entry `index` of the vCPU's ring, if it is dirty and not harvested yet; marks it
    /// as harvested if asked to.
    func ringEntry(vcpu id: Int, _ index: UInt32, harvest: Bool) -> RingEntry? {
        guard let ring = ring(vcpu: id) else { return nil }
        let entry = ring.entries + Int(index & (ring.count - 1))
        guard entry.pointee.flags == RingFlags.dirty else { return nil }
        let found = RingEntry(slot: entry.pointee.slot, offset: entry.pointee.offset)
        if harvest { entry.pointee.flags = RingFlags.reset }
        return found
    }

    private func ring(vcpu id: Int) -> (entries: UnsafeMutablePointer<kvm_dirty_gfn>, count: UInt32)? {
        var count: UInt32 = 0
        guard let vcpu = vcpuHandle(id), let entries = tdpmmu_vcpu_dirty_ring(vcpu, &count), count > 0 else {
            return nil
        }
        return (entries, count)
    }
}

/// KVM_DIRTY_GFN_F_*, which the header defines with casts.
private enum RingFlags {
    static let dirty: UInt32 = 1 << 0
    static let reset: UInt32 = 1 << 1
}
