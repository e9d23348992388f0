// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import LibraryClient

/// A VM of the loaded library, with the host and the CPUs around it; what it tells is written down.
final class TestVM {
    let setup: Setup
    private(set) var kvm: UnsafeMutablePointer<kvm>!
    var slots = [HostSlot?](repeating: nil, count: Parameter.slots)
    var vcpus = [OpaquePointer?](repeating: nil, count: Parameter.vcpus)
    /// How far each vCPU's ring has been harvested.
    var harvested = [UInt32](repeating: 0, count: Parameter.vcpus)
    /// Every root that may be alive, oldest first.
    private(set) var roots: [UnsafeMutablePointer<kvm_mmu_page>] = []
    /// Ranges of host addresses that are being invalidated.
    var invalidations: [(start: UInt64, end: UInt64)] = []
    var observations = Observations()
    /// When the operation began.
    private var yieldsBefore: UInt64 = 0
    /// No fault maps higher.
    var largestLevel = 3
    var yielding = Yielding()
    private(set) var isDestroyed = false
    /// Called where a walk has let go of mmu_lock.
    var hasYielded: (() -> Void)?

    /// nil with errno.
    init?(_ setup: Setup) {
        self.setup = setup
        var operations = Self.callbacks
        var config = Self.config(setup)
        config.ops_ctx = Unmanaged.passUnretained(self).toOpaque()
        let created = withUnsafePointer(to: &operations) {
            config.ops = $0
            return tdpmmu_create_vm(&config)
        }
        guard let created else { return nil }
        kvm = created
        if setup.ringBytes > 0 { _ = enable(UInt32(KVM_CAP_DIRTY_LOG_RING), UInt64(setup.ringBytes)) }
    }

    private static func config(_ setup: Setup) -> tdpmmu_vm_config {
        var config = tdpmmu_vm_config()
        config.size = MemoryLayout<tdpmmu_vm_config>.size
        config.vendor = setup.vendor == .npt ? TDPMMU_NPT.rawValue : TDPMMU_EPT.rawValue
        config.root_level = UInt32(setup.rootLevel)
        config.maxphyaddr = UInt32(setup.physicalBits)
        config.ad_disabled = setup.vendor == .eptWithoutAD ? 1 : 0
        config.nx_huge_pages = setup.noExecutableHugePages ? 1 : 0
        config.no_eager_split = setup.splitsEagerly ? 0 : 1
        config.no_pml = setup.pageModificationLogging ? 0 : 1
        config.dirty_log = UInt32(logMode(setup.log))
        config.zap_slot_only = setup.zapsSlotOnly ? 1 : 0
        config.l1tf_cache_bits = UInt32(setup.l1tfCacheBits)
        return config
    }

    private static func logMode(_ log: Setup.Log) -> UInt64 {
        switch log {
        case .plain: 0
        case .manual: 1
        case .initset: 3
        }
    }

    /// 0 or -errno.
    func enable(_ capability: UInt32, _ argument: UInt64) -> Int {
        var request = kvm_enable_cap()
        request.cap = capability
        request.args.0 = argument
        return Int(kvm_vm_ioctl_enable_cap(kvm, &request))
    }

    /// Whatever it complains of then is still told.
    func destroy() {
        isDestroyed = true
        tdpmmu_destroy_vm(kvm)
        roots = []
    }
}

/// Roots.
extension TestVM {
    func root(_ vcpu: OpaquePointer) -> UnsafeMutablePointer<kvm_mmu_page>? { tdpmmu_vcpu_root(vcpu) }

    /// Those that died go, the one that a vCPU has by now comes.
    func noteRoots() {
        insideRCU {
            roots.removeAll { !isAlive($0) }
            for vcpu in vcpus {
                guard let vcpu, let root = root(vcpu), !roots.contains(root) else { continue }
                roots.append(root)
            }
        }
    }

    private func isAlive(_ root: UnsafeMutablePointer<kvm_mmu_page>) -> Bool {
        guard tdpmmu_table_hpa(root) != UInt64.max else { return false }
        let page = root.pointee
        return page.tdp_mmu_page && page.kvm == kvm && page.ptep == nil && page.tdp_mmu_root_count > 0
            && Int(page.role.level) == setup.rootLevel
    }

    /// All that is told from here on is told of one operation.
    func beginOperation(keepsTexts: Bool) {
        observations = Observations(keepsTexts: keepsTexts)
        yielding.beginOperation()
        if !isDestroyed { yieldsBefore = stats.yields }
    }

    /// Of this operation.
    var yields: UInt64 { stats.yields &- yieldsBefore }

    var stats: tdpmmu_stats {
        var stats = tdpmmu_stats()
        tdpmmu_get_stats(kvm, &stats, MemoryLayout<tdpmmu_stats>.size)
        return stats
    }
}

/// When walks give way, and what comes then.
struct Yielding {
    /// Every so many times that a walk asks; 0: never.
    var every: UInt64 = 0
    /// Since the operation began: what one library asks more than the other moves no later yield.
    private var asked: UInt64 = 0
    /// Operations to be made when walks have given way so many times more.
    var waiting: [(countdown: UInt64, operation: Operation)] = []

    mutating func beginOperation() { asked = 0 }

    mutating func isWanted() -> Bool {
        guard every > 0 else { return false }
        asked += 1
        return asked % every == 0
    }

    /// Of those that wait, what is to be made now.
    mutating func take() -> [Operation] {
        for index in waiting.indices { waiting[index].countdown -= 1 }
        let now = waiting.filter { $0.countdown == 0 }.map(\.operation)
        waiting.removeAll { $0.countdown == 0 }
        return now
    }
}
