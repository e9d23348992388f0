// SPDX-License-Identifier: GPL-2.0-only
import CTDPMMU
import KernelTrace
import LibraryClient

/// The VM under test: the only place that calls libtdpmmu, and only its C ABI.
package final class Machine {
    let kvm: UnsafeMutablePointer<kvm>
    /// The machine that it is made after.
    let recorded: RecordedMachine
    private let log: CallbackLog
    private var vcpus: [Int: OpaquePointer] = [:]
    private(set) var slots: [Slot] = []
    private var isDestroyed = false

    struct Slot {
        var id: Int
        var addressSpace: Int
        var first: UInt64
        var pages: UInt64
        var hva: UInt64
    }

    /// A VM with tables as the recorded machine has them; nil with errno.
    init?(_ recorded: RecordedMachine, parameters: ModuleParameters,
          hostLevel: @escaping (UInt64) -> Int, hostPage: @escaping (UInt64) -> HostPage)
    {
        let log = CallbackLog()
        log.hostLevel = hostLevel
        log.hostPage = hostPage
        self.log = log
        var operations = tdpmmu_ops()
        operations.size = MemoryLayout<tdpmmu_ops>.size
        operations.spte_changed = spteChanged
        operations.warn = warned
        operations.mapping_level = mappingLevel
        operations.slot_committing = slotCommitting
        operations.yield_at = yieldAt
        operations.yielded = yielded
        operations.gfn_to_pfn = gfnToPFN
        var config = tdpmmu_vm_config()
        config.size = MemoryLayout<tdpmmu_vm_config>.size
        config.vendor = recorded.vendor == .npt ? TDPMMU_NPT.rawValue : TDPMMU_EPT.rawValue
        config.ad_disabled = recorded.hasAD ? 0 : 1
        config.no_pml = recorded.hasPML ? 0 : 1
        config.root_level = UInt32(clamping: recorded.rootLevel)
        config.maxphyaddr = UInt32(clamping: recorded.physicalBits)
        config.l1tf_cache_bits = UInt32(clamping: recorded.l1tfCacheBits)
        config.nx_huge_pages = parameters.noExecutableHugePages ? 1 : 0
        config.no_eager_split = parameters.splitsEagerly ? 0 : 1
        config.ops_ctx = Unmanaged.passUnretained(log).toOpaque()
        let created = withUnsafePointer(to: &operations) {
            config.ops = $0
            return tdpmmu_create_vm(&config)
        }
        guard let created else { return nil }
        kvm = created
        self.recorded = recorded
    }

    deinit {
        // The observer may have gone before.
        observer = nil
        if !isDestroyed { tdpmmu_destroy_vm(kvm) }
    }

    var rootLevel: Int { recorded.rootLevel }
    var layout: SPTELayout { SPTELayout(recorded) }

    /// Ends the VM; whatever it complains of then is still to be had.
    func destroy() {
        guard !isDestroyed else { return }
        isDestroyed = true
        vcpus = [:]
        tdpmmu_destroy_vm(kvm)
    }

    func lockedForWrite<Result>(_ body: () -> Result) -> Result { kvm.lockedForWrite(body) }
    func lockedForRead<Result>(_ body: () -> Result) -> Result { kvm.lockedForRead(body) }

    /// Events of the VM go to its thread's ring from now on.
    func record() { _ = tdpmmu_trace_enable(kvm, (1 << UInt64(TDPMMU_TRACE_COUNT.rawValue)) - 1) }

    /// The SPTE changes and the warnings since the last call of this.
    func takeChanges() -> [SPTEChange] {
        defer { log.changes.removeAll(keepingCapacity: true) }
        return log.changes
    }

    /// The same, left where they are.
    var changes: [SPTEChange] { log.changes }

    func putBack(_ changes: [SPTEChange]) { log.changes = changes }

    /// Who is asked in the middle of an operation.
    var observer: (any WalkObserver)? {
        get { log.observer }
        set { log.observer = newValue }
    }

    func takeWarnings() -> [Warning] {
        defer { log.warnings.removeAll() }
        return log.warnings
    }
}

/// vCPUs and roots.
extension Machine {
    var vcpuIDs: [Int] { vcpus.keys.sorted() }

    func createVCPU(_ id: Int) -> Bool {
        guard let id32 = Int32(exactly: id), vcpus[id] == nil,
            let vcpu = tdpmmu_create_vcpu(kvm, id32)
        else { return false }
        vcpus[id] = vcpu
        return true
    }

    func vcpuHandle(_ id: Int) -> OpaquePointer? { vcpus[id] }

    func hasVCPU(_ id: Int) -> Bool { vcpus[id] != nil }

    /// The vCPU's root; it may have been invalidated.
    func root(vcpu id: Int) -> UnsafeMutablePointer<kvm_mmu_page>? {
        vcpus[id].flatMap { tdpmmu_vcpu_root($0) }
    }

    /// The root table at a host-physical address.
    func root(at address: UInt64) -> UnsafeMutablePointer<kvm_mmu_page>? {
        rcu_read_lock()
        defer { rcu_read_unlock() }
        guard let page = to_shadow_page(address), page.pointee.ptep == nil else { return nil }
        return page
    }

    func addressSpace(vcpu id: Int) -> Int {
        vcpus[id].map { Int(tdpmmu_vcpu_as_id($0)) } ?? 0
    }

    func setAddressSpace(vcpu id: Int, _ addressSpace: Int) -> Int {
        vcpus[id].map { Int(tdpmmu_vcpu_set_as_id($0, Int32(clamping: addressSpace))) } ?? -1
    }

    /// A vCPU that has a root in the address space, if possible a valid one.
    private func vcpu(inAddressSpace addressSpace: Int) -> Int? {
        let users = vcpuIDs.filter { self.addressSpace(vcpu: $0) == addressSpace && root(vcpu: $0) != nil }
        return users.first { root(vcpu: $0)?.pointee.role.invalid == 0 } ?? users.first
    }

    /// kvm_mmu_load(): 0 or -errno.
    func loadRoot(vcpu id: Int) -> Int {
        guard let vcpu = vcpus[id] else { return -1 }
        return Int(kvm_mmu_load(vcpu))
    }

    /// Host-physical address of the vCPU's root table.
    func rootAddress(vcpu id: Int) -> UInt64? {
        root(vcpu: id).map { tdpmmu_table_hpa($0) }
    }

    func role(vcpu id: Int) -> UInt32? {
        root(vcpu: id)?.pointee.role.word
    }
}

/// The operations that a replay performs.
extension Machine {
    func map(vcpu id: Int, _ call: MapCall, level: Int) -> Int {
        guard let vcpu = vcpus[id] else { return -1 }
        return lockedForRead {
            Int(kvm_tdp_mmu_map(vcpu, call.address, call.errorCode, call.mapWritable,
                                Int32(clamping: level), call.pfn, call.prefetch))
        }
    }

    /// fast_page_fault(): RET_PF_* or -errno.
    func fastPageFault(vcpu id: Int, gpa: UInt64, errorCode: UInt64) -> Int {
        vcpus[id].map { Int(tdpmmu_fast_page_fault($0, gpa, errorCode)) } ?? -1
    }

    func zapLeafs(start: UInt64, end: UInt64, flush: Bool) -> Bool {
        lockedForWrite { kvm_tdp_mmu_zap_leafs(kvm, start, end, flush) }
    }

    func zapAll() {
        lockedForWrite { kvm_tdp_mmu_zap_all(kvm) }
    }

    func zapAllFast() {
        kvm_mmu_zap_all_fast(kvm)
    }

    func uninit() {
        kvm_mmu_uninit_tdp_mmu(kvm)
    }

    /// kvm_set_memory_region(): 0 or -errno.
    func setMemoryRegion(_ step: MemslotStep) -> Int {
        var region = kvm_userspace_memory_region()
        region.slot = UInt32(clamping: step.addressSpace) << 16 | UInt32(clamping: step.slot)
        region.flags = step.flags
        region.guest_phys_addr = step.gpa
        // A count of pages that does not fit in bytes is refused like any other nonsense.
        region.memory_size = step.pages.multipliedReportingOverflow(by: 4096).overflow
            ? UInt64.max : step.pages << Paging.pageShift
        region.userspace_addr = step.hva
        let result = Int(kvm_set_memory_region(kvm, &region))
        if result == 0 { noteSlot(step) }
        return result
    }

    private func noteSlot(_ step: MemslotStep) {
        slots.removeAll { $0.id == step.slot && $0.addressSpace == step.addressSpace }
        guard step.pages > 0 else { return }
        slots.append(Slot(id: step.slot, addressSpace: step.addressSpace,
                          first: step.gpa >> Paging.pageShift, pages: step.pages, hva: step.hva))
    }

    /// Our entry that covers gfn in the vCPU's tables, as deep as they go but not
    /// below `level`.
    func entry(vcpu id: Int, gfn: UInt64, downTo level: Int = 1) -> TableEntry? {
        guard let root = root(vcpu: id) else { return nil }
        return TableWalk.entry(root: root, address: rootAddress(vcpu: id) ?? 0, gfn: gfn, downTo: level)
    }

    /// The same in the tables of an address space, whichever vCPU uses them.
    func entry(addressSpace: Int, gfn: UInt64, downTo level: Int) -> TableEntry? {
        vcpu(inAddressSpace: addressSpace).flatMap { entry(vcpu: $0, gfn: gfn, downTo: level) }
    }

    /// Host virtual address of a gfn, if a slot holds it.
    func hva(vcpu id: Int, gfn: UInt64) -> UInt64? {
        guard let vcpu = vcpus[id] else { return nil }
        rcu_read_lock()
        defer { rcu_read_unlock() }
        guard let slot = kvm_vcpu_gfn_to_memslot(vcpu, gfn)?.pointee else { return nil }
        return slot.userspace_addr &+ (gfn &- slot.base_gfn) << Paging.pageShift
    }

    /// Could a 2M page map the gfn, as far as its slot is concerned?
    func fitsHuge(vcpu id: Int, gfn: UInt64) -> Bool {
        let space = addressSpace(vcpu: id), first = gfn & ~511
        guard let slot = slots.first(where: {
            $0.addressSpace == space && $0.first <= gfn && gfn - $0.first < $0.pages
        }) else { return false }
        return first >= slot.first && first &+ 512 <= slot.first &+ slot.pages
            && (slot.first ^ slot.hva >> Paging.pageShift) & 511 == 0
    }

    /// The gfn in an MMIO SPTE, or nil if it is none.
    func mmioGFN(_ spte: UInt64) -> UInt64? {
        is_mmio_spte(kvm, spte) ? get_mmio_spte_gfn(kvm, spte) : nil
    }

    func generation(ofMMIO spte: UInt64) -> UInt64 {
        get_mmio_spte_generation(spte)
    }

    /// Low 19 bits of the slots' generation, which MMIO SPTEs carry.
    func mmioGeneration(addressSpace: Int) -> UInt64 {
        tdpmmu_memslots_generation(kvm, Int32(clamping: addressSpace)) & 0x7ffff
    }

    /// By which the library's events name it.
    func address(ofVCPU id: Int) -> UInt64? { vcpus[id].map { UInt64(UInt(bitPattern: $0)) } }

    /// The CPU leaves the guest: what it has logged as dirty is marked.
    func leaveGuest(vcpu id: Int) {
        if let vcpu = vcpus[id] { tdpmmu_cpu_exit(vcpu) }
    }

    /// The guest accesses memory as the CPU would; true if that set a bit.
    func access(vcpu id: Int, _ access: GuestAccess) -> Bool {
        guard let vcpu = vcpus[id], let root = root(vcpu: id) else { return false }
        let gfn = access.gpa >> Paging.pageShift
        let before = TableWalk.entry(root: root, address: 0, gfn: gfn, downTo: 1)
        _ = tdpmmu_cpu_access(vcpu, access.gpa, access.access, nil)
        let after = TableWalk.entry(root: root, address: 0, gfn: gfn, downTo: 1)
        return before?.spte != after?.spte
    }
}
